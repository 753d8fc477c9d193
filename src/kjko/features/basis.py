"""The contract of a basis, and of its matrix at the fitted particles."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int

from kjko.interfaces import Stage

ROUNDING = 16.0  # of the floor: times the precision and the largest mean square of a column
COLUMN_MIN = 1e-3  # least root mean square that a column is weighed with


class AbstractDesign(eqx.Module):
    """The matrix M of a basis at n particles, one column a function; row p is

        M c = (1 + a·∇ᵥ − B:∇ᵥ²) Φ(x_p, v_p)·c    with a (d) and B (d × d) of particle p,

    and its penalised normal equations (Mᵀ w M / Σw + ridge R) c = r.
    """

    @abc.abstractmethod
    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        """M c."""

    @abc.abstractmethod
    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        """Mᵀ r."""

    @abc.abstractmethod
    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        """ridge R c, and a floor that keeps the equations definite."""

    @abc.abstractmethod
    def gram(self, weights: Float[Array, " n"]) -> Any:
        """Mᵀ w M / Σw, in the form that `factor` takes; may be added and scaled."""

    @abc.abstractmethod
    def factor(self, gram: Any, ridge: Float[Array, ""]) -> Any:
        """A factor of Mᵀ w M / Σw + ridge R, or of its diagonal blocks."""

    @abc.abstractmethod
    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        """c with (…) c = r, exactly or up to the blocks that the factor leaves out."""

    @abc.abstractmethod
    def with_penalty_of(self, other: "AbstractDesign") -> "AbstractDesign":
        """This matrix, with R of another one."""


class AbstractBasis(eqx.Module):
    """Functions Φ of one particle, with scales that `adapt` takes from the particles."""

    size: eqx.AbstractVar[int]  # number of functions

    @abc.abstractmethod
    def adapt(self, stage: Stage) -> "AbstractBasis":
        """The basis on the scales of these particles."""

    @abc.abstractmethod
    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """Φ(x, v) · c."""

    @abc.abstractmethod
    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> AbstractDesign:
        """The matrix with a = `slope` and B = `curvature` at the particles of a stage."""


class Dense(AbstractDesign):
    """A matrix that is stored. `weight`: R, a diagonal; `floor` is added to ridge R."""

    matrix: Float[Array, "n p"]
    weight: Float[Array, " p"]
    floor: Float[Array, ""]

    @classmethod
    def of(cls, matrix: Float[Array, "n p"], roughness: Float[Array, " p"]) -> "Dense":
        """R weighs a function with its `roughness`, once it is scaled to unit mean square."""
        square = (jnp.sqrt(jnp.mean(matrix**2, axis=0)) + COLUMN_MIN) ** 2
        precision = jnp.finfo(matrix.dtype).eps
        return cls(matrix, square * roughness, ROUNDING * precision * jnp.max(square))

    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        return self.matrix @ c

    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.matrix.T @ r

    def _diagonal(self, ridge: Float[Array, ""]) -> Float[Array, " p"]:
        return ridge * self.weight + self.floor

    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        return self._diagonal(ridge) * c

    def gram(self, weights: Float[Array, " n"]) -> Float[Array, "p p"]:
        return (self.matrix * weights[:, None]).T @ self.matrix / jnp.sum(weights)

    def factor(self, gram: Float[Array, "p p"], ridge: Float[Array, ""]) -> Any:
        return cho_factor(gram + jnp.diag(self._diagonal(ridge)))

    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        return cho_solve(factor, r)

    def with_penalty_of(self, other: "Dense") -> "Dense":
        return Dense(self.matrix, other.weight, other.floor)


def implicit(
    function: Any, v: Float[Array, " d"], slope: Float[Array, " d"], curvature: Float[Array, "d d"]
) -> Float[Array, " p"]:
    """(1 + a·∇ − B:∇²) of a function of v, by forward mode."""

    def along(direction):
        return lambda v: jax.jvp(function, (v,), (direction,))[1]

    values, first = jax.jvp(function, (v,), (slope,))
    identity = jnp.eye(v.size, dtype=v.dtype)
    second = sum(
        jax.jvp(along(e), (v,), (row,))[1] for e, row in zip(identity, curvature, strict=True)
    )
    return values + first - second


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

    @classmethod
    def of(cls, stage: Stage) -> "Scales":
        x, v = stage.x, stage.v
        # Narrower than this is a point: keeps the division finite.
        x_width, v_width = (jnp.maximum(jnp.std(z, axis=0), 1e-6) for z in (x, v))
        return cls(jnp.mean(x, axis=0), x_width, jnp.mean(v, axis=0), v_width)
