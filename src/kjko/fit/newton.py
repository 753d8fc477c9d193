"""The fit for controls that are gradients of a linear expansion."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from kjko.core import Stage
from kjko.fit.conjugate_gradients import solve
from kjko.fit.held_out import fitted_first, unexplained
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
from kjko.splitting.transport import determinant, response

RIDGES = tuple(10.0 ** np.arange(1, -6, -1))
FIRST = 4  # the one that is tried first
ROUNDING = 300.0  # times the precision: the least error that counts, relative to g
FRACTIONS = tuple(np.arange(20, 0, -1) / 20)  # of a control that are tried
DET_MIN = 0.1  # least determinant of the move that is accepted


class Newton(AbstractFit):
    """The JKO step by its optimality condition, from the density that the particles carry.

    u = ∇ᵥψ solves the subproblem's condition (JKO's is `kjko.methods.optimality`) at every
    particle, in the least-squares sense, with a ridge on the coefficients of ψ. Of the ridges that
    are tried it is the one that does best, in the condition's linear part, on the `held_out` part
    of the particles; if none does better there than zero, the control is zero. From there Newton's
    iteration on all of these, each step no longer than what lowers the residual, until one lowers
    its mean square by less than `tolerance`² of that of no control; `iterations` is a cap. A
    control that would nearly fold the map at any particle is fitted again with ten times the ridge,
    up to the largest, and then shortened. No more than `particles` particles are used. Both choices
    are drawn anew at every step. The iterations that it reports are those of all ridges, and the
    losses those of the first solution, of the linear part.

    Raises ValueError for fewer than two particles.
    """

    held_out: float = 0.2
    particles: int = 50_000
    tolerance: float = 1e-2
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
        previous: Control,
        stage: Stage,
        key: Key,
    ) -> tuple[Control, FitInfo]:
        rows, fitted = fitted_first(stage.v.shape[0], self.particles, self.held_out, key)
        control = eqx.tree_at(lambda u: u.basis, control, control.basis.adapt(stage))
        condition = subproblem.condition(control, stage.take(rows))
        start = condition.linearise(jnp.zeros(control.basis.size, stage.v.dtype))
        chosen, ridge, useful = choose_ridge(start, condition.right, fitted)
        chosen = jnp.where(useful, chosen, 0.0)
        c, iterations = self._solve(subproblem.dt, condition, stage, start, ridge, chosen, useful)
        seen = condition.control_of(chosen)
        parts = (slice(None, fitted), slice(fitted, None))
        loss, loss_heldout = (subproblem(seen, condition.stage.take(part))[0] for part in parts)
        left = unexplained(
            (start.apply(chosen) - condition.right)[fitted:], condition.right[fitted:]
        )
        return condition.control_of(c), FitInfo(loss, loss_heldout, iterations, *left, ridge)

    def _solve(
        self,
        dt: Float[Array, ""],
        condition: AbstractCondition,
        everyone: Stage,
        start: AbstractDesign,
        ridge: Float[Array, ""],
        chosen: Float[Array, " p"],
        useful: Bool[Array, ""],
    ) -> tuple[Float[Array, " p"], Int[Array, ""]]:
        """The solution with the chosen ridge, or the least larger one that does not nearly fold the
        map at any particle, fitted or not; if they all do, a fraction of the last.
        """

        def attempt(carry):
            ridge, *_, count = carry
            c, more = self._iterate(condition, start, ridge, chosen, useful)
            matrix = response(condition.control_of(c), everyone).matrix
            fraction = safe_fraction(matrix, dt)
            return 10 * ridge, c, fraction, count + more

        def go_on(carry):
            ridge, _, fraction, _ = carry
            return (fraction < 1) & (ridge < 2 * RIDGES[0])  # the largest, but for rounding

        state = (ridge, chosen, jnp.zeros((), ridge.dtype), jnp.asarray(0))
        _, c, fraction, count = jax.lax.while_loop(go_on, attempt, state)
        return fraction * c, count

    def _iterate(
        self,
        condition: AbstractCondition,
        start: AbstractDesign,
        ridge: Float[Array, ""],
        chosen: Float[Array, " p"],
        useful: Bool[Array, ""],
    ) -> tuple[Float[Array, " p"], Int[Array, ""]]:
        """Newton's iteration from `chosen`, or c = 0 if that is better; none if not `useful`."""
        weights = jnp.ones_like(condition.right)
        enough = self.tolerance**2 * jnp.mean(condition.right**2)

        def objective(c, r):
            return jnp.mean(r**2) + c @ start.penalty(c, ridge)

        def step(carry):
            c, r, _, count = carry
            design = condition.linearise(c).with_penalty_of(start)
            factor = design.factor(design.gram(weights), ridge)
            right = design.transpose(r) / r.size - start.penalty(c, ridge)
            direction = solve(design, weights, ridge, factor, right)
            before = objective(c, r)

            def shorten(tried):
                fraction = 0.5 * tried[0]
                trial = c + fraction * direction
                return fraction, trial, condition.residual(trial)

            def too_long(tried):
                fraction, trial, residual = tried
                most = fraction * (right @ direction)  # that half of it can gain
                is_worse = ~(objective(trial, residual) <= before) & (most > enough)
                return is_worse | (fraction > 1)  # not tried yet

            tried = jax.lax.while_loop(too_long, shorten, (jnp.full((), 2.0, c.dtype), c, r))
            gain = before - objective(*tried[1:])
            c, r = (jnp.where(gain > 0, new, old) for new, old in ((tried[1], c), (tried[2], r)))
            return c, r, gain, count + 1

        def go_on(carry):
            *_, gain, count = carry
            return (gain > enough) & (count < self.iterations)

        r = condition.residual(chosen)
        better = objective(chosen, r) < jnp.mean(condition.right**2)
        c, r = jnp.where(better, chosen, 0.0), jnp.where(better, r, condition.right)
        state = (c, r, jnp.where(useful, jnp.inf, 0.0).astype(c.dtype), jnp.asarray(0))
        c, *_, count = jax.lax.while_loop(go_on, step, state)
        return c, count


