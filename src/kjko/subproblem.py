"""The problem that is solved in every step: which control?"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractSequential, Control, ForceState, Response, Stage
from kjko.problem import Problem
from kjko.transport import determinant, response

BLOCK = 2000  # particles whose gradient is taken at a time: what it needs stays in the cache


class Subproblem(eqx.Module):
    """Minimise the method's loss for a step of size `h`; the control then moves by `dt`."""

    method: AbstractSequential
    problem: Problem
    force: ForceState
    h: float
    dt: float

    def __call__(self, control: Control, stage: Stage) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss, and the smallest determinant at the stage's particles."""
        by = response(control, stage)
        loss = self.method.loss(by, stage, self.problem, self.force, self.h)
        return loss, self.det_min(by)

    def value_and_gradient(
        self, params: Any, static: Control, stage: Stage
    ) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], Any]:
        """As `__call__`, with the gradient of the loss in `params`, block by block.

        The loss is a mean over the particles, so that of all is the mean over the blocks.
        """

        def of(stage):
            def value(params):
                return self(eqx.combine(params, static), stage)

            return jax.value_and_grad(value, has_aux=True)(params)

        n = stage.v.shape[0]
        number, rest = divmod(n, BLOCK)
        if number == 0:
            return of(stage)

        def add(total, block):
            (loss, lowest), gradient = total
            (more, det_min), slope = of(block)
            gradient = jax.tree.map(lambda a, b: a + BLOCK / n * b, gradient, slope)
            return ((loss + BLOCK / n * more, jnp.minimum(lowest, det_min)), gradient), None

        blocks = jax.tree.map(lambda a: a[: n - rest].reshape(number, BLOCK, *a.shape[1:]), stage)
        zero, infinity = (jnp.asarray(limit, stage.v.dtype) for limit in (0.0, jnp.inf))
        start = ((zero, infinity), jax.tree.map(jnp.zeros_like, params))
        total, _ = jax.lax.scan(add, start, blocks)
        if rest == 0:
            return total
        (loss, lowest), gradient = total
        (more, det_min), slope = of(jax.tree.map(lambda a: a[n - rest :], stage))
        gradient = jax.tree.map(lambda a, b: a + rest / n * b, gradient, slope)
        return (loss + rest / n * more, jnp.minimum(lowest, det_min)), gradient

    def det_min(self, by: Response) -> Float[Array, ""]:
        """The smallest determinant of the step of size h and of the whole move."""
        half, whole = (jnp.min(determinant(by.matrix, step)) for step in (self.h, self.dt))
        return jnp.minimum(half, whole)
