"""Ridge functions, whose directions can be trained."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from kjko.bases.dense import AbstractStored, Dense
from kjko.bases.quadratics import Quadratics
from kjko.bases.scales import Scales
from kjko.core import Stage
from kjko.interfaces import AbstractTrainableBasis


class Ridges(AbstractStored, AbstractTrainableBasis):
    """All quadratics, tanh(w·(y, z) + b) and the same of y alone: one hidden layer.

    y, z: x and v in standard deviations, or sine and cosine of 2πx/L in a periodic box. `size`
    functions of both and half as many of y, for what the condition leaves free. w and b start
    normal, of deviation 1, and are trained by a fit that can; to any other they are random.
    """

    quadratics: Quadratics
    weight: Float[Array, "k inputs"]
    bias: Float[Array, " k"]
    weight_x: Float[Array, "k_x inputs_x"]
    bias_x: Float[Array, " k_x"]
    is_trained: Bool[Array, ""]
    length: tuple[float, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        size: int = 96,
        length: Any = None,
        velocity_dimension: int | None = None,
        *,
        key: Key,
    ):
        """`length`: of the periodic box, if there is one."""
        d = velocity_dimension or dimension
        self.quadratics = Quadratics(dimension, length is not None, d)
        self.length = None if length is None else tuple(float(side) for side in length)
        of_x = dimension * (1 if length is None else 2)
        keys = jax.random.split(key, 4)
        self.weight = jax.random.normal(keys[0], (size, of_x + d))
        self.bias = jax.random.normal(keys[1], (size,))
        self.weight_x = jax.random.normal(keys[2], (size // 2, of_x))
        self.bias_x = jax.random.normal(keys[3], (size // 2,))
        self.is_trained = jnp.zeros((), bool)

    @property
    def size(self) -> int:
        return self.quadratics.size + self.bias.size + self.bias_x.size

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        ridges = np.ones(self.size - self.quadratics.size)
        return np.concatenate([self.quadratics.roughness, ridges])

    def adapt(self, stage: Stage) -> "Ridges":
        """On the scales of these particles, unless trained: w and b belong to the scales."""
        old = self.quadratics.scales
        new = jax.tree.map(lambda a, b: jnp.where(self.is_trained, a, b), old, Scales.of(stage))
        return eqx.tree_at(lambda b: b.quadratics.scales, self, new)

    def _inputs(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> tuple[Float[Array, " inputs_x"], Float[Array, " d"]]:
        return self.quadratics.scales.inputs(x, v, self.length)

    def values(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v)."""
        y, z = self._inputs(x, v)
        both = jnp.tanh(self.weight @ jnp.concatenate([y, z]) + self.bias)
        return jnp.concatenate(
            [self.quadratics.values(x, v), both, jnp.tanh(self.weight_x @ y + self.bias_x)]
        )

    def derivatives(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        q, k = self.quadratics.size, self.bias.size
        slope, curvature = self.quadratics.derivatives(x, v, c[:q])
        y, z = self._inputs(x, v)
        in_v = self.weight[:, y.size :] / self.quadratics.scales.v_width[None]
        s = jnp.tanh(self.weight @ jnp.concatenate([y, z]) + self.bias)
        s1 = 1 - s * s
        first = c[q : q + k, None] * in_v
        second = first[:, :, None] * in_v[:, None]
        return slope + s1 @ first, curvature + jnp.tensordot(-2 * s * s1, second, 1)

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> Dense:
        nothing = jnp.zeros(self.size, slope.dtype)
        matrix = self.tangent(stage, slope, curvature, nothing)[:, : self.size]
        return Dense.of(matrix, jnp.asarray(self.roughness, matrix.dtype))

    def tangent(
        self,
        stage: Stage,
        slope: Float[Array, "n d"],
        curvature: Float[Array, "n d d"],
        c: Float[Array, " p"],
    ) -> Float[Array, "n q"]:
        quadratic = jax.vmap(self.quadratics.implicit)(stage.x, stage.v, slope, curvature)
        return jnp.concatenate([quadratic, *self._rows(stage, slope, curvature, c)], axis=1)

    def trained(self, step: Float[Array, " m"]) -> "Ridges":
        parts = (self.bias, self.weight, self.bias_x, self.weight_x)
        ends = np.cumsum([part.size for part in parts])[:-1]
        new = [p + s.reshape(p.shape) for p, s in zip(parts, jnp.split(step, ends), strict=True)]
        new.append(jnp.ones_like(self.is_trained))
        return eqx.tree_at(
            lambda b: (b.bias, b.weight, b.bias_x, b.weight_x, b.is_trained), self, new
        )

    def _rows(
        self,
        stage: Stage,
        slope: Float[Array, "n d"],
        curvature: Float[Array, "n d d"],
        c: Float[Array, " p"],
    ) -> tuple[Float[Array, "n ridges"], Float[Array, "n m"]]:
        """(1 + a·∇ᵥ − B:∇ᵥ²) of each ridge, and of its derivatives by b and w times its c.

        Of a ridge σ(w·z + b) it is σ + (a·w) σ₁ − (w·Bw) σ₂, σ_k the k-th derivative of tanh.
        """
        y, z = jax.vmap(self._inputs)(stage.x, stage.v)
        width = self.quadratics.scales.v_width
        k, of_x, q = self.bias.size, self.weight_x.shape[1], self.quadratics.size
        of_ridges, of_those_in_x = c[None, q : q + k], c[None, q + k :]
        in_v = self.weight[:, of_x:] / width[None]
        s = jnp.tanh(jnp.concatenate([y, z], axis=1) @ self.weight.T + self.bias[None])
        s1 = 1 - s * s
        s2 = -2 * s * s1
        s3 = -2 * s1 * s1 + 4 * s * s * s1
        first = slope @ in_v.T
        bent = jnp.einsum("nij,kj->nki", curvature, in_v)
        second = jnp.einsum("nki,ki->nk", bent, in_v)
        by_b = (s1 + first * s2 - second * s3) * of_ridges
        own = slope[:, None] * (s1 * of_ridges)[..., None] - 2 * bent * (s2 * of_ridges)[..., None]
        by_w_x = by_b[..., None] * y[:, None]
        by_w_v = by_b[..., None] * z[:, None] + own / width[None, None]
        s_x = jnp.tanh(y @ self.weight_x.T + self.bias_x[None])
        by_b_x = (1 - s_x * s_x) * of_those_in_x
        by_w = jnp.concatenate([by_w_x, by_w_v], axis=2)
        inner = [by_b, by_w, by_b_x, by_b_x[..., None] * y[:, None]]
        flat = [part.reshape(len(y), -1) for part in inner]
        ridges = jnp.concatenate([s + first * s1 - second * s2, s_x], axis=1)
        return ridges, jnp.concatenate(flat, axis=1)
