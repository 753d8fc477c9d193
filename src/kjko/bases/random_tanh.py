"""Random features."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from kjko.bases.dense import AbstractStored
from kjko.bases.quadratics import Quadratics
from kjko.core import Stage


class RandomTanh(AbstractStored):
    """All quadratics, and log cosh(w·(y, z) + b) with random w and b: its gradients are tanh.

    y, z: the coordinates in standard deviations. `size` functions; w, b normal of deviation 1.5.
    """

    quadratics: Quadratics
    weight: Float[Array, "p inputs"]
    bias: Float[Array, " p"]
    length: tuple[float, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        size: int = 300,
        length: Any = None,
        velocity_dimension: int | None = None,
        *,
        key: Key,
    ):
        """`length`: of the periodic box, if there is one; x then enters by sine and cosine."""
        d = velocity_dimension or dimension
        self.quadratics = Quadratics(dimension, length is not None, d)
        self.length = None if length is None else tuple(float(side) for side in length)
        inputs = d + dimension * (1 if length is None else 2)
        weight_key, bias_key = jax.random.split(key)
        self.weight = 1.5 * jax.random.normal(weight_key, (size, inputs))
        self.bias = 1.5 * jax.random.normal(bias_key, (size,))

    @property
    def size(self) -> int:
        return self.quadratics.size + self.bias.size

    def adapt(self, stage: Stage) -> "RandomTanh":
        return eqx.tree_at(lambda b: b.quadratics, self, self.quadratics.adapt(stage))

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        return np.concatenate([self.quadratics.roughness, np.ones(self.bias.size)])

    def values(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v)."""
        inputs = jnp.concatenate(self.quadratics.scales.inputs(x, v, self.length))
        phase = self.weight @ inputs + self.bias
        log_cosh = jnp.logaddexp(phase, -phase)
        return jnp.concatenate([self.quadratics.values(x, v), log_cosh])
