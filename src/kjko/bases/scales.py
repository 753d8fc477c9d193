"""The scales of the particles."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kjko.core import Particles, Stage, sums
from kjko.core.box import on_circle


class Scales(eqx.Module):
    """Mean and standard deviation of each coordinate."""

    x_mean: Float[Array, " d_x"]
    x_width: Float[Array, " d_x"]
    v_mean: Float[Array, " d"]
    v_width: Float[Array, " d"]

    @classmethod
    def unit(cls, dimension: int, velocity_dimension: int | None = None) -> "Scales":
        d_x, d = dimension, velocity_dimension or dimension
        return cls(jnp.zeros(d_x), jnp.ones(d_x), jnp.zeros(d), jnp.ones(d))

    @property
    def partners(self) -> Int[np.ndarray, " d"]:
        """The coordinate of x that goes with each of v: the last one where d > d_x."""
        return np.minimum(np.arange(self.v_mean.size), self.x_mean.size - 1)

    def coordinates(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " m"]:
        """x and v in deviations from the mean. Raises ValueError for those of other dimensions."""
        if (x.shape, v.shape) != (self.x_mean.shape, self.v_mean.shape):
            of_both = self.x_mean.shape, self.v_mean.shape
            raise ValueError(f"the basis is of x and v of the shapes {of_both[0]} and {of_both[1]}")
        return jnp.concatenate([(x - self.x_mean) / self.x_width, (v - self.v_mean) / self.v_width])

    def inputs(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], length: Any
    ) -> tuple[Float[Array, " inputs_x"], Float[Array, " d"]]:
        """x and v in deviations from the mean; x by sine and cosine of 2πx/L in a periodic box of
        `length` L, if that is not None.
        """
        z = (v - self.v_mean) / self.v_width
        if length is None:
            return (x - self.x_mean) / self.x_width, z
        return on_circle(x, length), z

    def directions(
        self, slope: Float[Array, " d"], curvature: Float[Array, "d d"]
    ) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
        """a and B of a·∇ᵥ and B:∇ᵥ² for derivatives in these coordinates: zero along x."""
        d_x, inverse = self.x_mean.size, 1 / self.v_width
        curvature = curvature * jnp.outer(inverse, inverse)
        return jnp.pad(slope * inverse, (d_x, 0)), jnp.pad(curvature, (d_x, 0))

    @classmethod
    def of(cls, particles: Particles | Stage) -> "Scales":
        x, v = particles.x, particles.v
        x_width, v_width = (_width(z) for z in (x, v))
        return cls(sums.mean(x), x_width, sums.mean(v), v_width)


def least_width(low: Float[Array, "..."], high: Float[Array, "..."]) -> Float[Array, "..."]:
    """The width that is as good as a point, in any units: the rounding of two ends, or 1 at 0."""
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return jnp.where(largest > 0, 8 * jnp.finfo(low.dtype).eps * largest, 1.0)


def standard(values: Float[Array, " n"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and deviation; an infinite one where values differ by no more than rounding."""
    low, high = jnp.min(values), jnp.max(values)
    least = least_width(low, high)
    width = jnp.where(high - low > least, jnp.maximum(sums.deviation(values), least), jnp.inf)
    return sums.mean(values), width


def _width(z: Float[Array, "n d"]) -> Float[Array, " d"]:
    """The standard deviation, or more where that is rounding: keeps a division by it finite."""
    return jnp.maximum(sums.deviation(z), least_width(jnp.min(z, axis=0), jnp.max(z, axis=0)))
