"""The periodic box."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Box(eqx.Module):
    """The periodic box [0, L₁) × … × [0, L_d) in x; `length`: L, all > 0."""

    length: Float[Array, " d_x"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        if self.length.ndim != 1:
            raise ValueError(f"length: expected one side a dimension, got {self.length.tolist()}")

    def wrap(self, x: Float[Array, "n d_x"]) -> tuple[Float[Array, "n d_x"], Int[Array, "n d_x"]]:
        """x modulo the box, never its upper end (which rounding of x mod L can give), and ⌊x/L⌋."""
        length = jnp.broadcast_to(self.length.astype(x.dtype), x.shape)
        wrapped = jnp.mod(x, length)
        turns = jnp.round((x - wrapped) / length).astype(jnp.int32)
        at_end = wrapped >= length
        return jnp.where(at_end, 0.0, wrapped), turns + at_end.astype(jnp.int32)


def on_circle(x: Float[Array, " d_x"], length: Any) -> Float[Array, " two_d_x"]:
    """(sin(2πx/L), cos(2πx/L))."""
    phase = 2 * jnp.pi * x / jnp.asarray(length, dtype=x.dtype)
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])
