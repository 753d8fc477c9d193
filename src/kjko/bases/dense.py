"""A design that is stored, for bases of some hundred functions."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from kjko.core import Stage, sums
from kjko.interfaces import AbstractBasis, AbstractDesign

ROUNDING = 16.0  # of the floor: times the precision and the largest mean square of a column
COLUMN_MIN = 1e-3  # least root mean square that a column is weighed with


class Dense(AbstractDesign):
    """A matrix that is stored. `weight`: R, a diagonal; `floor` is added to ridge R."""

    matrix: Float[Array, "n p"]
    weight: Float[Array, " p"]
    floor: Float[Array, ""]

    @classmethod
    def of(cls, matrix: Float[Array, "n p"], roughness: Float[Array, " p"]) -> "Dense":
        """R weighs a function with its `roughness`, once it is scaled to unit mean square."""
        square = (jnp.sqrt(sums.mean(matrix**2)) + COLUMN_MIN) ** 2
        precision = jnp.finfo(matrix.dtype).eps
        return cls(matrix, square * roughness, ROUNDING * precision * jnp.max(square))

    def with_column(self, column: Float[Array, " n"]) -> "Dense":
        """The matrix with another function, weighed as one of roughness one."""
        matrix = jnp.concatenate([self.matrix, column[:, None]], axis=1)
        weight = jnp.append(self.weight, (jnp.sqrt(sums.mean(column**2)) + COLUMN_MIN) ** 2)
        return Dense(matrix, weight, self.floor)

    def rows(self, which: slice) -> "Dense":
        return Dense(self.matrix[which], self.weight, self.floor)

    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        return self.matrix @ c

    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return r @ self.matrix

    def _diagonal(self, ridge: Float[Array, ""]) -> Float[Array, " p"]:
        return ridge * self.weight + self.floor

    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        return self._diagonal(ridge) * c

    def gram(self) -> Float[Array, "p p"]:
        return self.matrix.T @ self.matrix / len(self.matrix)

    def normal(self, c: Float[Array, " p"], gram: Float[Array, "p p"]) -> Float[Array, " p"]:
        return gram @ c

    def factor(self, gram: Float[Array, "p p"], ridge: Float[Array, ""]) -> Any:
        return cho_factor(gram + jnp.diag(self._diagonal(ridge)))[0]

    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        return cho_solve((factor, False), r)

    def with_penalty_of(self, other: "Dense") -> "Dense":
        return Dense(self.matrix, other.weight, other.floor)


class AbstractStored(AbstractBasis):
    """A basis that gives the values of its functions, and whose design is stored.

    `roughness`: what the ridge weighs each function with, at unit mean square.
    """

    roughness: eqx.AbstractVar[Float[np.ndarray, " p"]]

    @abc.abstractmethod
    def values(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v)."""

    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        return self.values(x, v) @ c

    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> Dense:
        """By forward-mode differentiation of the values."""

        def row(x, v, a, b):
            return _implicit(lambda v: self.values(x, v), v, a, b)

        matrix = jax.vmap(row)(stage.x, stage.v, slope, curvature)
        return Dense.of(matrix, jnp.asarray(self.roughness, matrix.dtype))


def _implicit(
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
