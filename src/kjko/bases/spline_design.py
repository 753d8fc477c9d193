"""The normal equations of tensor-product splines: local, so banded, so cheap."""

import functools
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from kjko.bases import block_tridiagonal
from kjko.core import sums
from kjko.interfaces import AbstractDesign

ORDER = 4  # B-splines of degree three that do not vanish in a cell
NEAR, HERE = 2 * ORDER - 1, ORDER - 1  # of the offsets of those that share one, and which is zero
PAIR = {pair: i for i, pair in enumerate(combinations_with_replacement(range(ORDER), 2))}
SMOOTHER_IN_V = 10.0  # weight of the differences along v against those along x
FLOOR = 1e-9  # of the penalty, against the mean square of a column: fixes what two pairs share
HOLD = 1e-7  # the same of a factor: what no particle sees stays near zero in the first iterations
BLOCK = 2048  # rows, of a particle and a pair, whose products are formed at a time, in the cache


class Table(NamedTuple):
    """The coefficients of one S(x, v), in columns along x: what is the same for all particles.

    Columns up to three apart are coupled: in groups of three they are block tridiagonal, in a
    periodic box a ring.
    """

    cells: tuple[int, int]
    periodic: bool

    @property
    def shape(self) -> tuple[int, int]:
        n_x, n_v = self.cells
        return (n_x if self.periodic else n_x + ORDER - 1), n_v + ORDER - 1

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def extend(self, c: Float[Array, "d columns k"]) -> Float[Array, "d more k"]:
        """The coefficients, with the first columns of a periodic box again at its end."""
        return jnp.concatenate([c, c[:, : ORDER - 1]], axis=1) if self.periodic else c

    def cells_of(self, columns: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """The cell in x of each number, round and round in a periodic box; −1 for none."""
        n_x = self.cells[0]
        if self.periodic:
            return columns % n_x
        return np.where((columns >= 0) & (columns < n_x), columns, -1)

    def differences(self) -> tuple[Float[np.ndarray, "j j"], Float[np.ndarray, "k k"]]:
        """DᵀD of the third differences along x and along v."""
        along_x, along_v = (np.diff(np.eye(n), n=ORDER - 1, axis=0) for n in self.shape)
        if self.periodic:
            along_x = np.stack([np.roll(along_x[0], j) for j in range(self.shape[0])])
        return along_x.T @ along_x, SMOOTHER_IN_V * along_v.T @ along_v

    def rough(self, c: Float[Array, "d columns k"]) -> Float[Array, "d columns k"]:
        """R c, one difference after the other: what they leave of a smooth c is small."""
        in_x = _transposed(jnp.diff(self.extend(c), n=ORDER - 1, axis=1), axis=1)
        in_v = _transposed(jnp.diff(c, n=ORDER - 1, axis=2), axis=2)
        if self.periodic:
            n = self.shape[0]
            in_x = in_x[:, :n].at[:, : ORDER - 1].add(in_x[:, n:])
        return in_x + SMOOTHER_IN_V * in_v


def _transposed(differences: Float[Array, "d j k"], axis: int) -> Float[Array, "d more_j more_k"]:
    """The transpose of third differences along an axis."""
    pad = [(ORDER - 1, ORDER - 1) if i == axis else (0, 0) for i in range(3)]
    return -jnp.diff(jnp.pad(differences, pad), n=ORDER - 1, axis=axis)


@functools.lru_cache
def _penalty_bands(table: Table) -> Float[np.ndarray, "two m"]:
    """R and I in the form of `Gram.bands`, for one S."""
    in_x, in_v = table.differences()
    columns, n_v = table.shape
    rough, one = np.zeros((2, NEAR, NEAR, columns, n_v))
    for a in range(NEAR):
        rows = np.arange(columns)
        other = rows + a - HERE
        there = (other >= 0) & (other < columns) | table.periodic
        rough[a, HERE, rows[there]] += in_x[rows[there], other[there] % columns][:, None]
    for b in range(NEAR):
        rows = np.arange(max(0, HERE - b), n_v - max(0, b - HERE))
        rough[HERE, b, :, rows] += in_v[rows, rows + b - HERE][:, None]
    one[HERE, HERE] = 1
    return np.stack([rough.ravel(), one.ravel()])


@functools.lru_cache
def _block_index(table: Table) -> Int[np.ndarray, "m two w w"]:
    """Where in a band, followed by a zero, the entries of the diagonal and upper blocks are."""
    columns, n_v = table.shape
    blocks = np.arange(columns).reshape(-1, ORDER - 1)
    band = np.arange(NEAR**2 * columns * n_v).reshape(NEAR, NEAR, columns, n_v)

    def between(first, second):
        """Entries that couple the columns `first` (m × w) with `second`."""
        j, j_other = first[:, :, None, None, None], second[:, None, None, :, None]
        k, k_other = np.arange(n_v)[:, None, None], np.arange(n_v)[None, None, :]
        a, b = j_other - j + HERE, k_other - k + HERE
        if table.periodic:
            a = a % columns
        is_near = (a >= 0) & (a < NEAR) & (b >= 0) & (b < NEAR)
        inside = np.where(is_near, a, 0), np.where(is_near, b, 0)
        entry = np.where(is_near, band[*inside, j, k], band.size)
        return entry.reshape(len(first), (ORDER - 1) * n_v, -1)

    entries = [between(blocks, blocks), between(blocks, np.roll(blocks, -1, axis=0))]
    return np.stack(entries, axis=1).astype(np.int32)  # one array for both precisions


@functools.lru_cache
def _table_index(table: Table) -> Int[np.ndarray, "columns k 16"]:
    """For each coefficient the places, in flat sums over (cell, spline in x, spline in v), of the
    16 that add up to it; the length of these sums, where a zero follows, for none.
    """
    columns, n_k = table.shape
    n_v = table.cells[1]
    column, k = np.arange(columns)[:, None, None, None], np.arange(n_k)[:, None, None]
    p, r = np.arange(ORDER)[:, None], np.arange(ORDER)
    in_x, in_v = table.cells_of(column - p), k - r
    is_there = (in_x >= 0) & (in_v >= 0) & (in_v < n_v)
    entry = ((in_x * n_v + in_v) * ORDER + p) * ORDER + r
    entry = np.where(is_there, entry, table.cells[0] * n_v * ORDER**2)
    return entry.reshape(columns, n_k, ORDER**2).astype(np.int32)


def _gathered(
    values: Float[Array, "... m"], index: Int[np.ndarray, "... terms"]
) -> Float[Array, "..."]:
    """Σ values[…, index] over the last axis of the index; a zero is appended to the values."""
    pad = [(0, 0)] * (values.ndim - 1) + [(0, 1)]
    return jnp.sum(jnp.pad(values, pad)[..., index], axis=-1)


def _band(table: Table, local: Float[Array, "d i l x v"]) -> Float[Array, "d m"]:
    """Sums over the cells, of each S in one row: a × b × columns × k entries, of column j, k with
    column j + a − 3, k + b − 3.

    `local`: for each cell the sums of products of the splines p ≤ q in x and in v.
    """

    def in_v(r, values):
        return jnp.pad(values, [(0, 0)] * 3 + [(r, ORDER - 1 - r)])

    def in_x(p, values):
        if table.periodic:
            return jnp.roll(values, p, axis=-2)
        return jnp.pad(values, [(0, 0)] * 2 + [(p, ORDER - 1 - p), (0, 0)])

    of_v = _by_offset(in_v, jnp.moveaxis(local, (4, 3), (0, 1)))
    band = _by_offset(in_x, jnp.moveaxis(of_v, 1, 0))
    return jnp.moveaxis(band, 2, 0).reshape(len(local), -1)


def _by_offset(
    placed: Callable[[int, Array], Array], of_pairs: Float[Array, "pairs ..."]
) -> Float[Array, "offsets ..."]:
    """For each offset b the sum over r of the pair of splines (r, r + b − 3), `placed` by r."""
    rows = []
    for offset in range(1 - ORDER, ORDER):
        firsts = range(max(0, -offset), min(ORDER, ORDER - offset))
        pairs = (PAIR[min(r, r + offset), max(r, r + offset)] for r in firsts)
        terms = (placed(r, of_pairs[pair]) for r, pair in zip(firsts, pairs, strict=True))
        rows.append(functools.reduce(jnp.add, terms))
    return jnp.stack(rows)


def _times(table: Table, band: Float[Array, " m"], c: Float[Array, " p"]) -> Float[Array, " p"]:
    """The product of a band, see `_band`, with the coefficients of one S."""
    columns, n_v = table.shape
    near = np.arange(NEAR)[:, None] - HERE + np.arange(columns)
    near = near % columns if table.periodic else np.clip(near, 0, columns - 1)
    rows = jnp.pad(c.reshape(table.shape)[near], ((0, 0), (0, 0), (HERE, HERE)))
    band = band.reshape(NEAR, NEAR, columns, n_v)
    terms = [band[:, b] * rows[:, :, b : b + n_v] for b in range(NEAR)]
    return jnp.sum(functools.reduce(jnp.add, terms), axis=0).ravel()


class Gram(NamedTuple):
    """MᵀM/n, but for what couples the cross products and the pairs with each other."""

    cross: Float[Array, "q q"]
    bands: Float[Array, "d m"]  # of each pair, see `_band`


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
        return _times(self.table, gram.bands[0], c)

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
        tables = _gathered(of_cells.reshape(len(of_cells), -1), _table_index(self.table))
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
        return Gram(self.cross.T @ self.cross / len(self.cell), _band(self.table, local))

    def factor(self, gram: Gram, ridge: Float[Array, ""]) -> Any:
        """Of the diagonal blocks, the cross products and each pair, with a larger floor."""
        rough, one = jnp.asarray(_penalty_bands(self.table), gram.bands.dtype)
        bands = gram.bands + self.unit * (ridge * rough + HOLD * one)[None]
        bands = jnp.pad(bands, ((0, 0), (0, 1)))
        index = jnp.asarray(_block_index(self.table))
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
