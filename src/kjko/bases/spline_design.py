"""The normal equations of tensor-product splines: local, so banded, so cheap."""

from functools import lru_cache, partial
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from kjko.bases import block_tridiagonal
from kjko.interfaces import AbstractDesign

ORDER = 4  # B-splines of degree three that do not vanish in a cell
PAIR = {pair: i for i, pair in enumerate(combinations_with_replacement(range(ORDER), 2))}
SMOOTHER_IN_V = 10.0  # weight of the differences along v against those along x
FLOOR = 1e-9  # of the penalty, against the mean square of a column: fixes what two pairs share
ROUNDING = 2.0  # on a factor's diagonal, times its largest entry and the precision


class Table(NamedTuple):
    """The coefficients of one S(x, v), in columns along x: what is the same for all particles.

    Columns up to three apart are coupled. Grouped by `width` columns they are block tridiagonal; in
    a periodic box the columns are first folded, 0, n−1, 1, n−2, …
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

    @property
    def width(self) -> int:
        return 2 * (ORDER - 1) if self.periodic else ORDER - 1

    @property
    def order(self) -> Int[np.ndarray, " columns"]:
        columns = np.arange(self.shape[0])
        if not self.periodic:
            return columns
        return np.stack([columns, columns[::-1]], axis=1).ravel()[: columns.size]

    def extend(self, c: Float[Array, "d columns k"]) -> Float[Array, "d more k"]:
        """The coefficients, with the first columns of a periodic box again at its end."""
        return jnp.concatenate([c, c[:, : ORDER - 1]], axis=1) if self.periodic else c

    def fold(self, c: Float[Array, "more ..."]) -> Float[Array, "columns ..."]:
        """The transpose of `extend`, for one S."""
        n = self.shape[0]
        return c[:n].at[: ORDER - 1].add(c[n:]) if self.periodic else c

    def differences(self) -> tuple[Float[np.ndarray, "j j"], Float[np.ndarray, "k k"]]:
        """DᵀD of the third differences along x and along v."""
        along_x, along_v = (np.diff(np.eye(n), n=ORDER - 1, axis=0) for n in self.shape)
        if self.periodic:
            along_x = np.stack([np.roll(along_x[0], j) for j in range(self.shape[0])])
        return along_x.T @ along_x, SMOOTHER_IN_V * along_v.T @ along_v

    def rough(self, c: Float[Array, "d columns k"]) -> Float[Array, "d columns k"]:
        """R c, one difference after the other: in float32 a product with DᵀD would be noise."""
        in_x = _transposed(jnp.diff(self.extend(c), n=ORDER - 1, axis=1), axis=1)
        in_v = _transposed(jnp.diff(c, n=ORDER - 1, axis=2), axis=2)
        return jax.vmap(self.fold)(in_x) + SMOOTHER_IN_V * in_v


def _transposed(differences: Float[Array, "d j k"], axis: int) -> Float[Array, "d more_j more_k"]:
    """The transpose of third differences along an axis."""
    pad = [(ORDER - 1, ORDER - 1) if i == axis else (0, 0) for i in range(3)]
    return -jnp.diff(jnp.pad(differences, pad), n=ORDER - 1, axis=axis)


@lru_cache
def _penalty_blocks(table: Table) -> Float[np.ndarray, "two m w w"]:
    """R in the form of `Gram.blocks`, for one S."""
    in_x, in_v = table.differences()
    columns, n_v = table.shape
    band = np.zeros((columns, ORDER, n_v, 2 * ORDER - 1))
    for a in range(ORDER):
        rows = np.arange(columns if table.periodic else columns - a)
        band[rows, a, :, ORDER - 1] += in_x[rows, (rows + a) % columns][:, None]
    for b in range(1 - ORDER, ORDER):
        rows = np.arange(max(0, -b), n_v - max(0, b))
        band[:, 0, rows, b + ORDER - 1] += in_v[rows, rows + b][None]
    return np.append(band, 0.0)[_block_index(table)]


@lru_cache
def _block_index(table: Table) -> Int[np.ndarray, "two m w w"]:
    """Where in a flat band, followed by a zero, the diagonal and upper blocks' entries are."""
    columns, n_v = table.shape
    blocks = table.order.reshape(-1, table.width)
    band = np.arange(columns * ORDER * n_v * (2 * ORDER - 1))
    band = band.reshape(columns, ORDER, n_v, 2 * ORDER - 1)

    def between(first, second):
        """Entries that couple the columns `first` (m × w) with `second`."""
        j, j_other = first[:, :, None, None, None], second[:, None, None, :, None]
        k, k_other = np.arange(n_v)[:, None, None], np.arange(n_v)[None, None, :]
        ahead, back = j_other - j, j - j_other
        if table.periodic:
            ahead, back = ahead % columns, back % columns
        b = k_other - k + ORDER - 1
        near_v = (b >= 0) & (b < 2 * ORDER - 1)
        is_ahead, is_back = (ahead >= 0) & (ahead < ORDER), (back > 0) & (back < ORDER)
        b_inside = np.where(near_v, b, 0)
        forward = band[j, np.where(is_ahead, ahead, 0), k, b_inside]
        mirrored = np.where(near_v, 2 * ORDER - 2 - b, 0)
        backward = band[j_other, np.where(is_back, back, 0), k_other, mirrored]
        entry = np.where(is_ahead, forward, np.where(is_back, backward, band.size))
        entry = np.where(near_v, entry, band.size)
        return entry.reshape(len(first), table.width * n_v, -1)

    entries = [between(blocks, blocks), between(blocks, np.roll(blocks, -1, axis=0))]
    return np.stack(entries).astype(np.int32)  # one array for both precisions


