"""A given acceleration in space and time."""

from collections.abc import Callable
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.flow.components import along_velocities
from kjko.interfaces import AbstractFlow


class Driven(AbstractFlow):
    """a(t, x), a function of the time and of one particle: an antenna, a laser, a ramp.

    It gives as many components as x has, or as v has. What it does to the energy is not accounted
    for: there is neither a stationary law nor a free energy. `init` raises ValueError for another
    number of components.
    """

    drive: Callable[[Float[Array, ""], Float[Array, " d_x"]], Float[Array, " m"]]
    conservative: ClassVar[bool] = False

    def init(self, particles: Particles, mass: Float[Array, ""]) -> None:
        x, v = particles.x[0], particles.v[0]
        given = jax.eval_shape(self.drive, x[0], x).shape
        if given not in (x.shape, v.shape):
            raise ValueError(
                f"drive: expected {x.size} components, as x has, or {v.size}, got shape {given}"
            )

    def acceleration(
        self, field: None, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return along_velocities(self.drive(t, x), v)
