"""Which part of a control may act: all of it, unless it folds the map or raises the free energy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from kjko.core import Response, Stage
from kjko.interfaces import AbstractSubproblem
from kjko.splitting.transport import determinant

FRACTIONS = tuple(np.arange(20, 0, -1) / 20)  # of a control that are tried
DET_MIN = 0.1  # least determinant of the move that is accepted


def safe_fraction(matrix: Float[Array, "n d d"], dt: Float[Array, ""]) -> Float[Array, ""]:
    """The largest of the fractions of a control up to which the map folds nowhere; 0 if none.

    M is symmetric: where all leading minors of I + Δt M are positive it is positive definite, and
    so it is for every smaller fraction. The determinant alone has the wrong answer for two
    eigenvalues that have both become negative.
    """

    def folds(fraction):
        part = fraction * matrix
        sizes = range(1, matrix.shape[-1] + 1)
        *minors, lowest = (jnp.min(determinant(part[:, :k, :k], dt)) for k in sizes)
        safe = lowest > DET_MIN
        for minor in minors:
            safe &= minor > 0
        return ~safe

    return largest_fraction(folds, matrix.dtype)


def held_fraction(
    subproblem: AbstractSubproblem,
    by: Response,
    stage: Stage,
    share: Float[Array, ""] | float = 1.0,
) -> Float[Array, ""]:
    """The largest of some fractions of a control that does not raise the free energy.

    It is that of all particles: a control is fitted on some of them, by Newton to no objective.
    """

    def rises(fraction):
        return subproblem.raises_energy(part_of(by, fraction), stage, share)

    return largest_fraction(rises, by.u.dtype)


def part_of(by: Response, fraction: Float[Array, ""]) -> Response:
    """The response of a fraction of the control."""
    return jax.tree.map(lambda leaf: fraction * leaf, by)


def largest_fraction(
    fails: Callable[[Float[Array, ""]], Bool[Array, ""]], dtype: Any
) -> Float[Array, ""]:
    """The largest of some fractions of a control that does not fail; 0 if all do."""
    fractions = jnp.asarray((*FRACTIONS, 0.0), dtype)

    def go_on(number):
        return fails(fractions[number]) & (number < len(FRACTIONS))

    return fractions[jax.lax.while_loop(go_on, lambda number: number + 1, jnp.asarray(0))]
