"""Tensor products of Fourier modes in x and Hermite functions in v."""

import math
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.bases.dense import Dense
from kjko.bases.quadratics import Quadratics
from kjko.bases.scales import Scales
from kjko.core import Stage
from kjko.interfaces import AbstractBasis


class FourierHermite(AbstractBasis):
    """Sum over the velocities i of products X_j(xᵢ) V_k(vᵢ), and all quadratics.

    Where there are more velocities than positions the last position goes with all that are left.

    X: cosines on ±4 standard deviations, or the Fourier modes of the periodic box. V: 1, z, z² and
    Hermite functions of z/0.9, z the velocity in standard deviations. Of all pairs the `size`/d
    with the smallest wave number, on an ellipse, are kept; those of large wave number are the
    rougher ones.
    """

    quadratics: Quadratics
    length: tuple[float, ...] | None = eqx.field(static=True)
    blocks: tuple[tuple[int, int, int], ...] = eqx.field(static=True)  # X[a:b] with V[:m]

    REACH = 4.0  # standard deviations that the cosines span on either side
    WIDTH = 0.9  # of the Hermite functions
    ELLIPSE = (17.0, 5.0)  # proportions of the wave numbers kept in x and v
    SMOOTH = (10.0, 3.0)  # wave numbers from which on the ridge grows
    MOST = 1000  # products for a velocity

    def __init__(
        self,
        dimension: int,
        size: int = 480,
        length: Any = None,
        velocity_dimension: int | None = None,
    ):
        """`size`: products over all coordinates. `length`: of the periodic box, if there is one.

        Raises ValueError if there is not a product for each velocity, or more than 1000.
        """
        d = velocity_dimension or dimension
        if not d <= size <= self.MOST * d:
            raise ValueError(
                f"size: must be from 1 to {self.MOST} for each of {d} velocities, got {size}"
            )
        self.quadratics = Quadratics(dimension, length is not None, d)
        self.length = None if length is None else tuple(float(side) for side in length)
        k_x, k_v = self._wave_numbers()
        radius = np.hypot(k_x[:, None] / self.ELLIPSE[0], k_v[None] / self.ELLIPSE[1])
        kept = radius <= np.sort(radius, axis=None)[size // d - 1]
        counts = np.sum(kept, axis=1)  # of functions of v with each function of x: falls with j
        counts = counts[counts > 0]
        edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), counts.size]
        self.blocks = tuple((a, b, int(counts[a])) for a, b in pairwise(edges))

    def _wave_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Per standard deviation, of as many functions as could be wanted."""
        if self.length is None:
            k_x = np.arange(80) * np.pi / (2 * self.REACH)
        else:
            k_x = 2.0 * np.repeat(np.arange(40), 2)[1:]
        k_v = np.concatenate([[0.0, 0.5, 1.0], np.sqrt(2 * np.arange(20) + 1) / self.WIDTH])
        return k_x, k_v

    def adapt(self, stage: Stage) -> "FourierHermite":
        return eqx.tree_at(lambda b: b.quadratics, self, self.quadratics.adapt(stage))

    @property
    def _scales(self) -> Scales:
        return self.quadratics.scales

    @property
    def size(self) -> int:
        pairs = sum((b - a) * m for a, b, m in self.blocks)
        return self.quadratics.size + pairs * self._scales.v_mean.size

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        """What the ridge weighs each function with."""
        k_x, k_v = self._wave_numbers()
        rough = 1 + ((k_x / self.SMOOTH[0]) ** 2)[:, None] + ((k_v / self.SMOOTH[1]) ** 2)[None]
        pairs = np.concatenate([rough[a:b, :m].ravel() for a, b, m in self.blocks])
        return np.concatenate([self.quadratics.roughness, np.tile(pairs, self._scales.v_mean.size)])

    def _functions_of_x(self, x: Float[Array, " d_x"]) -> Float[Array, "d j"]:
        count = self.blocks[-1][1]
        if self.length is None:
            s = self._scales
            y = jnp.clip((x - s.x_mean) / s.x_width, -self.REACH, self.REACH)
            phase = (y + self.REACH) * (np.pi / (2 * self.REACH))
            return jnp.cos(phase[:, None] * jnp.arange(count, dtype=x.dtype)[None])[
                self._scales.partners
            ]
        phase = 2 * np.pi * x / jnp.asarray(self.length, dtype=x.dtype)
        waves = phase[:, None] * jnp.arange(1, count // 2 + 1, dtype=x.dtype)[None]
        both = jnp.stack([jnp.cos(waves), jnp.sin(waves)], axis=-1).reshape(x.size, -1)
        modes = jnp.concatenate([jnp.ones((x.size, 1), x.dtype), both], axis=1)[:, :count]
        return modes[self._scales.partners]

    def _functions_of_v(self, v: Float[Array, " d"]) -> Float[Array, "d k"]:
        count = self.blocks[0][2]
        s = self._scales
        z = (v - s.v_mean) / s.v_width
        y = z / self.WIDTH
        hermite = [jnp.exp(-0.5 * y**2)]
        hermite.append(math.sqrt(2) * y * hermite[0])
        for n in range(2, count):
            hermite.append(
                math.sqrt(2 / n) * y * hermite[-1] - math.sqrt((n - 1) / n) * hermite[-2]
            )
        return jnp.stack([jnp.ones_like(z), z, z**2, *hermite], axis=1)[:, :count]

    def _products(self, of_x: Float[Array, "d j"], of_v: Float[Array, "d k"]) -> Float[Array, " p"]:
        parts = [
            (of_x[:, a:b, None] * of_v[:, None, :m]).reshape(of_x.shape[0], -1)
            for a, b, m in self.blocks
        ]
        return jnp.concatenate(parts, axis=1).ravel()

    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """Contracted coordinate by coordinate, X C Vᵀ, without the products."""
        of_x, of_v = self._functions_of_x(x), self._functions_of_v(v)
        sizes = [(b - a) * m for a, b, m in self.blocks]
        smooth, rough = jnp.split(c, [self.quadratics.size])
        parts = jnp.split(rough.reshape(v.size, -1), np.cumsum(sizes)[:-1].tolist(), axis=1)
        dense = jnp.zeros((v.size, of_x.shape[1], of_v.shape[1]), c.dtype)
        for (a, b, m), part in zip(self.blocks, parts, strict=True):
            dense = dense.at[:, a:b, :m].set(part.reshape(v.size, b - a, m))
        rows = jnp.einsum("dj,djk->dk", of_x, dense)
        return self.quadratics.potential(x, v, smooth) + jnp.sum(rows * of_v)

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> Dense:
        """Each V_k depends on one coordinate, so one derivative does for all of them."""

        def row(x, v, a, b):
            def derivative(v):
                return jax.jvp(self._functions_of_v, (v,), (jnp.ones_like(v),))[1]

            of_v = self._functions_of_v(v)
            first, second = jax.jvp(derivative, (v,), (jnp.ones_like(v),))
            of_v = of_v + a[:, None] * first - jnp.diagonal(b)[:, None] * second
            products = self._products(self._functions_of_x(x), of_v)
            smooth = self.quadratics.implicit(x, v, a, b)
            return jnp.concatenate([smooth, products])

        matrix = jax.vmap(row)(stage.x, stage.v, slope, curvature)
        return Dense.of(matrix, jnp.asarray(self.roughness, matrix.dtype))
