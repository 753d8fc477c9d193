"""Rows of particles: some of many, and all of them block by block."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from kjko.core.sums import number_of_blocks
from kjko.devices import in_use


def spread_rows(n: int, number: int) -> Int[np.ndarray, " m"]:
    """At most `number` of n rows, always the same: one drawn from each of as many equal stretches.

    Not at equal distances: every second point of a Sobol sequence is on one side of a coordinate.
    """
    if number >= n:
        return np.arange(n)
    edges = np.linspace(0, n, number + 1).astype(int)
    return np.random.default_rng(0).integers(edges[:-1], edges[1:])


def by_blocks(function: Callable[[Any], Any], rows: Any) -> Any:
    """function(rows), where a row of its result depends on that row alone. On several devices it is
    made of blocks of one size, so that each has its own, and products of matrices round alike.
    """
    if not in_use():
        return function(rows)
    n = len(jax.tree.leaves(rows)[0])
    blocks = number_of_blocks(n)
    parts = jax.tree.map(lambda a: a.reshape(blocks, n // blocks, *a.shape[1:]), rows)
    found = jax.vmap(function)(parts)
    return jax.tree.map(lambda a: a.reshape(n, *a.shape[2:]), found)


def map_rows(function: Callable[[Any], Any], rows: Any, size: int) -> Any:
    """function(row) of each row, `size` of them at a time."""
    n = len(jax.tree.leaves(rows)[0])
    size = max(1, size // number_of_blocks(n)) if in_use() else size
    return by_blocks(lambda rows: jax.lax.map(function, rows, batch_size=size), rows)
