"""Friction and diffusion in a bath at rest."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Bath
from kjko.core.checks import expect
from kjko.interfaces import AbstractCollisions


class FokkerPlanck(AbstractCollisions):
    """Q[f] = ε ∇ᵥ·(v f + T₀ ∇ᵥf): equation (7) with a temperature.

    `rate`: ε > 0, collisions a unit of time. `temperature`: T₀ > 0 of the bath. Raises ValueError
    if one is out of range; for ε = 0 take `NoCollisions`.
    """

    rate: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    temperature: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __check_init__(self) -> None:
        expect("rate", self.rate, lambda e: e > 0, "> 0 (NoCollisions is without)")
        expect("temperature", self.temperature, lambda t: t > 0, "> 0")

    def freeze(self, x: Float[Array, "n d_x"], v: Float[Array, "n d"]) -> Bath:
        one = jnp.ones_like(v[:, 0])
        rate, temperature = (a.astype(v.dtype) for a in (self.rate, self.temperature))
        return Bath(rate * one, jnp.zeros_like(v), temperature * one)
