"""Sums over particles, which are the first axis.

They are made of the sums of blocks, as many on one device as on several: what a run gives depends
on how many devices share its particles by rounding only.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.devices import everywhere

BLOCKS = 64  # at most, and so as many devices


def number_of_blocks(n: int) -> int:
    """Into how many equal blocks n particles fall: 64, 32, …, 1, the most that divide n."""
    return math.gcd(n, BLOCKS)


def total(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Σᵢ values[i], of sums of √n values in each block: rounding grows with √n and not with n,
    which in single precision is the fourth digit of the sum of ten million.
    """
    n, *shape = values.shape
    blocks = number_of_blocks(n)
    size = max(1, math.isqrt(n // blocks))
    parts = -(-(n // blocks) // size)
    values = values.reshape(blocks, n // blocks, *shape)
    padding = [(0, 0), (0, parts * size - n // blocks)] + [(0, 0)] * len(shape)
    sums = jnp.sum(jnp.pad(values, padding).reshape(blocks * parts, size, *shape), axis=1)
    apart = jax.lax.optimization_barrier(sums)  # XLA would make one sum of the two
    return jnp.sum(everywhere(apart), axis=0)


def of_blocks(function: Callable[..., Array], *values: Array) -> Array:
    """Σ function(block of values) over the blocks: of counts and deposits."""
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
    largest = jnp.max(values)
    return largest + jnp.log(mean(jnp.exp(values - largest)))
