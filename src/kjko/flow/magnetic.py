"""A uniform magnetic field."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.core.checks import expect
from kjko.flow.potentials import Zero
from kjko.interfaces import AbstractFlow


class Magnetic(AbstractFlow):
    """v̇ = v × Ω: a uniform magnetic field of gyrofrequency Ω, for two or three velocities.

    `frequency`: one number, along the third axis, or three. With two velocities it turns
    (v₁, v₂), v̇₁ = Ωv₂, v̇₂ = −Ωv₁. It does no work, so that it changes no stationary law.
    `init` raises ValueError for one velocity, or for a field in the plane of two.
    """

    frequency: Float[Array, "3"] = eqx.field(converter=lambda given: _along_third(given))
    conservative: ClassVar[bool] = True

    def init(self, particles: Particles, mass: Float[Array, ""]) -> None:
        d = particles.v.shape[1]
        if d not in (2, 3):
            raise ValueError(f"frequency: a magnetic field needs 2 or 3 velocities, got {d}")
        if d == 2:
            expect("frequency", self.frequency[:2], lambda b: b == 0, "along the third axis")

    def acceleration(
        self, field: None, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return jnp.zeros_like(v)

    def gyrofrequency(self, t: Float[Array, ""], x: Float[Array, " d_x"]) -> Float[Array, "3"]:
        return self.frequency.astype(x.dtype)

    @property
    def given_potential(self) -> Zero:
        return Zero()


def _along_third(given: Array) -> Float[Array, "3"]:
    given = jnp.asarray(given)
    if given.shape not in ((), (3,)):
        raise ValueError(f"frequency: expected one number or three, got shape {given.shape}")
    return given if given.ndim else jnp.zeros(3, given.dtype).at[2].set(given)
