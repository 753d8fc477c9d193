"""Newton's iteration on a condition, with a matrix that is kept as long as it serves."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kjko.core import sums
from kjko.fit.conjugate_gradients import solve
from kjko.interfaces import AbstractCondition, AbstractDesign

OF_LEFT = 1e-3  # of the residual's mean square: a gain that makes no difference to it
ROUGHLY = 0.1  # of its right side: a step is solved for, as the next one mends the rest


class At(NamedTuple):
    """Where the iteration is."""

    c: Float[Array, " p"]
    residual: Float[Array, " n"]
    gain: Float[Array, ""]  # of the last step, infinite before the first
    fraction: Float[Array, ""]  # of the last step that was gone
    count: Int[Array, ""]  # of steps


class SimplifiedNewton(eqx.Module):
    """Lowers mean(residual(c)²) + ridge cᵀR c.

    The matrix is that of the linear part, until a step must be shortened; then one is taken anew
    where the iteration is. It ends with a step that gains less than `least`, or than a thousandth
    of the mean square that is left, after `iterations` at most.
    """

    condition: AbstractCondition
    linear: AbstractDesign  # of the linear part, whose penalty is that of all
    gram: Any  # of that
    ridge: Float[Array, ""]
    least: Float[Array, ""]
    iterations: Int[Array, ""] | int

    @classmethod
    def of(
        cls,
        condition: AbstractCondition,
        linear: AbstractDesign,
        gram: Any,
        ridge: Float[Array, ""],
        tolerance: Float[Array, ""] | float,
        iterations: Int[Array, ""] | int,
    ) -> "SimplifiedNewton":
        """With the least gain `tolerance`² of the objective of no control."""
        least = tolerance**2 * sums.mean(condition.right**2)
        return cls(condition, linear, gram, ridge, least, iterations)

    def __call__(
        self, chosen: Float[Array, " p"], useful: Bool[Array, ""]
    ) -> tuple[Float[Array, " p"], Int[Array, ""]]:
        """The solution and the number of steps, from `chosen`, or from c = 0 if that is better;
        without any if not `useful`.
        """
        right = self.condition.right
        residual = self.condition.residual(chosen)
        better = self._objective(chosen, residual) < sums.mean(right**2)
        c, residual = jnp.where(better, chosen, 0.0), jnp.where(better, residual, right)
        gain = jnp.where(useful, jnp.inf, 0.0).astype(c.dtype)
        start = At(c, residual, gain, jnp.zeros_like(gain), jnp.zeros((), jnp.int32))

        def anew(at):
            design = self.condition.linearise(at.c).with_penalty_of(self.linear)
            return design, design.gram()

        def go(carry):
            design, gram, elsewhere, _, at = carry
            done = self._with_one_matrix(design, gram, at)
            more = self._goes_on(done, elsewhere | (done.count > at.count + 1))
            design, gram = jax.lax.cond(more, anew, lambda _: (design, gram), done)
            return design, gram, jnp.asarray(False), more, done

        first = (self.linear, self.gram, jnp.any(c != 0), self._goes_on(start, False), start)
        *_, at = jax.lax.while_loop(lambda carry: carry[3], go, first)
        return at.c, at.count

    def _goes_on(self, at: At, is_old: Bool[Array, ""] | bool) -> Bool[Array, ""]:
        """Whether another matrix is to be taken; `is_old`: the last was not taken where its last
        step began.
        """
        can = (at.gain > self._enough(at)) | is_old
        return (at.fraction < 1) & can & (at.count < self.iterations)

    def _objective(self, c: Float[Array, " p"], residual: Float[Array, " n"]) -> Float[Array, ""]:
        return sums.mean(residual**2) + c @ self.linear.penalty(c, self.ridge)

    def _enough(self, at: At) -> Float[Array, ""]:
        """What a step must gain for another one to be worth it. No particle counts for more than
        the mean without a control.
        """
        left = sums.mean(jnp.minimum(at.residual**2, sums.mean(self.condition.right**2)))
        return jnp.maximum(self.least, OF_LEFT * left)

    def _with_one_matrix(self, design: AbstractDesign, gram: Any, start: At) -> At:
        """Steps until one has to be shortened."""
        factor = design.factor(gram, self.ridge)

        def goes_well(at):
            gains = at.gain > self._enough(at)
            return gains & (at.fraction == 1) & (at.count < self.iterations)

        def step(at):
            return self._step(at, design, gram, factor)

        one = jnp.ones_like(self.least)
        not_yet = start._replace(gain=jnp.full_like(self.least, jnp.inf), fraction=one)
        return jax.lax.while_loop(goes_well, step, not_yet)

    def _step(self, at: At, design: AbstractDesign, gram: Any, factor: Any) -> At:
        """Halved until it lowers the objective, or is too short to lower it by enough."""
        slope = design.transpose(at.residual) / at.residual.size
        right = slope - self.linear.penalty(at.c, self.ridge)
        direction = solve(design, gram, self.ridge, factor, right, tolerance=ROUGHLY)
        before = self._objective(at.c, at.residual)

        def shorten(tried):
            fraction = 0.5 * tried[0]
            trial = at.c + fraction * direction
            return fraction, trial, self.condition.residual(trial)

        def too_long(tried):
            fraction, trial, residual = tried
            most = fraction * (right @ direction)  # that half of it can gain
            is_worse = ~(self._objective(trial, residual) <= before) & (most > self._enough(at))
            return is_worse | (fraction > 1)  # not tried yet

        start = (jnp.full((), 2.0, at.c.dtype), at.c, at.residual)
        fraction, *trial = jax.lax.while_loop(too_long, shorten, start)
        gain = before - self._objective(*trial)
        old = (at.c, at.residual)
        c, residual = (jnp.where(gain > 0, *pair) for pair in zip(trial, old, strict=True))
        return At(c, residual, gain, fraction, at.count + 1)
