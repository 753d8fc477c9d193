"""Quadratic polynomials: the potentials of affine controls."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.bases.dense import AbstractStored, Dense
from kjko.bases.products import Products
from kjko.bases.scales import Scales
from kjko.core import Stage


class Quadratics(AbstractStored):
    """1, the scaled coordinates and their products: the potentials of affine controls.

    In a periodic box x is left out.
    """

    polynomial: ClassVar[bool] = True
    scales: Scales
    periodic: bool = eqx.field(static=True)

    def __init__(
        self, dimension: int, periodic: bool = False, velocity_dimension: int | None = None
    ):
        self.scales = Scales.unit(dimension, velocity_dimension)
        self.periodic = periodic

    @property
    def size(self) -> int:
        m = self.scales.v_mean.size + (0 if self.periodic else self.scales.x_mean.size)
        return 1 + m + m * (m + 1) // 2

    def adapt(self, stage: Stage) -> "Quadratics":
        return eqx.tree_at(lambda basis: basis.scales, self, Scales.of(stage))

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        return np.full(self.size, 1e-6)

    def values(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v)."""
        z = self.scales.coordinates(x, v)[self._kept]
        return jnp.concatenate([jnp.ones(1, z.dtype), z, self._products.values(z)])

    @property
    def _kept(self) -> slice:
        """Which coordinates they are functions of."""
        return slice(self.scales.x_mean.size if self.periodic else 0, None)

    @property
    def _products(self) -> Products:
        d_x, d = self.scales.x_mean.size, self.scales.v_mean.size
        return Products(*np.triu_indices(d if self.periodic else d_x + d))

    def derivatives(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        z, width = self.scales.coordinates(x, v)[self._kept], self.scales.v_width
        linear, products = jnp.split(c[1:], [z.size])
        of_v = slice(z.size - v.size, None)
        hessian = self._products.hessian(products, z.size)[of_v] / width[:, None]
        return linear[of_v] / width + hessian @ z, hessian[:, of_v] / width[None]

    def implicit(
        self,
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
        slope: Float[Array, " d"],
        curvature: Float[Array, "d d"],
    ) -> Float[Array, " p"]:
        """(1 + a·∇ᵥ − B:∇ᵥ²) Φ(x, v), with a = `slope` and B = `curvature`."""
        kept = self._kept
        z, (a, b) = self.scales.coordinates(x, v), self.scales.directions(slope, curvature)
        z, a, b = z[kept], a[kept], b[kept, kept]
        return jnp.concatenate([jnp.ones(1, z.dtype), z + a, self._products.implicit(z, a, b)])

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> Dense:
        matrix = jax.vmap(self.implicit)(stage.x, stage.v, slope, curvature)
        return Dense.of(matrix, jnp.asarray(self.roughness, matrix.dtype))
