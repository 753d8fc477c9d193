"""Quadratic polynomials: the potentials of affine controls."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.bases.dense import Dense
from kjko.bases.scales import Scales, implicit
from kjko.core import Stage
from kjko.interfaces import AbstractBasis


class Quadratics(AbstractBasis):
    """1, the scaled coordinates and their products: the potentials of affine controls.

    In a periodic box x is left out.
    """

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
        s = self.scales
        if (x.shape, v.shape) != (s.x_mean.shape, s.v_mean.shape):
            of_both = s.x_mean.shape, s.v_mean.shape
            raise ValueError(f"the basis is of x and v of the shapes {of_both[0]} and {of_both[1]}")
        z = (v - s.v_mean) / s.v_width
        if not self.periodic:
            z = jnp.concatenate([(x - s.x_mean) / s.x_width, z])
        first, second = np.triu_indices(z.size)
        return jnp.concatenate([jnp.ones(1, z.dtype), z, z[first] * z[second]])

    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        return self.values(x, v) @ c

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> Dense:
        return dense_by_forward_mode(self, stage, slope, curvature)


def dense_by_forward_mode(
    basis: Any, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
) -> Dense:
    """The matrix of a basis that gives its `values` and their `roughness`."""

    def row(x, v, a, b):
        return implicit(lambda v: basis.values(x, v), v, a, b)

    matrix = jax.vmap(row)(stage.x, stage.v, slope, curvature)
    return Dense.of(matrix, jnp.asarray(basis.roughness, matrix.dtype))
