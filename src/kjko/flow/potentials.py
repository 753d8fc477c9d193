"""Potentials φ(x): functions of one particle. Any callable of that kind may be used instead."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.core.checks import is_traced
from kjko.core.formula import parse


def _check_coordinates(potential: eqx.Module, expected: tuple[int, ...], x: Array) -> None:
    """Raise ValueError for another number of coordinates, which would be repeated in silence."""
    if x.shape != expected:
        name = type(potential).__name__
        raise ValueError(f"potential: this {name} is of x of shape {expected}, got {x.shape}")


class Quadratic(eqx.Module):
    """φ(x) = ½ (x − c)ᵀ K (x − c), K the `stiffness` (d × d), c the `center` (d).

    Raises ValueError if K is not symmetric or the shapes do not fit.
    """

    stiffness: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)
    center: Float[Array, " d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        k, c = self.stiffness.shape, self.center.shape
        if len(c) != 1 or k != (*c, *c):
            raise ValueError(f"stiffness, center: need shapes (d, d) and (d,), got {k} and {c}")
        if is_traced(self.stiffness):
            return
        stiffness = np.asarray(self.stiffness)
        if not np.allclose(stiffness, stiffness.T):
            raise ValueError("stiffness: must be symmetric; its symmetric part gives the same φ")

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        _check_coordinates(self, self.center.shape, x)
        y = x - self.center
        return 0.5 * y @ (self.stiffness @ y)


class AbstractSeparable(eqx.Module):
    """φ(x) = Σᵢ φᵢ(xᵢ): its stationary law is a product, so its normaliser is known in any d."""

    @abc.abstractmethod
    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """φᵢ(xᵢ) for every coordinate."""

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        terms = self.terms(x)
        _check_coordinates(self, terms.shape, x)
        return jnp.sum(terms)


class Zero(AbstractSeparable):
    """φ = 0: that of a flow without a potential."""

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return jnp.zeros_like(x)


class Multiwell(AbstractSeparable):
    """φ(x) = ½ k |x|² + a Σᵢ cos(2π xᵢ); `stiffness` k, `amplitude` a, both 1 in Examples 2, 4."""

    stiffness: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    amplitude: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return 0.5 * self.stiffness * x**2 + self.amplitude * jnp.cos(2 * jnp.pi * x)


class DoubleWell(AbstractSeparable):
    """φ(x) = b Σᵢ ((xᵢ/m)² − 1)²: minima at ±`minimum`, a `barrier` of height b between them."""

    barrier: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    minimum: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.barrier * ((x / self.minimum) ** 2 - 1) ** 2


class RotatedWell(eqx.Module):
    """φ(x) = b ((y/m)² − 1)² + ½ k |x − y e|², y = e·x: a double well along `direction` e.

    `barrier` b, `minimum` m, and `stiffness` k across it. Raises ValueError for a direction of
    length zero; any other is scaled to one.
    """

    direction: Float[Array, " d"]
    barrier: Float[Array, ""]
    minimum: Float[Array, ""]
    stiffness: Float[Array, ""]

    def __init__(
        self, direction: Any, barrier: Any = 1.0, minimum: Any = 1.0, stiffness: Any = 1.0
    ):
        length = np.linalg.norm(np.asarray(direction, dtype=float))
        if length == 0:
            raise ValueError("direction: expected a vector of a length above zero")
        self.direction = jnp.asarray(np.asarray(direction, dtype=float) / length)
        self.barrier, self.minimum = jnp.asarray(barrier), jnp.asarray(minimum)
        self.stiffness = jnp.asarray(stiffness)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        _check_coordinates(self, self.direction.shape, x)
        along = self.direction @ x
        across = x - along * self.direction
        well = self.barrier * ((along / self.minimum) ** 2 - 1) ** 2
        return well + 0.5 * self.stiffness * across @ across


class Sine(AbstractSeparable):
    """φ(x) = a Σᵢ sin(2π m xᵢ/Lᵢ) on a periodic box of `length` L; (38) with a = 1/5, m = 1."""

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: Float[Array, ""] = eqx.field(default=0.2, converter=jnp.asarray)
    mode: int = 1

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.amplitude * jnp.sin(2 * jnp.pi * self.mode * x / self.length)


class Cosine(AbstractSeparable):
    """φ(x) = a Σᵢ cos(2π m xᵢ/Lᵢ) on a periodic box of `length` L."""

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: Float[Array, ""] = eqx.field(default=0.2, converter=jnp.asarray)
    mode: int = 1

    def terms(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.amplitude * jnp.cos(2 * jnp.pi * self.mode * x / self.length)


class Expression(eqx.Module):
    """φ(x) of a `formula` of x1, x2, …: "(x1**2 - 1)**2 + 0.5*x2**2".

    + − * / **, sin cos exp log sqrt tanh abs and pi; `dimension`: d_x. Raises ValueError for
    anything else.
    """

    formula: str = eqx.field(static=True)
    dimension: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        parse(self.formula, coordinates(self.dimension))

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        names = coordinates(self.dimension)
        value = parse(self.formula, names).value(dict(zip(names, x, strict=True)), jnp)
        return jnp.asarray(value, x.dtype)


def coordinates(dimension: int) -> tuple[str, ...]:
    """x1, x2, …"""
    return tuple(f"x{i + 1}" for i in range(dimension))


class ExpressionDrive(eqx.Module):
    """a(t, x), a formula of t, x1, x2, … for each component; see `Expression` and `Driven`."""

    formulas: tuple[str, ...] = eqx.field(static=True, converter=tuple)
    dimension: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        for formula in self.formulas:
            parse(formula, ("t", *coordinates(self.dimension)))

    def __call__(self, t: Float[Array, ""], x: Float[Array, " d_x"]) -> Float[Array, " m"]:
        names = coordinates(self.dimension)
        values = {"t": t} | dict(zip(names, x, strict=True))
        given = [parse(f, ("t", *names)).value(values, jnp) for f in self.formulas]
        return jnp.stack([jnp.asarray(value, x.dtype) for value in given])
