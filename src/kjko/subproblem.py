"""The problem that is solved in every step: which control?"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractMethod, Control, ForceState, Stage
from kjko.problem import Problem
from kjko.transport import determinant, response


class Subproblem(eqx.Module):
    """Minimise the method's loss for a step of size `h`; the control then moves by `dt`."""

    method: AbstractMethod
    problem: Problem
    force: ForceState
    h: float
    dt: float

    def __call__(self, control: Control, stage: Stage) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss, and the smallest determinant of the whole move at the stage's particles."""
        u, matrix = response(control, stage)
        loss = self.method.loss(u, matrix, stage, self.problem, self.force, self.h)
        return loss, jnp.min(determinant(matrix, self.dt))
