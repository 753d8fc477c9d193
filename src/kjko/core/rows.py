"""Rows of particles: some of many, and all of them block by block."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from kjko.core.sums import by_block
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
    """function(rows), where a row of its result depends on that row alone: on several devices block
    by block (see `kjko.core.sums.by_block`).
    """
    if not in_use():
        return function(rows)
    n = len(jax.tree.leaves(rows)[0])
    return jax.tree.map(lambda a: a.reshape(n, *a.shape[2:]), by_block(function, rows))


def each_row(function: Callable[..., Any], *rows: Any) -> Any:
    """function(*row) of each row, as by `jax.vmap`."""
    return by_blocks(eqx.Partial(_each_row, function), rows)


def _each_row(function: Callable[..., Any], rows: tuple[Any, ...]) -> Any:
    return jax.vmap(function)(*rows)


def map_rows(function: Callable[..., Any], rows: tuple[Any, ...], size: int) -> Any:
    """function(*row) of each row, `size` of them at a time."""
    return by_blocks(eqx.Partial(_map_rows, function, size), rows)


def _map_rows(function: Callable[..., Any], size: int, rows: tuple[Any, ...]) -> Any:
    return jax.lax.map(lambda row: function(*row), rows, batch_size=size)
