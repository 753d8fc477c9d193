"""Potentials φ(x): functions of one particle. Any callable of that kind may be used instead."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Quadratic(eqx.Module):
    """φ(x) = ½ (x − c)ᵀ K (x − c), K the `stiffness` (d × d), c the `center` (d).

    Raises ValueError if K is not symmetric or the shapes do not fit.
    """

    stiffness: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)
    center: Float[Array, " d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        k, c = self.stiffness.shape, self.center.shape
        if len(c) != 1 or k != (*c, *c):
            raise ValueError(f"stiffness, center: need shapes (d, d) and (d,), got {k} and {c}")
        stiffness = np.asarray(self.stiffness)
        if not np.allclose(stiffness, stiffness.T):
            raise ValueError("stiffness: must be symmetric; its symmetric part gives the same φ")

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        y = x - self.center
        return 0.5 * y @ (self.stiffness @ y)


class AbstractSeparable(eqx.Module):
    """φ(x) = Σᵢ φᵢ(xᵢ): its stationary law is a product, so its normaliser is known in any d."""

    @abc.abstractmethod
    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """φᵢ(xᵢ) for every coordinate."""

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return jnp.sum(self.terms(x))


class Multiwell(AbstractSeparable):
    """φ(x) = ½ k |x|² + a Σᵢ cos(2π xᵢ); `stiffness` k, `amplitude` a, both 1 in Examples 2, 4."""

    stiffness: float = 1.0
    amplitude: float = 1.0

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return 0.5 * self.stiffness * x**2 + self.amplitude * jnp.cos(2 * jnp.pi * x)


class DoubleWell(AbstractSeparable):
    """φ(x) = b Σᵢ ((xᵢ/m)² − 1)²: minima at ±`minimum`, a `barrier` of height b between them."""

    barrier: float = 1.0
    minimum: float = 1.0

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.barrier * ((x / self.minimum) ** 2 - 1) ** 2


class Sine(AbstractSeparable):
    """φ(x) = a Σᵢ sin(2π m xᵢ/Lᵢ) on a periodic box of `length` L; (38) with a = 1/5, m = 1."""

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: float = 0.2
    mode: int = 1

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.amplitude * jnp.sin(2 * jnp.pi * self.mode * x / self.length)


class Cosine(AbstractSeparable):
    """φ(x) = a Σᵢ cos(2π m xᵢ/Lᵢ) on a periodic box of `length` L."""

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: float = 0.2
    mode: int = 1

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.amplitude * jnp.cos(2 * jnp.pi * self.mode * x / self.length)
