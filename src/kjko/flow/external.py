"""The force of a given potential."""

from typing import ClassVar

import jax
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.flow.components import along_velocities, mean_over
from kjko.interfaces import AbstractFlow, Potential


class External(AbstractFlow):
    """a = −∇φ of a given `potential` φ(x), a function of one particle. Energy "external": ∫φ f.

    `init` raises ValueError if φ does not give one number.
    """

    potential: Potential
    conservative: ClassVar[bool] = True

    def init(self, particles: Particles, mass: Float[Array, ""]) -> None:
        given = jax.eval_shape(self.potential, particles.x[0]).shape
        if given != ():
            raise ValueError(
                f"potential: expected one number for a particle of shape"
                f" {particles.x[0].shape}, got shape {given}; return its only component or a sum"
            )

    def acceleration(
        self, field: None, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return along_velocities(-jax.grad(self.potential)(x), v)

    def potential_energy(self, field: None, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return self.potential(x)

    def energies(
        self, field: None, particles: Particles, mass: Float[Array, ""]
    ) -> dict[str, Float[Array, ""]]:
        return {"external": mass * mean_over(self.potential, particles.x)}

    @property
    def given_potential(self) -> Potential:
        return self.potential
