"""Particles kept from the gradient, to see over-fitting."""

import jax
from jaxtyping import Key

from kjko.interfaces import Stage


def split(stage: Stage, fraction: float, key: Key) -> tuple[Stage, Stage | None]:
    """The stage in two random parts, the second with `fraction` of the particles; None if empty.

    A fresh split at every step: two fixed halves drift apart.
    """
    n = stage.v.shape[0]
    held = round(fraction * n)
    if held == 0:
        return stage, None
    order = jax.random.permutation(key, n)
    return stage.take(order[held:]), stage.take(order[:held])
