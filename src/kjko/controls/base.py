"""A control at many particles, and what some controls offer beside their values."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import Control


class AbstractFastControl(eqx.Module):
    """A control with a faster way to u and ∇ᵥu of many particles than linearisation."""

    @abc.abstractmethod
    def value_and_jacobian(
        self, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m d n"]]:
        """u and ∇ᵥu at n particles, which come last."""


class AbstractLayeredControl(eqx.Module):
    """A control whose last layer it is linear in."""

    @abc.abstractmethod
    def last_layer(self) -> Any:
        """For every leaf, whether it belongs to the last layer."""


def value_and_jacobian(
    control: Control, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
) -> tuple[Float[Array, "m n"], Float[Array, "m d n"]]:
    """u and ∇ᵥu at n particles, which come last."""
    if isinstance(control, AbstractFastControl):
        return control.value_and_jacobian(x, v)

    def at_one(x, v):
        u, along = jax.linearize(lambda v: control(x, v), v)
        return u, jnp.stack([along(e) for e in jnp.eye(v.size, dtype=v.dtype)], axis=-1)

    return jax.vmap(at_one, in_axes=-1, out_axes=-1)(x, v)
