"""How a control moves particles and their density; the one place where Jacobians are taken."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractSequential, Control, Particles, Response, Stage

BLOCK = 65_536  # particles at a time: what the control needs on the way does not grow with n


def response(control: Control, stage: Stage) -> Response:
    """u, M = ∇ᵥu R − shear · ∇ₓu and ∇ᵥ·u at every particle of the stage.

    Column k of M is the derivative of u along (−shear · e_k, R e_k): d forward-mode products.
    """
    identity = jnp.eye(stage.v.shape[-1], dtype=stage.v.dtype)

    def at_row(row):
        x, v, r = row
        r = identity if r is None else r
        u, along = jax.linearize(control, x, v)
        columns = [along(-stage.shear * e[: x.size], r[:, k]) for k, e in enumerate(identity)]
        matrix = jnp.stack(columns, axis=-1)
        if stage.shear or stage.response is not None:
            slopes = [along(0 * x, e)[k] for k, e in enumerate(identity)]
            divergence = jnp.sum(jnp.stack(slopes))
        else:
            divergence = jnp.trace(matrix)
        return Response(u, matrix, divergence)

    rows = (stage.x, stage.v, stage.response)
    if stage.x.shape[0] <= BLOCK:
        # Particles last: a layer of a network is then one product of two matrices as they are.
        last = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), rows)
        by = jax.vmap(at_row, in_axes=-1, out_axes=-1)(last)
        return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), by)
    return jax.lax.map(at_row, rows, batch_size=BLOCK)


def determinant(matrix: Float[Array, "n d d"], h: float) -> Float[Array, " n"]:
    """det(I + h M) at every particle.

    Beyond 3 × 3 by elimination without pivoting, enough for a matrix near I: two of LAPACK's
    factorisations in one compiled step were seen to block each other for ever on two cores.
    """
    if matrix.shape[-1] == 1:
        return 1 + h * matrix[:, 0, 0]
    whole = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)[None] + h * matrix
    det = jnp.ones_like(whole[:, 0, 0])
    while whole.shape[-1] > 3:
        pivot = whole[:, 0, 0]
        row, column = whole[:, None, 0, 1:], whole[:, 1:, 0, None]
        whole = whole[:, 1:, 1:] - column * row / pivot[:, None, None]
        det = det * pivot
    return det * jnp.linalg.det(whole)


def move(
    method: AbstractSequential, stage: Stage, by: Response, h: float
) -> tuple[Particles, Float[Array, " n"]]:
    """The step of size h by a control, and det(I + h M) at every particle (see `Stage`)."""
    moved = Particles(
        x=stage.x_free + stage.drift * h * by.u[:, : stage.x.shape[1]],
        v=stage.v_free + h * by.u,
        log_f=stage.log_f - method.log_determinant(by, h),
    )
    return moved, determinant(by.matrix, h)
