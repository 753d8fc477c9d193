"""A periodic grid: from particles to density and from field to particles, with the same shape."""

import math
from itertools import product
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kjko.core import sums

Shape = Literal["nearest", "tent", "quadratic"]
POINTS = {"nearest": 1, "tent": 2, "quadratic": 3}  # cells that a particle touches, a dimension


class Mesh(eqx.Module):
    """A periodic tensor grid with the cell centres x_h = (h + ½) Δx in d_x dimensions.

        ρ_h = 1/(N |cell|) Σ_p S(x_h − x_p),    E(x) = Σ_h S(x_h − x) E_h,    S(x) = Πᵢ s(xᵢ/Δxᵢ)

    as in section 3.4. `shape` s: "nearest" is 1 for |z| < ½; "tent" max(0, 1 − |z|), the paper's;
    "quadratic" the spline ¾ − z² for |z| < ½, ½(3/2 − |z|)² for ½ < |z| < 3/2. All sum to one over
    the cells, so the deposited mass is exact. Positions need not be wrapped.

    Raises ValueError for fewer than three cells in a dimension, a side that is not positive, and
    another shape.
    """

    length: tuple[float, ...] = eqx.field(
        static=True, converter=lambda sides: tuple(float(side) for side in sides)
    )
    number_of_cells: tuple[int, ...] = eqx.field(
        static=True, converter=lambda numbers: tuple(int(number) for number in numbers)
    )
    shape: Shape = eqx.field(static=True, default="tent")

    def __check_init__(self) -> None:
        if len(self.number_of_cells) != len(self.length) or not 1 <= len(self.length) <= 3:
            raise ValueError("number_of_cells: need one for each of the 1, 2 or 3 sides of the box")
        if not all(0 < side < math.inf for side in self.length):
            raise ValueError(f"length: must be > 0 and finite, got {list(self.length)}")
        if self.shape not in POINTS:
            raise ValueError(f"shape: must be one of {', '.join(POINTS)}, got {self.shape!r}")
        if min(self.number_of_cells) < 3:
            raise ValueError(
                f"number_of_cells: expected at least 3 in each dimension, got"
                f" {list(self.number_of_cells)}; two carry no wave that feels a field"
            )

    @property
    def spacing(self) -> tuple[float, ...]:
        """Δx."""
        return tuple(
            side / number for side, number in zip(self.length, self.number_of_cells, strict=True)
        )

    @property
    def volume(self) -> float:
        """|cell|."""
        return float(np.prod(self.spacing))

    def deposit(self, x: Float[Array, "n d_x"]) -> Float[Array, "..."]:
        """ρ_h for a total mass of one."""
        return sums.of_blocks(self._of_unit_masses, x) / (x.shape[0] * self.volume)

    def _of_unit_masses(self, x: Float[Array, "n d_x"]) -> Float[Array, "..."]:
        """What each cell gets. Corner by corner of the shape: memory is that of x."""
        index, weight = jax.vmap(self._stencil)(x)  # (n, d_x, points)
        total = jnp.zeros(self.number_of_cells, x.dtype)
        for corner in product(range(POINTS[self.shape]), repeat=len(self.length)):
            cell = tuple(index[:, i, c] for i, c in enumerate(corner))
            mass = jnp.ones(x.shape[0], x.dtype)
            for i, c in enumerate(corner):
                mass = mass * weight[:, i, c]
            total = total.at[cell].add(mass)
        return total

    def gather(self, values: Float[Array, "..."], x: Float[Array, " d_x"]) -> Float[Array, "..."]:
        """Σ_h S(x_h − x) values_h at one particle; `values` has the cells as its first axes."""
        index, weight = self._stencil(x)
        patch = values[jnp.ix_(*index)]
        for along in weight:
            patch = jnp.tensordot(along, patch, axes=1)
        return patch

    def _stencil(
        self, x: Float[Array, " d_x"]
    ) -> tuple[Int[Array, "d_x points"], Float[Array, "d_x points"]]:
        """The cells around a particle in each dimension, inside the grid, and its share in each."""
        z = x / jnp.asarray(self.spacing, x.dtype) - 0.5  # whole at the centres
        if self.shape == "tent":
            first = jnp.floor(z)
            r = z - first
            weights = [1 - r, r]
        elif self.shape == "nearest":
            first = jnp.floor(z + 0.5)
            weights = [jnp.ones_like(z)]
        else:
            first = jnp.floor(z + 0.5) - 1
            r = z - first - 1
            weights = [0.5 * (0.5 - r) ** 2, 0.75 - r**2, 0.5 * (0.5 + r) ** 2]
        offset = jnp.arange(POINTS[self.shape], dtype=jnp.int32)
        cells = jnp.asarray(self.number_of_cells, jnp.int32)
        index = (first.astype(jnp.int32)[:, None] + offset[None]) % cells[:, None]
        return index, jnp.stack(weights, axis=-1)

    def cell(self, x: Float[Array, "n d_x"]) -> Int[Array, "n d_x"]:
        """The cell of every particle, inside the grid."""
        cells = jnp.asarray(self.number_of_cells, jnp.int32)
        number = jnp.floor(x / jnp.asarray(self.spacing, x.dtype)[None]).astype(jnp.int32)
        return number % cells[None]
