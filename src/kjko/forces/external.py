"""The force of a given potential."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from kjko.interfaces import AbstractForce, Particles


class External(AbstractForce):
    """−∇φ of a potential φ(x), a function of one particle. It has no state."""

    potential: Callable[[Float[Array, " d"]], Float[Array, ""]]

    def init(self, particles: Particles, mass: float = 1.0) -> None:
        return None

    def update(self, state: None, particles: Particles, dt: float) -> None:
        return None

    def acceleration(self, state: None, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return -jax.grad(self.potential)(x)

    def potential_energy(self, state: None, x: Float[Array, " d"]) -> Float[Array, ""]:
        return self.potential(x)

    def field_energy(self, state: None) -> None:
        return None
