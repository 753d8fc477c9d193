"""A basis of your own: cubic polynomials in the scaled coordinates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from kjko.bases.dense import AbstractStored
from kjko.bases.scales import Scales


class Cubics(AbstractStored):
    """All products of up to three scaled coordinates of (x, v)."""

    scales: Scales

    def __init__(self, dimension: int):
        self.scales = Scales.unit(dimension)

    @property
    def size(self) -> int:
        m = 2 * self.scales.v_mean.size
        return (m + 1) * (m + 2) * (m + 3) // 6

    @property
    def roughness(self):
        return np.full(self.size, 1e-3)  # what the ridge weighs each function with

    def adapt(self, stage):
        return eqx.tree_at(lambda basis: basis.scales, self, Scales.of(stage))

    def values(self, x, v):
        s = self.scales
        z = jnp.concatenate([(x - s.x_mean) / s.x_width, (v - s.v_mean) / s.v_width])
        z = jnp.concatenate([jnp.ones(1, z.dtype), z])
        triples = [
            (i, j, k) for i in range(z.size) for j in range(i, z.size) for k in range(j, z.size)
        ]
        first, second, third = np.transpose(triples)
        return z[first] * z[second] * z[third]
