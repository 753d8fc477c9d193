"""A force of your own: a rotating saddle, which holds particles only while it turns."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from kjko.interfaces import AbstractFlow


class RotatingSaddle(AbstractFlow):
    """a(t, x) = −s R(ωt) diag(1, −1) R(ωt)ᵀ x, in two dimensions."""

    strength: jnp.ndarray = eqx.field(converter=jnp.asarray)
    frequency: jnp.ndarray = eqx.field(converter=jnp.asarray)
    conservative: ClassVar[bool] = False  # it does work that no energy accounts for

    def acceleration(self, field, t, x, v):
        angle = 2 * self.frequency * t
        matrix = jnp.array([[jnp.cos(angle), jnp.sin(angle)], [jnp.sin(angle), -jnp.cos(angle)]])
        return -self.strength * (matrix @ x)
