"""How far particles have gone: drift and diffusion in space."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.core import State
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Record
from kjko.observe.start import Start
from kjko.problem import Problem


class Displacement(AbstractObservable):
    """Of positions that are not wrapped into a box, since the start, a number for each coordinate.

    `displacement_mean`: mean(x(t) − x(0)), whose slope is the mean velocity (over a force: the
    mobility). `displacement_variance`: its variance, whose slope for long times is twice the
    effective diffusion.
    """

    origin: Float[Array, "n d_x"] | None = None
    keys: ClassVar[tuple[str, ...]] = ("displacement_mean", "displacement_variance")

    def prepare(self, start: Start) -> "Displacement":
        return Displacement(start.particles.x)

    def measure(self, problem: Problem, state: State) -> dict[str, Array]:
        moved = unwrapped(problem, state)
        moved = moved if self.origin is None else moved - self.origin
        return {
            "displacement_mean": jnp.mean(moved, axis=0),
            "displacement_variance": jnp.var(moved, axis=0),
        }

    def record(
        self,
        problem: Problem,
        state: State,
        info: AbstractStepInfo | None,
        measured: Mapping[str, np.ndarray],
    ) -> Record:
        return {key: measured[key].tolist() for key in self.keys}


def unwrapped(problem: Problem, state: State) -> Float[Array, "n d_x"]:
    """x + turns · L: positions as they would be without the box."""
    x = state.particles.x
    if problem.box is None or state.turns is None:
        return x
    return x + state.turns.astype(x.dtype) * problem.box.length.astype(x.dtype)[None]
