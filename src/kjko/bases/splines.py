"""Tensor products of cubic B-splines in x and v, the default basis."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kjko.bases.products import Products
from kjko.bases.scales import Scales, least_width
from kjko.bases.spline_design import SplineDesign
from kjko.bases.spline_table import ORDER, Table
from kjko.core import Stage
from kjko.interfaces import AbstractBasis

CUBIC = np.array([[-1, 3, -3, 1], [3, -6, 0, 4], [-3, 3, 3, 1], [1, 0, 0, 0]]).T / 6  # t³ first


def bspline(t: Float[Array, "..."], derivative: int = 0) -> Float[Array, "... 4"]:
    """The cubic B-splines of a cell at t ∈ [0, 1], or their first or second derivative in t; their
    polynomials beyond it.
    """
    powers = CUBIC
    for _ in range(derivative):
        powers = powers[:-1] * np.arange(len(powers) - 1, 0, -1)[:, None]
    each = jnp.asarray(powers, t.dtype).reshape(len(powers), *(1,) * t.ndim, ORDER)
    values = each[0]
    for coefficient in each[1:]:
        values = values * t[..., None] + coefficient
    return values


class Splines(AbstractBasis):
    """ψ = Σₖ Sₖ(x_k, v_k) + cross products; each S a tensor product of cubic B-splines.

    The cells of S span the particles, or the periodic box, evenly: `cells` in x and in v. v_k is
    paired with x_k, or with the last x where d > d_x; the products of two coordinates that share no
    pair are added, so all quadratics are in the span. The penalty is that of P-splines: the sum of
    squared third differences of the coefficients along x and along v. Quadratics are free, and the
    functions go on smoothly where there are no particles.
    """

    polynomial: ClassVar[bool] = True
    scales: Scales
    low: Float[Array, "d 2"]  # of the cells, in x_k and v_k
    high: Float[Array, "d 2"]
    length: tuple[float, ...] | None = eqx.field(static=True)
    cells: tuple[int, int] = eqx.field(static=True)

    CELLS = (90, 24)  # at most
    PARTICLES = 4  # for each cell, if that makes fewer cells

    def __init__(
        self,
        dimension: int,
        cells: Sequence[int] | None = None,
        length: Any = None,
        velocity_dimension: int | None = None,
        particles: int = 10_000,
    ):
        """`length`: of the periodic box, if there is one. `particles`: about how many are fitted.

        `cells` in x and in v; if not given, as many as the particles can determine, up to 90 × 24.
        In x a multiple of 3. Raises ValueError if they are not.
        """
        d = velocity_dimension or dimension
        self.scales = Scales.unit(dimension, d)
        self.low, self.high = jnp.zeros((d, 2)), jnp.ones((d, 2))
        self.length = None if length is None else tuple(float(side) for side in length)
        least = 2 if length is None else 3  # groups of three columns
        if cells is None:
            most = math.prod(self.CELLS)
            part = math.sqrt(min(1.0, particles / (self.PARTICLES * most)))
            n_x, n_v = (round(part * n) for n in self.CELLS)
            cells = max(least, round(n_x / 3)) * 3, max(6, n_v)
        self.cells = (int(cells[0]), int(cells[1]))
        if self.cells[0] < 3 * least or self.cells[0] % 3 or self.cells[1] < 3:
            raise ValueError(
                f"cells: must be a multiple of 3 from {3 * least} on in x and at least 3 in v, got"
                f" {self.cells[0]} and {self.cells[1]}"
            )

    @property
    def table(self) -> Table:
        return Table(self.cells, self.length is not None)

    @property
    def size(self) -> int:
        return self._cross.size + self.scales.v_mean.size * self.table.size

    @property
    def _cross(self) -> Products:
        """The products of two of (x, v), or of v in a periodic box, that share no pair."""
        d_x, partners = self.scales.x_mean.size, self.scales.partners
        first, second = np.triu_indices(d_x + len(partners), 1)
        paired = (first < d_x) & (second >= d_x) & (first == partners[second - d_x])
        kept = ~paired if self.length is None else first >= d_x
        return Products(first[kept], second[kept])

    @property
    def _per_cell(self) -> Float[Array, " d"]:
        """Derivatives in the place t in a cell to those in v."""
        return self.cells[1] / (self.high - self.low)[:, 1]

    def adapt(self, stage: Stage) -> "Splines":
        x, v = stage.x[:, self.scales.partners], stage.v
        z = jnp.stack([x, v], axis=2)
        low, high = jnp.min(z, axis=0), jnp.max(z, axis=0)
        margin = 1e-5 * (high - low) + least_width(low, high)  # keeps the division finite
        low, high = low - margin, high + margin
        if self.length is not None:
            low = low.at[:, 0].set(0.0)
            high = high.at[:, 0].set(jnp.asarray(self.length, x.dtype)[self.scales.partners])
        return eqx.tree_at(lambda b: (b.scales, b.low, b.high), self, (Scales.of(stage), low, high))

    def _place(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> tuple[Int[Array, "d 2"], Float[Array, "d 2"]]:
        """The cell of each pair, and the place in it.

        Beyond the cells x stops, or goes round in a periodic box; v goes on.
        """
        x = x[self.scales.partners]
        if self.length is not None:  # a drift may have taken it out of the box
            x = jnp.mod(x, self.high[:, 0])
        z = jnp.stack([x, v], axis=1)
        count = jnp.asarray(self.cells, z.dtype)[None]
        y = (z - self.low) / (self.high - self.low) * count
        cell = jnp.clip(jnp.floor(y), 0, count - 1)
        inside = y - cell
        inside = jnp.stack([jnp.clip(inside[:, 0], 0, 1), inside[:, 1]], axis=1)
        return cell.astype(jnp.int32), inside

    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        products = self._cross.values(self.scales.coordinates(x, v))
        return c[: products.size] @ products + jnp.sum(self._of_pairs(x, v, c, 0)[0])

    def derivatives(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        z, width, d_x = self.scales.coordinates(x, v), self.scales.v_width, x.size
        hessian = self._cross.hessian(c[: self._cross.size], z.size)[d_x:] / width[:, None]
        slope, curvature = self._of_pairs(x, v, c, 1, 2)
        return hessian @ z + slope, hessian[:, d_x:] / width[None] + jnp.diag(curvature)

    def _of_pairs(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"], *orders: int
    ) -> list[Float[Array, " d"]]:
        """Of each S the derivatives of these orders in v."""
        cell, inside = self._place(x, v)
        coefficients = self.table.extend(c[self._cross.size :].reshape(v.size, *self.table.shape))
        windows = [
            jax.lax.dynamic_slice(of_pair, (place[0], place[1]), (ORDER, ORDER))
            for of_pair, place in zip(coefficients, cell, strict=True)
        ]
        along_v = jnp.sum(bspline(inside[:, 0])[..., None] * jnp.stack(windows), axis=1)
        splines = (self._per_cell[:, None] ** k * bspline(inside[:, 1], k) for k in orders)
        return [jnp.sum(along_v * of_v, axis=1) for of_v in splines]

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> SplineDesign:
        cell, inside = jax.vmap(self._place)(stage.x, stage.v)
        per_cell = self._per_cell
        a = slope * per_cell[None]
        b = jnp.diagonal(curvature, axis1=1, axis2=2) * per_cell[None] ** 2
        t = inside[..., 1]
        of_v = bspline(t) + a[..., None] * bspline(t, 1) - b[..., None] * bspline(t, 2)
        cross = jax.vmap(self._implicit_cross)(stage.x, stage.v, slope, curvature)
        return SplineDesign.of(cell, bspline(inside[..., 0]), of_v, cross, self.table)

    def _implicit_cross(
        self,
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
        slope: Float[Array, " d"],
        curvature: Float[Array, "d d"],
    ) -> Float[Array, " q"]:
        """(1 + a·∇ᵥ − B:∇ᵥ²) of the cross products."""
        directions = self.scales.directions(slope, curvature)
        return self._cross.implicit(self.scales.coordinates(x, v), *directions)
