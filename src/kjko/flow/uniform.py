"""The same acceleration everywhere."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.flow.components import along_velocities
from kjko.interfaces import AbstractFlow


class Uniform(AbstractFlow):
    """A constant acceleration a, one number for each of the first components of v.

    In a periodic box it is the tilt that no periodic φ has: it goes on doing work, so there is
    neither a stationary law in closed form nor a free energy. `init` raises ValueError for more
    components than v has.
    """

    value: Float[Array, " m"] = eqx.field(converter=jnp.asarray)
    conservative: ClassVar[bool] = False

    def init(self, particles: Particles, mass: Float[Array, ""]) -> None:
        most = particles.v.shape[1]
        if self.value.ndim != 1 or self.value.size > most:
            raise ValueError(
                f"acceleration: expected a list of 1 to {most} numbers, got shape"
                f" {self.value.shape}"
            )

    def acceleration(
        self, field: None, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return along_velocities(self.value.astype(v.dtype), v)
