"""Sums over particles, which are the first axis.

They are made of the sums of blocks, as many on one device as on several: what a run gives depends
on how many devices share its particles by rounding only.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.devices import everywhere, in_use, number_in_use

BLOCKS = 64  # at most, and so at most as many devices


def number_of_blocks(n: int) -> int:
    """Into how many equal blocks n particles fall: 64, 32, …, 1, the most that divide n."""
    return math.gcd(n, BLOCKS)


def check_devices(n: int) -> None:
    """Raise ValueError if the blocks of n particles are not as many for each device in use."""
    blocks, number = number_of_blocks(n), number_in_use()
    if blocks % number != 0:
        raise ValueError(f"devices: expected a divisor of {blocks} for {n} particles, got {number}")


def total(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Σᵢ values[i], of sums of √n values in each block, so that rounding grows with √n. One value
    after another it would grow with n: to the fourth digit of ten million in single precision.
    """
    n, *shape = values.shape
    blocks = number_of_blocks(n)
    size = max(1, math.isqrt(n // blocks))
    parts = -(-(n // blocks) // size)
    values = values.reshape(blocks, n // blocks, *shape)
    padding = [(0, 0), (0, parts * size - n // blocks)] + [(0, 0)] * len(shape)
    sums = jnp.sum(jnp.pad(values, padding).reshape(blocks * parts, size, *shape), axis=1)
    apart = jax.lax.optimization_barrier(sums)  # XLA would make one sum of the two
    return _sum_alone(everywhere(apart)) if in_use() else jnp.sum(apart, axis=0)


def _sum_alone(sums: Float[Array, "m ..."]) -> Float[Array, "..."]:
    """Their sum as a program of its own, which it is on several devices, where a message comes
    before it. On one device it would be one loop with the sums themselves, in another order.
    """

    def none(sums):
        return jnp.full(sums.shape[1:], jnp.nan, sums.dtype)

    return jax.lax.cond(jnp.any(jnp.isnan(sums)), none, lambda sums: jnp.sum(sums, axis=0), sums)


def of_blocks(function: Callable[..., Array], *values: Array) -> Array:
    """Σ function(block of values) over the blocks: of counts and deposits. Of one block where there
    are no several devices.
    """
    if not in_use():
        return function(*values)
    n = len(values[0])
    blocks = number_of_blocks(n)
    parts = (value.reshape(blocks, n // blocks, *value.shape[1:]) for value in values)
    return jnp.sum(everywhere(jax.vmap(function)(*parts)), axis=0)


def mean(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """The mean of values[i]."""
    return total(values) / len(values)


def variance(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """The mean square of values[i] less their mean."""
    return mean((values - mean(values)[None]) ** 2)


def deviation(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """The root of the variance."""
    return jnp.sqrt(variance(values))


def log_mean_exp(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The logarithm of the mean of exp(values[i]), which may be too large for numbers."""
    largest = jax.lax.stop_gradient(jnp.max(values))
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    return largest + jnp.log(mean(jnp.exp(values - largest)))
