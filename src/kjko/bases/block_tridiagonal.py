"""Cholesky factor of a symmetric block tridiagonal matrix, and its solves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int


class Factor(NamedTuple):
    """A = R Rᵀ, R with the blocks `lower` on its diagonal and `coupling`ᵀ below it."""

    lower: Float[Array, "m w w"]
    coupling: Float[Array, "m w w"]


def factor(values: Float[Array, " k"], index: Int[Array, "m two w w"]) -> Factor:
    """The factor of A with A[i, i], A[i, i+1] = values[index[i]]; the last A[i, i+1] is not used.

    Not finite where A is not positive definite.
    """

    def step(carry, where):
        on, above = values[where]
        lower = jnp.linalg.cholesky(on - carry, symmetrize_input=False)
        coupling = _forward(lower, above)
        return coupling.T @ coupling, Factor(lower, coupling)

    width = index.shape[-1]
    return jax.lax.scan(step, jnp.zeros((width, width), values.dtype), index)[1]


def solve(of: Factor, right: Float[Array, "m w"]) -> Float[Array, "m w"]:
    """A⁻¹ right."""

    def forward(carry, row):
        lower, coupling, r = row
        y = _forward(lower, r - carry)
        return coupling.T @ y, y

    def backward(later, row):
        lower, coupling, y = row
        c = solve_triangular(lower.T, y - coupling @ later)
        return c, c

    zero = jnp.zeros_like(right[0])
    y = jax.lax.scan(forward, zero, (of.lower, of.coupling, right))[1]
    return jax.lax.scan(backward, zero, (of.lower, of.coupling, y), reverse=True)[1]


def _forward(lower: Float[Array, "w w"], right: Float[Array, "w ..."]) -> Float[Array, "w ..."]:
    """lower⁻¹ right, by its transpose: LAPACK wants columns, so that this needs no copy."""
    return solve_triangular(lower.T, right, trans=1)
