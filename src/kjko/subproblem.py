"""The problem that is solved in every step: which control?"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractSequential, Control, ForceState, Response, Stage
from kjko.problem import Problem
from kjko.transport import determinant, response


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

    def det_min(self, by: Response) -> Float[Array, ""]:
        """The smallest determinant of the step of size h and of the whole move."""
        half, whole = (jnp.min(determinant(by.matrix, step)) for step in (self.h, self.dt))
        return jnp.minimum(half, whole)
