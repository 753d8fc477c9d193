"""No collisions."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core.checks import expect
from kjko.interfaces import AbstractCollisions


class NoCollisions(AbstractCollisions):
    """Q[f] = 0: f is only carried along, and no control is fitted.

    `temperature`: T₀ > 0 of the free energy ∫(½|v|² + φ + T₀ log f) f and of the Maxwellian that
    velocities are compared with. Raises ValueError if it is out of range.
    """

    temperature: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __check_init__(self) -> None:
        expect("temperature", self.temperature, lambda t: t > 0, "> 0")

    def freeze(self, x: Float[Array, "n d_x"], v: Float[Array, "n d"]) -> None:
        return None
