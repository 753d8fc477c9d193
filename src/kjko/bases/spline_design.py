"""The normal equations of tensor-product splines: local, so banded, so cheap."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from kjko.bases import block_tridiagonal
from kjko.bases.spline_table import (
    ORDER,
    Table,
    band_of,
    block_index,
    gathered,
    penalty_bands,
    place_index,
    times,
)
from kjko.core import sums
from kjko.interfaces import AbstractDesign

FLOOR = 1e-9  # of the penalty, against the mean square of a column: fixes what two pairs share
HOLD = 1e-7  # the same of a factor: what no particle sees stays near zero in the first iterations
BLOCK = 2048  # rows, of a particle and a pair, whose products are formed at a time, in the cache


class Gram(NamedTuple):
    """MᵀM/n, but for what couples the cross products and the pairs with each other."""

    cross: Float[Array, "q q"]
    bands: Float[Array, "d m"]  # of each pair, see `band_of`


class SplineDesign(AbstractDesign):
    """The matrix of `Splines`, by the cell of each particle and the 4 + 4 splines there.

    Its normal equations are for double precision: where there are few particles the penalty is all
    that fixes a smooth function, which rounding of what others see would drown.
    """

    cell: Int[Array, "n d 2"]
    of_x: Float[Array, "n d 4"]
    of_v: Float[Array, "n d 4"]  # (1 + a ∂ᵥ − B ∂ᵥ²) of the splines in v
    cross: Float[Array, "n q"]
    unit: Float[Array, ""]  # the ridge's: mean square of a column
    table: Table = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        cell: Int[Array, "n d 2"],
        of_x: Float[Array, "n d 4"],
        of_v: Float[Array, "n d 4"],
        cross: Float[Array, "n q"],
        table: Table,
    ) -> "SplineDesign":
        square = jnp.sum(of_x**2, axis=2) * jnp.sum(of_v**2, axis=2)
        return cls(cell, of_x, of_v, cross, jnp.mean(sums.mean(square)) / table.size, table)

    def rows(self, which: slice) -> "SplineDesign":
        cell, of_x, of_v = self.cell[which], self.of_x[which], self.of_v[which]
        return SplineDesign(cell, of_x, of_v, self.cross[which], self.unit, self.table)

    def with_penalty_of(self, other: "SplineDesign") -> "SplineDesign":
        return eqx.tree_at(lambda d: d.unit, self, other.unit)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.cell.shape[1], *self.table.shape)

    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        q = self.cross.shape[1]
        tables = self.table.extend(c[q:].reshape(self._shape))
        window = functools.partial(jax.lax.dynamic_slice, slice_sizes=(ORDER, ORDER))
        windows = jax.vmap(jax.vmap(window), in_axes=(None, 0))(tables, self.cell)
        of_pairs = jnp.einsum("nkj,nkji,nki->n", self.of_x, windows, self.of_v)
        return self.cross @ c[:q] + of_pairs

    def normal(self, c: Float[Array, " p"], gram: Gram) -> Float[Array, " p"]:
        n, d, _ = self.cell.shape
        if d > 1:  # the Gram matrix lacks what couples the pairs
            return self.transpose(self.apply(c)) / n
        return times(self.table, gram.bands[0], c)

    def _sum_over_cells(
        self, products: Callable[..., tuple[Array, Array]], *of_particles: Float[Array, "n d ..."]
    ) -> Float[Array, "d i l p q"]:
        """The sums over the particles of a cell of all products of the two arrays, of p and of q
        numbers for a particle and a pair, that `products` makes of what is known of these.
        """
        (n_x, n_v), (n, d, _) = self.table.cells, self.of_x.shape
        pair = np.arange(d, dtype=np.int32)[None]
        number = (pair * n_x + self.cell[..., 0]) * n_v + self.cell[..., 1]
        most = min(BLOCK, n * d)
        size = min(range(most, most // 2, -1), key=lambda size: -(n * d) % size)

        def blocks(values):
            values = values.reshape(n * d, *values.shape[2:])
            pad = [(0, -len(values) % size)] + [(0, 0)] * (values.ndim - 1)  # zeros add nothing
            return jnp.pad(values, pad).reshape(-1, size, *values.shape[1:])

        def add(totals, block):
            rows, *known = block
            left, right = products(*known)
            return totals.at[rows].add(left[:, :, None] * right[:, None, :]), None

        in_blocks = [blocks(values) for values in (number, *of_particles)]
        left, right = jax.eval_shape(products, *(values[0] for values in in_blocks[1:]))
        totals = jnp.zeros((d * n_x * n_v, left.shape[1], right.shape[1]), left.dtype)
        totals, _ = jax.lax.scan(add, totals, in_blocks)
        return totals.reshape(d, n_x, n_v, *totals.shape[1:])

    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        def products(r, of_x, of_v):
            return r * of_x, of_v

        values = jnp.broadcast_to(r[:, None, None], (*self.of_x.shape[:2], 1))
        of_cells = self._sum_over_cells(products, values, self.of_x, self.of_v)
        tables = gathered(of_cells.reshape(len(of_cells), -1), place_index(self.table))
        return jnp.concatenate([r @ self.cross, tables.ravel()])

    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        q = self.cross.shape[1]
        table = c[q:].reshape(self._shape)
        smooth = self.unit * (ridge * self.table.rough(table) + FLOOR * table)
        return jnp.concatenate([FLOOR * c[:q], smooth.ravel()])

    def gram(self) -> Gram:
        first, second = np.triu_indices(ORDER)

        def products(of_x, of_v):
            return tuple(a[:, first] * a[:, second] for a in (of_x, of_v))

        local = self._sum_over_cells(products, self.of_x, self.of_v) / len(self.cell)
        return Gram(self.cross.T @ self.cross / len(self.cell), band_of(self.table, local))

    def factor(self, gram: Gram, ridge: Float[Array, ""]) -> Any:
        """Of the diagonal blocks, the cross products and each pair, with a larger floor."""
        rough, one = jnp.asarray(penalty_bands(self.table), gram.bands.dtype)
        bands = gram.bands + self.unit * (ridge * rough + HOLD * one)[None]
        bands = jnp.pad(bands, ((0, 0), (0, 1)))
        index = jnp.asarray(block_index(self.table))
        of_one = functools.partial(block_tridiagonal.factor, index=index, ring=self.table.periodic)
        # Several one by one: LAPACK is to get no batches, see `kjko.initial.positions.log_normal`.
        pairs = jax.vmap(of_one)(bands) if len(bands) == 1 else jax.lax.map(of_one, bands)
        q = len(gram.cross)
        if q == 0:
            return gram.cross, pairs
        return cho_factor(gram.cross + FLOOR * jnp.eye(q, dtype=gram.cross.dtype))[0], pairs

    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        cross, pairs = factor
        q, (d, *_, n_v) = len(cross), self._shape
        rows = r[q:].reshape(d, -1, (ORDER - 1) * n_v)
        tables = jax.lax.map(lambda pair: block_tridiagonal.solve(*pair), (pairs, rows))
        head = cho_solve((cross, False), r[:q]) if q else r[:q]
        return jnp.concatenate([head, tables.ravel()])
