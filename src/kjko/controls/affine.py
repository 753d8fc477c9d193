"""Affine controls."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core.box import on_circle


class Affine(eqx.Module):
    """u(x, v) = W (x, v) + b, with W (d × (d_x + d)) and b (d). Starts at zero."""

    weight: Float[Array, "d inputs"]
    bias: Float[Array, " d"]

    def __init__(self, dimension: int, inputs: int | None = None):
        """`dimension`: d. `inputs`: numbers that x takes; d if not given."""
        self.weight = jnp.zeros((dimension, dimension + (inputs or dimension)))
        self.bias = jnp.zeros(dimension)

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.weight @ jnp.concatenate([x, v]) + self.bias


class AffineInTime(eqx.Module):
    """u(t, x, v) = Σ_k T_k(2t/T − 1) (W_k (x, v) + b_k), T_k the Chebyshev polynomials.

    `end_time`: T. `weight`: K × m × (inputs + d), `bias`: K × m. Starts at zero. `length` as in
    `InTime`.
    """

    weight: Float[Array, "k m inputs"]
    bias: Float[Array, "k m"]
    end_time: float = eqx.field(static=True)
    length: tuple[float, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        end_time: float,
        inputs: int | None = None,
        outputs: int | None = None,
        polynomials: int = 8,
        length: tuple[float, ...] | None = None,
    ):
        """`dimension`: d. `inputs`: numbers that x takes, without time; `outputs`: m. Both d if not
        given. `polynomials`: K.
        """
        self.bias = jnp.zeros((polynomials, outputs or dimension))
        self.weight = jnp.zeros((*self.bias.shape, (inputs or dimension) + dimension))
        self.end_time, self.length = end_time, length

    def __call__(
        self, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " m"]:
        place = x if self.length is None else on_circle(x, self.length)
        angle = jnp.arccos(jnp.clip(2 * t / self.end_time - 1, -1, 1))
        polynomials = jnp.cos(jnp.arange(len(self.bias)) * angle).astype(v.dtype)
        affine = self.weight @ jnp.concatenate([place, v]) + self.bias
        return polynomials @ affine
