"""The fit for controls that are gradients of a linear expansion."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from kjko.core import Stage, sums
from kjko.core.precision import in_double, in_precision, with_double
from kjko.devices import alike
from kjko.fit.conjugate_gradients import solve
from kjko.fit.fractions import safe_fraction
from kjko.fit.held_out import fitted_first, losses_of, unexplained
from kjko.fit.simplified_newton import SimplifiedNewton
from kjko.interfaces import (
    CONDITION,
    AbstractCondition,
    AbstractDesign,
    AbstractFit,
    AbstractLinearControl,
    AbstractSubproblem,
    Control,
    FitInfo,
)
from kjko.splitting.transport import response

RIDGES = tuple(10.0 ** np.arange(1, -6, -1))
LARGER = -1  # the way to larger ones
WORTH = 0.05  # of the held-out error: its derivative in log ridge that is worth another ridge
STEEP = 0.5  # that with which a smaller one is tried at once; else the next step begins with it
ROUNDING = 300.0  # times the precision: the least error that counts, relative to g


class Newton(AbstractFit):
    """The JKO step by its optimality condition, from the density that the particles carry.

    u = ∇ᵥψ solves the subproblem's condition (JKO's is `kjko.methods.optimality`) at every
    particle, in the least-squares sense, with a ridge on the coefficients of ψ. Of the ridges that
    are tried it is the one that does best, in the condition's linear part, on the `held_out` part
    of the particles; if none does better there than zero, the control is zero. From there the
    simplified Newton iteration on all of these, with the matrix of the linear part until a step
    must be shortened to lower the residual, then with one that is taken anew. It ends with a step
    that lowers the mean square by less than `tolerance`² of that of no control, or a thousandth of
    what is left; `iterations` is a cap. A control that would nearly fold the map at any particle is
    fitted again with ten times the ridge, up to the largest, and then shortened. No more than
    `particles` particles are used, in double precision. Both choices are drawn anew at every step.
    The iterations that it reports are those of all ridges, and the losses those of the first
    solution, of the linear part.

    Raises ValueError for fewer than two particles.
    """

    held_out: float = 0.2
    particles: int = 50_000
    tolerance: float = 1e-4
    iterations: int = 20

    needs: ClassVar[tuple[str, ...]] = (CONDITION,)

    def refuses(self, control: Control) -> str | None:
        if isinstance(control, AbstractLinearControl):
            return None
        return "Newton fits a control that is linear in its coefficients, a Gradient; use Adam"

    def __call__(
        self,
        subproblem: AbstractSubproblem,
        control: AbstractLinearControl,
        previous: AbstractLinearControl,
        stage: Stage,
        key: Key,
    ) -> tuple[Control, FitInfo]:
        rows, fitted = fitted_first(stage.v.shape[0], self.particles, self.held_out, key)
        control = eqx.tree_at(lambda u: u.basis, control, control.basis.adapt(stage))
        condition = alike(subproblem.condition, control, stage.take(rows))
        dt, first = subproblem.dt, previous.ridge
        c, choice, *report = with_double(self._solve, dt, condition, stage, fitted, first)
        losses = alike(losses_of, subproblem, condition, condition.control_of(choice.c), fitted)
        control = eqx.tree_at(lambda u: u.ridge, condition.control_of(c), choice.following)
        return control, FitInfo(*losses, *report)

    def _solve(
        self,
        dt: Float[Array, ""],
        condition: AbstractCondition,
        everyone: Stage,
        fitted: int,
        first: Float[Array, ""],
    ) -> tuple[Array, "Choice", Array, Array, Array, Array]:
        """The solution, that of the linear part, and from `iterations` on what a `FitInfo` has."""
        precision = jnp.finfo(everyone.v.dtype).eps
        begun = alike(self._begin, in_double(condition), fitted, precision, first)
        iteration, choice, left = begun
        c, count = self._unfolded(dt, everyone, iteration, choice)
        return in_precision((c, choice, count, *left, choice.ridge), everyone.v.dtype)

    def _begin(
        self, condition: AbstractCondition, fitted: int, precision: Any, first: Float[Array, ""]
    ) -> tuple[SimplifiedNewton, "Choice", tuple[Array, Array]]:
        """The iteration with its ridge, the solution of the linear part, zero if that is of no use,
        and what it leaves unexplained.
        """
        right = condition.right
        start = condition.linearise(jnp.zeros(condition.control.basis.size, right.dtype))
        judged = start.rows(slice(fitted, None))
        gram = start.rows(slice(None, fitted)).gram()
        choice = choose_ridge(start, gram, right, fitted, precision, first)
        choice = choice._replace(c=jnp.where(choice.useful, choice.c, 0.0))
        share = fitted / right.size
        both = jax.tree.map(lambda a, b: share * a + (1 - share) * b, gram, judged.gram())
        iteration = SimplifiedNewton.of(
            condition, start, both, choice.ridge, self.tolerance, self.iterations
        )
        left = unexplained(judged.apply(choice.c) - right[fitted:], right[fitted:])
        return iteration, choice, left

    def _unfolded(
        self,
        dt: Float[Array, ""],
        everyone: Stage,
        iteration: SimplifiedNewton,
        choice: "Choice",
    ) -> tuple[Float[Array, " p"], Int[Array, ""]]:
        """The solution with the chosen ridge, or the least larger one that does not nearly fold the
        map at any particle, fitted or not; if they all do, a fraction of the last.
        """
        dtype = everyone.v.dtype

        def attempt(carry):
            ridge, *_, count = carry
            with_it = eqx.tree_at(lambda i: i.ridge, iteration, ridge)
            c, more = alike(with_it, choice.c, choice.useful)
            control = in_precision(iteration.condition.control_of(c), dtype)
            fraction = safe_fraction(response(control, everyone).matrix, dt)
            return 10 * ridge, c, fraction, count + more

        def go_on(carry):
            ridge, _, fraction, _ = carry
            return (fraction < 1) & (ridge < 2 * RIDGES[0])  # the largest, but for rounding

        state = (choice.ridge, choice.c, jnp.zeros((), dtype), jnp.zeros((), jnp.int32))
        _, c, fraction, count = jax.lax.while_loop(go_on, attempt, state)
        return fraction * c, count


class Choice(NamedTuple):
    """The ridge chosen, its solution, whether that is `useful`, better than zero, and the ridge
    that the next step begins with.
    """

    c: Float[Array, " p"]
    ridge: Float[Array, ""]
    useful: Bool[Array, ""]
    following: Float[Array, ""]


def choose_ridge(
    design: AbstractDesign,
    gram: Any,
    g: Float[Array, " n"],
    fitted: int,
    precision: Any,
    first: Float[Array, ""],
) -> Choice:
    """The ridge that does best on the rows from `fitted` on; `gram` is that of those before.

    From the `first` on, ridges ten times as large or as small are tried, to that side on which the
    error falls, as its derivative says, as long as it falls, by enough, and the side stays the
    same. A smaller one is tried only if it falls steeply: else the next step begins with it. The
    error is a mean square, none counted as more than that of g: one particle in ten thousand with a
    wrong log f would else decide alone. Where it is no more than rounding of g, by its `precision`,
    or no less than without a control, larger ridges are tried.
    """
    seen, judged = design.rows(slice(None, fitted)), design.rows(slice(fitted, None))
    right = seen.transpose(g[:fitted]) / fitted
    ridges = jnp.asarray(RIDGES, dtype=g.dtype)

    most = sums.mean(g**2)
    rounding = (ROUNDING * precision) ** 2 * most

    def held_out(c, change):
        """The error, and by which share of what is not cut of it a change of c raises it."""
        off = judged.apply(c) - g[fitted:]
        uncut = jnp.where(off**2 < most, off, 0.0)
        slope = 2 * (uncut @ judged.apply(change)) / (uncut @ uncut)
        error = jnp.maximum(sums.mean(jnp.minimum(off**2, most)), rounding)
        return jnp.where(jnp.all(jnp.isfinite(off**2)), error, jnp.inf), slope

    def try_one(carry):
        number, before, _, last, best, following = carry
        ridge = ridges[number]
        factor = seen.factor(gram, ridge)
        c = solve(seen, gram, ridge, factor, right, last)
        error, slope = held_out(c, -seen.solve(factor, seen.penalty(c, ridge)))
        finite = jnp.isfinite(error)
        better = finite & (error <= best[2])
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (c, ridge, error), best)
        falls = better & (jnp.abs(slope) > WORTH)
        toward = jnp.where(falls, jnp.sign(slope), 0).astype(number.dtype)
        toward = jnp.where((error <= rounding) | ~(error < of_zero), LARGER, toward)
        leads_on = (toward != 0) & (toward != -before)
        at_once = (toward == LARGER) | (slope > STEEP)
        go_on = leads_on & at_once
        later = number + jnp.where(leads_on & ~at_once, toward, 0)
        following = jnp.where(better, later, following)
        last = jnp.where(finite, c, last)
        return number + toward, toward, go_on, last, best, following

    def is_left(carry):
        number, _, go_on, *_ = carry
        return go_on & (number >= 0) & (number < len(RIDGES))

    zero = jnp.zeros_like(right)
    none = (zero, ridges[0], jnp.asarray(jnp.inf, g.dtype))
    of_zero, _ = held_out(zero, zero)
    number = jnp.clip(jnp.round(jnp.log10(RIDGES[0] / first)), 0, len(RIDGES) - 1).astype(int)
    start = (number, jnp.zeros_like(number), jnp.asarray(True), zero, none, number)
    *_, (c, ridge, least), following = jax.lax.while_loop(is_left, try_one, start)
    following = jnp.where(jnp.isfinite(least), jnp.clip(following, 0, len(RIDGES) - 1), 0)
    following = ridges[following]
    return Choice(c, ridge, least < of_zero, following)
