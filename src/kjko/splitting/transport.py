"""How a control moves particles and their density."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.controls.base import value_and_jacobian
from kjko.core import Particles, Response, Stage
from kjko.core.rows import by_blocks, map_rows
from kjko.interfaces import Control

BLOCK = 65_536  # particles at a time: what the control needs on the way does not grow with n


def response(control: Control, stage: Stage) -> Response:
    """u, M = ∇ᵥu R − shear · ∇ₓu and ∇ᵥ·u at every particle of the stage.

    Column k of M is the derivative of u along (−shear · e_k, R e_k): d forward-mode products. For
    M = ∇ᵥu of up to `BLOCK` particles see `kjko.controls.base.value_and_jacobian`.
    """
    rows = (stage.x, stage.v, stage.response, stage.shear)
    if stage.x.shape[0] > BLOCK:
        return map_rows(eqx.Partial(_at_row, control), rows, BLOCK)
    return by_blocks(eqx.Partial(_at_rows, control), rows)


def _at_row(
    control: Control,
    x: Float[Array, " d_x"],
    v: Float[Array, " d"],
    response: Float[Array, "d d"] | None,
    shear: Float[Array, ""] | None,
) -> Response:
    identity = jnp.eye(v.size, dtype=v.dtype)
    r = identity if response is None else response
    along_x = jnp.zeros((), v.dtype) if shear is None else -shear
    u, along = jax.linearize(control, x, v)
    columns = [along(along_x * e[: x.size], r[:, k]) for k, e in enumerate(identity)]
    matrix = jnp.stack(columns, axis=-1)
    if shear is None and response is None:
        return Response(u, matrix, jnp.trace(matrix))
    slopes = [along(0 * x, e)[k] for k, e in enumerate(identity)]
    return Response(u, matrix, jnp.sum(jnp.stack(slopes)))


def _at_rows(control: Control, rows: Any) -> Response:
    x, v, r, shear = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), rows)
    if r is None and shear is None:
        u, jacobian = value_and_jacobian(control, x, v)
        by = Response(u, jacobian, jnp.trace(jacobian))
    else:
        at_each = jax.vmap(partial(_at_row, control), in_axes=-1, out_axes=-1)
        by = at_each(x, v, r, shear)
    return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), by)


def determinant(matrix: Float[Array, "n d d"], h: Float[Array, ""]) -> Float[Array, " n"]:
    """det(I + h M) at every particle.

    By the first row up to 3 × 3. Beyond, down to 3 × 3 by elimination without pivoting, enough for
    a matrix near I (a pivot of zero gives nan), as LAPACK is to get no batches: see
    `kjko.initial.positions.log_normal`.
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


def det_min(by: Response, h: Float[Array, ""], dt: Float[Array, ""]) -> Float[Array, ""]:
    """The smallest determinant of the step of size h and of the whole move."""
    half, whole = (jnp.min(determinant(by.matrix, step)) for step in (h, dt))
    return jnp.minimum(half, whole)


def log_determinant(by: Response, h: Float[Array, ""]) -> Float[Array, " n"]:
    """log det(I + h M)."""
    return jnp.log(determinant(by.matrix, h))


def move(stage: Stage, by: Response, h: Float[Array, ""], log_det: Float[Array, " n"]) -> Particles:
    """The step of size h by a control (see `Stage`), with its log-determinant."""
    x = stage.x_free
    if stage.drift is not None:
        x = x + (stage.drift * h)[:, None] * by.u[:, : x.shape[1]]
    return Particles(x, stage.v_free + h * by.u, stage.log_f - log_det)
