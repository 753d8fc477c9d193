"""log det, kept finite where a map is about to fold."""

import jax.numpy as jnp
from jaxtyping import Array, Float

BARRIER = 0.05  # determinant below which log det goes on as a parabola


def extended_log(det: Float[Array, " n"]) -> Float[Array, " n"]:
    """log(det) for det ≥ δ = 0.05; below it the Taylor polynomial of degree two about δ.

    The objective stays finite and smooth, and a map that is about to fold is pushed back.
    """
    r = (det - BARRIER) / BARRIER
    return jnp.where(
        det > BARRIER, jnp.log(jnp.maximum(det, BARRIER)), jnp.log(BARRIER) + r - 0.5 * r**2
    )
