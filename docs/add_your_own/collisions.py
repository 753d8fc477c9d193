"""Collisions of your own: friction to a bath that is hotter on one side."""

import equinox as eqx
import jax.numpy as jnp

from kjko.core import Bath
from kjko.interfaces import AbstractCollisions


class HeatedWall(AbstractCollisions):
    """Q[f] = ε ∇ᵥ·(v f + T(x) ∇ᵥf), T(x) = T₀ (1 + g tanh x₁)."""

    rate: jnp.ndarray = eqx.field(converter=jnp.asarray)
    bath: jnp.ndarray = eqx.field(converter=jnp.asarray)  # T₀
    gradient: jnp.ndarray = eqx.field(converter=jnp.asarray)  # g, below one

    @property
    def temperature(self):
        return None  # there is no one temperature for a free energy

    def freeze(self, x, v):
        temperature = self.bath * (1 + self.gradient * jnp.tanh(x[:, 0]))
        return Bath(self.rate * jnp.ones_like(temperature), jnp.zeros_like(v), temperature)
