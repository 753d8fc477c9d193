"""How a control moves particles and their density; the one place where Jacobians are taken."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractMethod, Control, Particles, Stage

BLOCK = 65_536  # particles at a time: what the control needs on the way does not grow with n


def response(control: Control, stage: Stage) -> tuple[Float[Array, "n d"], Float[Array, "n d d"]]:
    """u and M = ∇ᵥu Aᵀ − shear · ∇ₓu at every particle of the stage.

    Column k of M is the derivative of u along (−shear · e_k, Aᵀ e_k): d forward-mode products.
    """
    identity = jnp.eye(stage.v.shape[-1], dtype=stage.v.dtype)

    def at_particle(x, v, a):
        def column(k):
            direction = (-stage.shear * identity[k, : x.size], a[k])
            return jax.jvp(control, (x, v), direction)

        values, columns = zip(*(column(k) for k in range(v.size)), strict=True)
        return values[0], jnp.stack(columns, axis=-1)

    def at_row(row):
        x, v, a = row
        return at_particle(x, v, identity if a is None else a)

    rows = (stage.x, stage.v, stage.response)
    if stage.x.shape[0] <= BLOCK:
        return jax.vmap(at_row)(rows)
    return jax.lax.map(at_row, rows, batch_size=BLOCK)


def determinant(matrix: Float[Array, "n d d"], h: float) -> Float[Array, " n"]:
    """det(I + h M) at every particle."""
    return jnp.linalg.det(jnp.eye(matrix.shape[-1], dtype=matrix.dtype)[None] + h * matrix)


def move(
    method: AbstractMethod,
    stage: Stage,
    u: Float[Array, "n d"],
    matrix: Float[Array, "n d d"],
    h: float,
) -> tuple[Particles, Float[Array, " n"]]:
    """The step of size h by u, and det(I + h M) at every particle (see `Stage`)."""
    det = determinant(matrix, h)
    moved = Particles(
        x=stage.x_free + stage.drift * h * u,
        v=stage.v_free + h * u,
        log_f=stage.log_f - method.log_determinant(matrix, det, h),
    )
    return moved, det
