"""Sums over particles, which are the first axis.

They are made of the sums of blocks, as many on one device as on several: what a run gives depends
on how many devices share its particles by rounding only.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kjko.devices import everywhere, in_use, number_in_use, of_own_part

BLOCKS = 64  # at most, and so at most as many devices
FEWEST = 16  # particles of a device


def number_of_blocks(n: int, fewest: int = 1) -> int:
    """Into how many equal blocks n particles fall: the most of 64, 32, …, 1 that divide n and leave
    the `fewest` in each.
    """
    blocks = math.gcd(n, BLOCKS)
    while blocks > 1 and n < fewest * blocks:
        blocks //= 2
    return blocks


def check_devices(n: int) -> None:
    """Raise ValueError if the blocks of n particles are not as many for each device in use."""
    blocks, number = number_of_blocks(n, FEWEST), number_in_use()
    if blocks % number != 0:
        raise ValueError(f"devices: expected a divisor of {blocks} for {n} particles, got {number}")


def total(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Σᵢ values[i], of sums of √n values in each block, so that rounding grows with √n. One value
    after another it would grow with n: to the fourth digit of ten million in single precision.
    """
    if in_use():
        return _sum_alone(everywhere(by_block(total, values)))
    n, *shape = values.shape
    size = max(1, math.isqrt(n))
    parts = -(-n // size)
    padding = [(0, parts * size - n)] + [(0, 0)] * len(shape)
    sums = jnp.sum(jnp.pad(values, padding).reshape(parts, size, *shape), axis=1)
    return jnp.sum(jax.lax.optimization_barrier(sums), axis=0)  # XLA would make one sum of the two


def _sum_alone(sums: Float[Array, "m ..."]) -> Float[Array, "..."]:
    """Their sum as a program of its own, which it is on several devices, where a message comes
    before it. On one device it would be one loop with the sums themselves, in another order.
    Whole numbers have the same sum in any.
    """
    if not jnp.issubdtype(sums.dtype, jnp.inexact):
        return jnp.sum(sums, axis=0)

    def none(sums):
        return jnp.full(sums.shape[1:], jnp.nan, sums.dtype)

    return jax.lax.cond(jnp.any(jnp.isnan(sums)), none, lambda sums: jnp.sum(sums, axis=0), sums)


def by_block(function: Callable[[Any], Any], rows: Any, fewest: int = 1) -> Any:
    """function(block of rows) of one block after another; what it gives, with the blocks as the
    first axis. It is of one shape on any number of devices, so that products of matrices round
    alike. Traced arrays are to be the function's own (`equinox.Partial`).
    """
    n = len(jax.tree.leaves(rows)[0])
    blocks = number_of_blocks(n, fewest)
    parts = jax.tree.map(lambda a: a.reshape(blocks, n // blocks, *a.shape[1:]), rows)
    return of_own_part(eqx.Partial(jax.lax.map, function), parts)


def of_blocks(function: Callable[[Any], Any], rows: Any) -> Any:
    """Σ function(block of rows) over the blocks: of counts and deposits. Of one block
    where there are no several devices.
    """
    if not in_use():
        return function(rows)
    return jax.tree.map(_sum_alone, everywhere(by_block(function, rows)))


def mean(
    values: Float[Array, "n ..."], where: Bool[Array, " n"] | None = None
) -> Float[Array, "..."]:
    """The mean of values[i]; of numbers, also of some."""
    if where is None:
        return total(values) / len(values)
    return total(jnp.where(where, values, 0.0)) / jnp.sum(where)


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
