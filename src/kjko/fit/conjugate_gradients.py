"""Penalised normal equations whose factor leaves out some of what couples the unknowns."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractDesign

MOST = 40  # iterations
TOLERANCE = 1e-3  # the residual's, relative


def solve(
    design: AbstractDesign,
    gram: Any,
    ridge: Float[Array, ""],
    factor: Any,
    right: Float[Array, " p"],
    start: Float[Array, " p"] | None = None,
    tolerance: float | None = None,
) -> Float[Array, " p"]:
    """c with (MᵀM/n + ridge R) c = right: conjugate gradients, preconditioned by the factor.

    To a `tolerance`, 10⁻³ if not given, of the right side, or of what a `start` leaves of it, in 40
    iterations at most; nan if the factor is. (The iteration of `jax.scipy` applies the matrix at
    two places of the program and the factor at two: a third of what is compiled for a step.)
    """

    def normal(c):
        return design.normal(c, gram) + design.penalty(c, ridge)

    left = right if start is None else right - normal(start)
    enough = (TOLERANCE if tolerance is None else tolerance) ** 2 * (left @ left)

    def go_on(carry):
        _, residual, *_, count = carry
        return (residual @ residual > enough) & (count < MOST)

    def improve(carry):
        c, residual, direction, before, count = carry
        preconditioned = design.solve(factor, residual)
        square = residual @ preconditioned
        direction = preconditioned + square / before * direction
        image = normal(direction)
        length = square / (direction @ image)
        return c + length * direction, residual - length * image, direction, square, count + 1

    zero, infinite = jnp.zeros_like(left), jnp.asarray(jnp.inf, left.dtype)
    change, *_ = jax.lax.while_loop(go_on, improve, (zero, left, zero, infinite, jnp.asarray(0)))
    return change if start is None else start + change
