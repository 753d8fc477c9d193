"""The coefficients of a tensor-product spline in a table, and matrices of them in bands."""

import functools
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

ORDER = 4  # B-splines of degree three that do not vanish in a cell
NEAR, HERE = 2 * ORDER - 1, ORDER - 1  # of the offsets of those that share one, and which is zero
PAIR = {pair: i for i, pair in enumerate(combinations_with_replacement(range(ORDER), 2))}
SMOOTHER_IN_V = 10.0  # weight of the differences along v against those along x


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
def penalty_bands(table: Table) -> Float[np.ndarray, "two m"]:
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
def block_index(table: Table) -> Int[np.ndarray, "m two w w"]:
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
def place_index(table: Table) -> Int[np.ndarray, "columns k 16"]:
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


def gathered(
    values: Float[Array, "... m"], index: Int[np.ndarray, "... terms"]
) -> Float[Array, "..."]:
    """Σ values[…, index] over the last axis of the index; a zero is appended to the values."""
    pad = [(0, 0)] * (values.ndim - 1) + [(0, 1)]
    return jnp.sum(jnp.pad(values, pad)[..., index], axis=-1)


def band_of(table: Table, local: Float[Array, "d i l x v"]) -> Float[Array, "d m"]:
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


def times(table: Table, band: Float[Array, " m"], c: Float[Array, " p"]) -> Float[Array, " p"]:
    """The product of a band, see `band_of`, with the coefficients of one S."""
    columns, n_v = table.shape
    near = np.arange(NEAR)[:, None] - HERE + np.arange(columns)
    near = near % columns if table.periodic else np.clip(near, 0, columns - 1)
    rows = jnp.pad(c.reshape(table.shape)[near], ((0, 0), (0, 0), (HERE, HERE)))
    band = band.reshape(NEAR, NEAR, columns, n_v)
    terms = [band[:, b] * rows[:, :, b : b + n_v] for b in range(NEAR)]
    return jnp.sum(functools.reduce(jnp.add, terms), axis=0).ravel()
