"""How a control moves particles and their density."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.controls import value_and_jacobian
from kjko.interfaces import AbstractSequential, Control, Particles, Response, Stage

BLOCK = 65_536  # particles at a time: what the control needs on the way does not grow with n


def response(control: Control, stage: Stage) -> Response:
    """u, M = ∇ᵥu R − shear · ∇ₓu and ∇ᵥ·u at every particle of the stage.

    Column k of M is the derivative of u along (−shear · e_k, R e_k): d forward-mode products. For
    M = ∇ᵥu of up to `BLOCK` particles see `kjko.controls.value_and_jacobian`.
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
    if stage.x.shape[0] > BLOCK:
        return jax.lax.map(at_row, rows, batch_size=BLOCK)
    x, v, r = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), rows)
    if r is None and not stage.shear:
        u, jacobian = value_and_jacobian(control, x, v)
        by = Response(u, jacobian, jnp.trace(jacobian))
    else:
        by = jax.vmap(at_row, in_axes=-1, out_axes=-1)((x, v, r))
    return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), by)


def determinant(matrix: Float[Array, "n d d"], h: float) -> Float[Array, " n"]:
    """det(I + h M) at every particle.

    By the first row up to 3 × 3. Beyond, down to 3 × 3 by elimination without pivoting, enough for
    a matrix near I (a pivot of zero gives nan): two of LAPACK's factorisations in one compiled step
    were seen to block each other for ever on two cores.
    """
    d = matrix.shape[-1]
    last = h * jnp.moveaxis(matrix, 0, -1)  # an entry is a contiguous array
    m = [[last[i, k] + (i == k) for k in range(d)] for i in range(d)]
    det = jnp.ones_like(m[0][0])
    while len(m) > 3:
        (pivot, *row), *below = m
        m = [
            [a - first * b / pivot for a, b in zip(rest, row, strict=True)]
            for first, *rest in below
        ]
        det = det * pivot
    return det * _expand(m)


def _expand(m):
    """The determinant by the first row."""
    if len(m) == 1:
        return m[0][0]
    minors = ([row[:k] + row[k + 1 :] for row in m[1:]] for k in range(len(m)))
    terms = [a * _expand(minor) for a, minor in zip(m[0], minors, strict=True)]
    return sum(terms[::2]) - sum(terms[1::2])


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