def choose_ridge(
    design: AbstractDesign, g: Float[Array, " n"], fitted: int
) -> tuple[Float[Array, " p"], Float[Array, ""], Bool[Array, ""]]:
    """The coefficients that do best on the rows from `fitted` on, their ridge, and if that is any
    better than zero.

    From 10⁻³ on larger ones are tried as long as the error does not rise, and smaller ones, as long
    as it falls, if the first larger one is worse. It is a mean square, none counted
    as more than that of g: one particle in ten thousand with a wrong log f would else decide alone;
    and rounding is no reason for a smaller ridge.
    """
    weights = (jnp.arange(g.size) < fitted).astype(g.dtype)
    gram = design.gram(weights)
    right = design.transpose(weights * g) / fitted
    ridges = jnp.asarray(RIDGES, dtype=g.dtype)

    most = jnp.mean(g**2)
    rounding = (ROUNDING * jnp.finfo(g.dtype).eps) ** 2 * most

    def held_out_error(c):
        squares = (design.apply(c) - g) ** 2
        error = jnp.sum((1 - weights) * jnp.minimum(squares, most)) / (g.size - fitted)
        return jnp.where(jnp.all(jnp.isfinite(squares)), jnp.maximum(error, rounding), jnp.inf)

    def try_one(carry):
        number, toward, last, best = carry
        ridge, least = ridges[number], best[2]
        trial = solve(design, weights, ridge, design.factor(gram, ridge), right, last)
        error = held_out_error(trial)
        larger = toward < 0
        on = (error < least) | (larger & (error <= least))  # rounding may ask for a larger one
        better = on & jnp.isfinite(error)
        candidate = (trial, ridge, error)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, best)
        turn = larger & (best[1] == ridges[FIRST])
        number = jnp.where(on, number + toward, jnp.where(turn, FIRST + 1, len(RIDGES)))
        last = jnp.where(jnp.isfinite(error), trial, last)
        return number, jnp.where(on, toward, 1), last, best

    def is_left(carry):
        return (carry[0] >= 0) & (carry[0] < len(RIDGES))

    zero = jnp.zeros_like(right)
    none = (zero, ridges[0], jnp.asarray(jnp.inf, g.dtype))
    *_, (c, ridge, least) = jax.lax.while_loop(is_left, try_one, (FIRST, -1, zero, none))
    return c, ridge, least < held_out_error(zero)


def safe_fraction(matrix: Float[Array, "n d d"], dt: Float[Array, ""]) -> Float[Array, ""]:
    """The largest of the fractions of a control up to which the map folds nowhere; 0 if none.

    M is symmetric: where all leading minors of I + Δt M are positive it is positive definite, and
    so it is for every smaller fraction. The determinant alone has the wrong answer for two
    eigenvalues that have both become negative.
    """

    def folds(fraction):
        part = fraction * matrix
        sizes = range(1, matrix.shape[-1] + 1)
        *minors, lowest = (jnp.min(determinant(part[:, :k, :k], dt)) for k in sizes)
        safe = lowest > DET_MIN
        for minor in minors:
            safe &= minor > 0
        return ~safe

    return largest_fraction(folds, matrix.dtype)


def largest_fraction(
    fails: Callable[[Float[Array, ""]], Bool[Array, ""]], dtype: Any
) -> Float[Array, ""]:
    """The largest of some fractions of a control that does not fail; 0 if all do."""
    fractions = jnp.asarray((*FRACTIONS, 0.0), dtype)

    def go_on(number):
        return fails(fractions[number]) & (number < len(FRACTIONS))

    return fractions[jax.lax.while_loop(go_on, lambda number: number + 1, jnp.asarray(0))]