def _band(table: Table, local: Float[Array, "i l x v"]) -> Float[Array, "columns a k b"]:
    """Sums over the cells: the entry of column j, k with column j + a, k + b − 3.

    `local`: for each cell the sums of products of the splines p ≤ q in x and in v.
    """
    n_x, n_v = table.cells
    of_v = jnp.zeros((n_x, len(PAIR), n_v + ORDER - 1, 2 * ORDER - 1), local.dtype)
    local = jnp.moveaxis(local, 1, 2)
    for r in range(ORDER):
        for s in range(ORDER):
            part = local[..., PAIR[min(r, s), max(r, s)]]
            of_v = of_v.at[:, :, r : r + n_v, s - r + ORDER - 1].add(part)
    band = jnp.zeros((n_x + ORDER - 1, ORDER, *of_v.shape[2:]), local.dtype)
    for (p, q), i in PAIR.items():
        band = band.at[p : p + n_x, q - p].add(of_v[:, i])
    return table.fold(band)


class Gram(NamedTuple):
    """Mᵀ w M / Σw, but for what couples the cross products and the pairs with each other."""

    cross: Float[Array, "q q"]
    blocks: Float[Array, "d two m w w"]  # of each pair, the diagonal ones and the upper ones


class SplineDesign(AbstractDesign):
    """The matrix of `Splines`, by the cell of each particle and the 4 + 4 splines there."""

    cell: Int[Array, "n d 2"]
    of_x: Float[Array, "n d 4"]
    of_v: Float[Array, "n d 4"]  # (1 + a ∂ᵥ − B ∂ᵥ²) of the splines in v
    cross: Float[Array, "n q"]
    unit: Float[Array, ""]  # the ridge's: mean square of a column
    table: Table = eqx.field(static=True)

    @classmethod
    def of(cls, cell, of_x, of_v, cross, table: Table) -> "SplineDesign":
        square = jnp.sum(of_x**2, axis=2) * jnp.sum(of_v**2, axis=2)
        return cls(cell, of_x, of_v, cross, jnp.mean(square) / table.size, table)

    def with_penalty_of(self, other: "SplineDesign") -> "SplineDesign":
        return eqx.tree_at(lambda d: d.unit, self, other.unit)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.cell.shape[1], *self.table.shape)

    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        q = self.cross.shape[1]
        values = self.cross @ c[:q]
        for k, table in enumerate(self.table.extend(c[q:].reshape(self._shape))):
            window = partial(jax.lax.dynamic_slice, table, slice_sizes=(ORDER, ORDER))
            windows = jax.vmap(window)(self.cell[:, k])
            values += jnp.einsum("nj,nji,ni->n", self.of_x[:, k], windows, self.of_v[:, k])
        return values

    def _sum_over_cells(self, k: int, values: Float[Array, "n m"]) -> Float[Array, "i l m"]:
        n_x, n_v = self.table.cells
        number = self.cell[:, k, 0] * n_v + self.cell[:, k, 1]
        sums = jnp.zeros((n_x * n_v, values.shape[1]), values.dtype).at[number].add(values)
        return sums.reshape(n_x, n_v, -1)

    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        n_x, n_v = self.table.cells
        parts = [self.cross.T @ r]
        for k in range(self.cell.shape[1]):
            products = (r[:, None] * self.of_x[:, k])[:, :, None] * self.of_v[:, k, None]
            cells = self._sum_over_cells(k, products.reshape(len(r), -1))
            table = jnp.zeros((n_x + ORDER - 1, n_v + ORDER - 1), r.dtype)
            for i in range(ORDER**2):
                j, m = divmod(i, ORDER)
                table = table.at[j : j + n_x, m : m + n_v].add(cells[..., i])
            parts.append(self.table.fold(table).ravel())
        return jnp.concatenate(parts)

    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        q = self.cross.shape[1]
        table = c[q:].reshape(self._shape)
        smooth = self.unit * (ridge * self.table.rough(table) + FLOOR * table)
        return jnp.concatenate([FLOOR * c[:q], smooth.ravel()])

    def gram(self, weights: Float[Array, " n"]) -> Gram:
        weights = weights / jnp.sum(weights)
        first, second = np.triu_indices(ORDER)
        bands = []
        for k in range(self.cell.shape[1]):
            in_x = weights[:, None] * self.of_x[:, k, first] * self.of_x[:, k, second]
            in_v = self.of_v[:, k, first] * self.of_v[:, k, second]
            products = in_x[:, :, None] * in_v[:, None, :]
            cells = self._sum_over_cells(k, products.reshape(len(weights), -1))
            bands.append(_band(self.table, cells.reshape(*self.table.cells, len(PAIR), -1)))
        flat = jnp.pad(jnp.stack(bands).reshape(len(bands), -1), ((0, 0), (0, 1)))
        cross = (self.cross * weights[:, None]).T @ self.cross
        return Gram(cross, flat[:, _block_index(self.table)])

    def factor(self, gram: Gram, ridge: Float[Array, ""]) -> Any:
        """Of the diagonal blocks, the cross products and each pair, up to rounding."""
        rough = jnp.asarray(_penalty_blocks(self.table), gram.blocks.dtype)
        diagonal, upper = jnp.moveaxis(gram.blocks + self.unit * ridge * rough[None], 1, 0)
        rounding = ROUNDING * jnp.finfo(diagonal.dtype).eps
        largest = jnp.max(jnp.diagonal(diagonal, axis1=2, axis2=3), axis=(1, 2))
        floor = (self.unit * FLOOR + rounding * largest)[:, None, None, None]
        diagonal += floor * jnp.eye(diagonal.shape[-1], dtype=floor.dtype)[None, None]
        pairs = jax.vmap(block_tridiagonal.factor)(diagonal, upper)
        q = len(gram.cross)
        if q == 0:
            return gram.cross, pairs
        floor = FLOOR + rounding * jnp.max(jnp.diagonal(gram.cross))
        return cho_factor(gram.cross + floor * jnp.eye(q, dtype=floor.dtype))[0], pairs

    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        cross, pairs = factor
        q, order = len(cross), self.table.order
        tables = r[q:].reshape(self._shape)[:, order]
        rows = tables.reshape(len(tables), -1, self.table.width * self._shape[2])
        solved = jax.vmap(block_tridiagonal.solve)(pairs, rows)
        tables = solved.reshape(self._shape)[:, np.argsort(order)]
        head = cho_solve((cross, False), r[:q]) if q else r[:q]
        return jnp.concatenate([head, tables.ravel()])
