"""Cholesky factor of a symmetric block tridiagonal matrix, open or a ring, and its solves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float, Int


class Factor(NamedTuple):
    """A = R Rᵀ, R with the blocks `lower` and then `last` on its diagonal.

    Below `lower[i]` are the transposes of both halves of `coupling[i]`: with the next block, and in
    a ring with the very last one. `last` is of one block, in a ring of two.
    """

    lower: Float[Array, "m w w"]
    coupling: Float[Array, "m w r"]
    last: Float[Array, "r r"]


def factor(
    values: Float[Array, " k"], index: Int[Array, "n two w w"], ring: bool = False
) -> Factor:
    """The factor of A with A[i, i], A[i, i+1] = values[index[i]]; the last A[i, i+1] is not used,
    or couples with the first block in a `ring` of three blocks or more.

    Not finite where A is not positive definite.
    """
    width = index.shape[-1]
    first = values[index[-1, 1]].T if ring else jnp.zeros((width, 0), values.dtype)

    def step(carry, where):
        taken, with_last, corner = carry
        on, above = values[where]
        lower = jnp.linalg.cholesky(on - taken, symmetrize_input=False)
        coupling = _forward(lower, jnp.concatenate([above, with_last], axis=1))
        following, closing = coupling[:, :width], coupling[:, width:]
        images = following.T @ coupling
        carry = (images[:, :width], -images[:, width:], corner + closing.T @ closing)
        return carry, (lower, coupling)

    zero = jnp.zeros_like(first, shape=(width, width))
    start = (zero, first, zero[: first.shape[1], : first.shape[1]])
    chain = index[: len(index) - (2 if ring else 1)]
    (taken, with_last, corner), eliminated = jax.lax.scan(step, start, chain)
    if ring:
        (on, above), (end, _) = values[index[-2]], values[index[-1]]
        side = above + with_last
        last = jnp.block([[on - taken, side], [side.T, end - corner]])
    else:
        last = values[index[-1, 0]] - taken
    return Factor(*eliminated, jnp.linalg.cholesky(last, symmetrize_input=False))


def solve(of: Factor, right: Float[Array, "n w"]) -> Float[Array, "n w"]:
    """A⁻¹ right."""
    m, width, _ = of.lower.shape

    def forward(taken, row):
        lower, coupling, r = row
        y = _forward(lower, r - taken[:width])
        return (y @ coupling).at[width:].add(taken[width:]), y

    def backward(later, row):
        lower, coupling, y = row
        c = solve_triangular(lower.T, y - coupling @ jnp.concatenate([later, end]))
        return c, c

    nothing = jnp.zeros_like(of.last[0])
    taken, y = jax.lax.scan(forward, nothing, (of.lower, of.coupling, right[:m]))
    last = cho_solve((of.last, True), right[m:].ravel() - taken)
    end = last[width:]
    c = jax.lax.scan(backward, last[:width], (of.lower, of.coupling, y), reverse=True)[1]
    return jnp.concatenate([c, last.reshape(-1, width)])


def _forward(lower: Float[Array, "w w"], right: Float[Array, "w ..."]) -> Float[Array, "w ..."]:
    """lower⁻¹ right, by its transpose: LAPACK wants columns, so that this needs no copy."""
    return solve_triangular(lower.T, right, trans=1)
