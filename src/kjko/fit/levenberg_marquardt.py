"""The fit for controls that are gradients of an expansion whose functions are trained too."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int, Key

from kjko.bases.scales import standard
from kjko.core import Stage, sums
from kjko.devices import alike
from kjko.fit.fractions import safe_fraction
from kjko.fit.held_out import fitted_first, losses_of, unexplained
from kjko.interfaces import (
    CONDITION,
    AbstractCondition,
    AbstractFit,
    AbstractLinearControl,
    AbstractSubproblem,
    AbstractTrainableBasis,
    Control,
    FitInfo,
)
from kjko.splitting.transport import determinant, response

DAMPING = (1e-3, 1e-8, 1e4)  # at first, least and most; times the mean square of a column
TRIALS = 4  # dampings that an iteration tries
RIDGE = 1e-5  # of functions of unit mean square, to be fitted to values
FLOOR = 1e-6  # added to the damping: what single precision can still solve
PROGRESS = 0.9  # an iteration that leaves less of the error than this is worth another one
RELAXED = 0.7  # the part of the weights that is the law that is relaxed to
LARGEST = 4.0  # of that part's logarithm
SMOOTHING = 3e-4  # of the mean square of T ∇ᵥ²ĝ, beside that of the residual
BENT = 2000  # particles, about, at which T ∇ᵥ²ĝ is asked for
OUTLIER = 5.0  # root mean squares from which on a residual counts by its size, no more its square


class LevenbergMarquardt(AbstractFit):
    """The JKO step by its optimality condition, with functions that are trained: for `Ridges`.

    As `Newton`, but the functions' own parameters are unknowns as well, found by Levenberg's and
    Marquardt's iteration from the last step's. A particle weighs 0.3 + 0.7 e^{−g}/mean(e^{−g}): a
    mixture of the law and of the one that it relaxes to, so that arms of low density, which hold
    few particles, are seen; residuals beyond five root mean squares count as Huber has them. Beside
    what the condition leaves free, functions of x, the potential φ(x) is fitted. Values alone would
    let a function grow steep between particles, which u and the determinants feel: with them counts
    the mean square of T ∇ᵥ²ĝ less its mean, of ĝ = Φ·c, by 3e-4, or less where it is larger than
    that of g.

    The best iterate on the `held_out` part is taken. There are `iterations`, and up to `most` while
    each of them lowers the held-out error by a tenth, as at the start of a run. No more than
    `particles` particles are used, drawn anew at every step. A control that would nearly fold the
    map at any particle is shortened.

    Raises ValueError for fewer than two particles.
    """

    held_out: float = 0.2
    particles: int = 10_000
    iterations: int = 6
    most: int = 40

    needs: ClassVar[tuple[str, ...]] = (CONDITION,)

    def refuses(self, control: Control) -> str | None:
        if isinstance(control, AbstractLinearControl) and isinstance(
            control.basis, AbstractTrainableBasis
        ):
            return None
        return "LevenbergMarquardt trains the basis of a Gradient, as Ridges; use Newton or Adam"

    def __call__(
        self,
        subproblem: AbstractSubproblem,
        control: AbstractLinearControl,
        previous: Control,
        stage: Stage,
        key: Key,
    ) -> tuple[Control, FitInfo]:
        rows, fitted = fitted_first(stage.v.shape[0], self.particles, self.held_out, key)
        last: Any = previous
        start = eqx.tree_at(lambda u: u.basis, control, last.basis.adapt(stage))
        condition = alike(subproblem.condition, start, stage.take(rows))
        c = -last.coefficients / condition.strength
        values, best, count = alike(self._solve, condition, fitted, start.basis, c)
        solution = values.condition_of(best.basis).control_of(best.c)
        fraction = safe_fraction(response(solution, stage).matrix, subproblem.dt)
        found = eqx.tree_at(lambda u: u.coefficients, solution, fraction * solution.coefficients)
        loss, loss_heldout = alike(losses_of, subproblem, condition, found, fitted)
        r_squared, unresolved = alike(values.left, best)
        return found, FitInfo(
            loss, loss_heldout, count, r_squared, unresolved, jnp.asarray(RIDGE, loss.dtype)
        )

    def _solve(
        self, condition: AbstractCondition, fitted: int, basis: Any, c: Float[Array, " p"]
    ) -> tuple["_Values", "_Unknowns", Int[Array, ""]]:
        """What is fitted to, the best iterate, and the number of iterations."""
        values = _Values.of(condition, fitted)
        return values, *self._iterate(values, values.first(basis, c))

    def _iterate(self, values: "_Values", start: "_Unknowns") -> tuple["_Unknowns", Int[Array, ""]]:
        """The best iterate on the held-out particles, and the number of iterations."""

        def step(carry):
            now, r, damping, best, least, _, count = carry
            now, r, damping = values.improve(now, r, damping)
            error = values.held_out_error(r)
            best = jax.tree.map(lambda new, old: jnp.where(error < least, new, old), now, best)
            progress = error < PROGRESS * least
            return now, r, damping, best, jnp.minimum(error, least), progress, count + 1

        def go_on(carry):
            *_, progress, count = carry
            return (count < self.iterations) | (progress & (count < self.most))

        r = values.residual(start)
        damping = jnp.asarray(DAMPING[0], r.dtype)
        least = values.held_out_error(r)
        carry = (start, r, damping, start, least, jnp.asarray(True), jnp.asarray(0))
        *_, best, _, _, count = jax.lax.while_loop(go_on, step, carry)
        return best, count


class _Unknowns(NamedTuple):
    """What is fitted: functions, their coefficients, and that of the potential."""

    basis: Any
    c: Float[Array, " p"]
    of_potential: Float[Array, ""]


class _Values(eqx.Module):
    """The condition at the particles of a fit; those from `fitted` on are held out."""

    condition: AbstractCondition
    potential: Float[Array, " n"]  # φ, of mean zero and deviation one
    weights: Float[Array, " n"]
    fitted: int = eqx.field(static=True)

    @classmethod
    def of(cls, condition: AbstractCondition, fitted: int) -> "_Values":
        potential, g = condition.stage.potential, condition.right
        mean, width = standard(potential)
        potential = (potential - mean) / width
        log_relaxed = -g - sums.log_mean_exp(-g)
        relaxed = jnp.exp(jnp.minimum(log_relaxed, LARGEST))
        weights = 1 - RELAXED + RELAXED * relaxed / sums.mean(relaxed)
        return cls(condition, potential, weights, fitted)

    @property
    def seen(self) -> Float[Array, " n"]:
        """The weights, zero where held out."""
        return jnp.where(jnp.arange(self.weights.size) < self.fitted, self.weights, 0.0)

    def first(self, basis: Any, c: Float[Array, " p"]) -> _Unknowns:
        """The last step's functions, with the best constant and multiple of φ; or u = 0."""
        zero = jnp.zeros((), c.dtype)
        r = self.residual(_Unknowns(basis, c, zero))
        columns = jnp.stack([jnp.ones_like(r), self.potential])
        root = jnp.sqrt(self.seen)
        of_one, of_potential = jnp.linalg.lstsq((columns * root[None]).T, root * r)[0]
        r = r - of_one - of_potential * self.potential
        better = sums.total(self.seen * r**2) < sums.total(self.seen * self.condition.right**2)
        c = jnp.where(better, c.at[0].add(of_one), 0.0)  # the first function is one
        return _Unknowns(basis, c, jnp.where(better, of_potential, 0.0))

    def condition_of(self, basis: Any) -> AbstractCondition:
        return eqx.tree_at(lambda condition: condition.control.basis, self.condition, basis)

    def residual(self, at: _Unknowns) -> Float[Array, " n"]:
        return self.condition_of(at.basis).residual(at.c) - at.of_potential * self.potential

    def held_out_error(self, r: Float[Array, " n"]) -> Float[Array, ""]:
        """Weighted mean square, none counted as more than that of no control."""
        held, weights = slice(self.fitted, None), self.weights[self.fitted :]
        most = sums.total(weights * self.condition.right[held] ** 2) / sums.total(weights)
        error = sums.total(weights * jnp.minimum(r[held] ** 2, most)) / sums.total(weights)
        return jnp.where(jnp.all(jnp.isfinite(r)), error, jnp.inf)

    def left(self, at: _Unknowns) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What is explained of the held-out values, and what is not."""
        held = slice(self.fitted, None)
        return unexplained(self.residual(at)[held], self.condition.right[held])

    def bend(self, at: _Unknowns) -> Float[Array, " m"]:
        """T ∇ᵥ²ĝ at some of the fitted particles, less its mean: none of a Gaussian."""
        control, stage = self.condition_of(at.basis).control_of(at.c), self.kept_smooth
        laplacian = jnp.trace(response(control, stage).matrix, axis1=1, axis2=2)
        bend = -stage.bath.temperature * laplacian / self.condition.strength
        return bend - sums.mean(bend)

    def bend_rows(self, at: _Unknowns) -> Float[Array, "m q"]:
        """Its derivatives by the unknowns."""
        stage, flat = self.kept_smooth, jnp.zeros_like(self.kept_smooth.v)
        identity = jnp.eye(flat.shape[1], dtype=flat.dtype)
        downward = -stage.bath.temperature[:, None, None] * identity[None]
        with_values = at.basis.tangent(stage, flat, downward, at.c)
        rows = with_values - at.basis.tangent(stage, flat, 0 * downward, at.c)
        return jnp.pad(rows - sums.mean(rows)[None], ((0, 0), (0, 1)))  # φ is not bent in v

    @property
    def kept_smooth(self) -> Stage:
        """The fitted particles at which a solution is kept smooth."""
        return self.condition.stage.take(slice(None, self.fitted, max(1, self.fitted // BENT)))

    def improve(
        self, at: _Unknowns, r: Float[Array, " n"], damping: Float[Array, ""]
    ) -> tuple[_Unknowns, Float[Array, " n"], Float[Array, ""]]:
        """An iteration: the least damping tried that lowers the residual and folds nowhere."""
        system = self.system(at, r)
        before = system.objective(r, self.bend(at))
        dead = 1e-6 * jnp.mean(system.size**2) / system.size**2  # that do nothing yet stay near

        def attempt(tried):
            damping, *_, count = tried
            diagonal = FLOOR + damping * (1 + dead)
            factor = cho_factor(system.normal + jnp.diag(diagonal))
            trial = self.moved(at, cho_solve(factor, system.right) / system.size)
            its = self.condition_of(trial.basis)
            r = self.residual(trial)
            det = determinant(response(its.control_of(trial.c), its.stage).matrix, its.h)
            lower = system.objective(r, self.bend(trial)) < before
            good = lower & (jnp.min(det) > 0)
            damping = jnp.where(good, damping, jnp.minimum(8 * damping, DAMPING[2]))
            return damping, trial, r, good, count + 1

        def again(tried):
            *_, good, count = tried
            return ~good & (count < TRIALS)

        start = (damping, at, r, jnp.asarray(False), jnp.asarray(0))
        damping, trial, r_new, good, _ = jax.lax.while_loop(again, attempt, start)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), (trial, r_new), (at, r))
        return *kept, jnp.where(good, jnp.maximum(damping / 4, DAMPING[1]), damping)

    def moved(self, at: _Unknowns, step: Float[Array, " q"]) -> _Unknowns:
        """The unknowns with a step added."""
        of_c, of_basis, of_potential = jnp.split(step, (at.c.size, step.size - 1))
        return _Unknowns(at.basis.trained(of_basis), at.c + of_c, at.of_potential + of_potential[0])

    def system(self, at: _Unknowns, r: Float[Array, " n"]) -> "_System":
        """The normal equations of an iteration, where the residual is r."""
        fitted = slice(None, self.fitted)
        weights, missing = self.weights[fitted], r[fitted]
        square = missing**2
        typical = jnp.minimum(square, 9 * jnp.median(square))  # nearly all of it, but for outliers
        scale = jnp.sqrt(sums.total(weights * typical) / sums.total(weights))
        far = jnp.maximum(jnp.abs(missing) / (OUTLIER * scale + jnp.finfo(r.dtype).tiny), 1.0)
        robust = weights / far
        directions = (a[fitted] for a in self.condition_of(at.basis).directions(at.c))
        matrix = at.basis.tangent(self.condition.stage.take(fitted), *directions, at.c)
        matrix = jnp.concatenate([matrix, self.potential[fitted, None]], axis=1)
        size = jnp.sqrt(sums.mean(robust[:, None] * matrix**2))
        size = jnp.maximum(size, jnp.finfo(size.dtype).eps * jnp.max(size))
        matrix, bent = matrix / size[None], self.bend_rows(at) / size[None]
        bend = self.bend(at)
        rough = jnp.maximum(sums.mean(bend**2), jnp.finfo(bend.dtype).tiny)
        smoothing = SMOOTHING * jnp.minimum(sums.mean(self.condition.right[fitted] ** 2) / rough, 1)
        normal = (matrix * robust[:, None]).T @ matrix / missing.size
        normal += smoothing * bent.T @ bent / bend.size
        right = (robust * missing) @ matrix / missing.size
        right -= smoothing * bend @ bent / bend.size
        return _System(normal, right, size, robust, smoothing)


class _System(NamedTuple):
    """The normal equations for a step times the columns' `size`s, of the objective: a mean square
    of the fitted residuals, by `robust` weights, and one of the bend.
    """

    normal: Float[Array, "q q"]
    right: Float[Array, " q"]
    size: Float[Array, " q"]
    robust: Float[Array, " m"]
    smoothing: Float[Array, ""]

    def objective(self, r: Float[Array, " n"], bend: Float[Array, " k"]) -> Float[Array, ""]:
        fitted = r[: self.robust.size]
        return sums.mean(self.robust * fitted**2) + self.smoothing * sums.mean(bend**2)
