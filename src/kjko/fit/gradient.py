"""The loss and its gradient, block by block."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Stage
from kjko.interfaces import Control

BLOCK = 5000  # particles at a time: what their gradient needs stays in the cache

Losses = tuple[Float[Array, ""], Float[Array, ""]]  # the loss and the smallest determinant


def value_and_gradient(
    subproblem: Callable[[Control, Stage], Losses], params: Any, static: Control, stage: Stage
) -> tuple[Losses, Any]:
    """The loss and smallest determinant of a control, and the loss's gradient in `params`.

    `params`, `static`: the control's two parts. The loss is a mean over the particles, so that of
    all is the mean over the blocks.
    """

    def of(stage):
        def value(params):
            return subproblem(eqx.combine(params, static), stage)

        return jax.value_and_grad(value, has_aux=True)(params)

    n = stage.v.shape[0]
    number, rest = divmod(n, BLOCK)
    if number == 0:
        return of(stage)

    def add(total, part, share):
        ((loss, det_min), gradient), ((more, other), slope) = total, of(part)
        gradient = jax.tree.map(lambda a, b: a + share * b, gradient, slope)
        return (loss + share * more, jnp.minimum(det_min, other)), gradient

    def add_block(total, block):
        return add(total, block, BLOCK / n), None

    blocks = jax.tree.map(lambda a: a[: n - rest].reshape(number, BLOCK, *a.shape[1:]), stage)
    zero, infinity = (jnp.asarray(limit, stage.v.dtype) for limit in (0.0, jnp.inf))
    start = ((zero, infinity), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(add_block, start, blocks)
    if rest == 0:
        return total
    return add(total, jax.tree.map(lambda a: a[n - rest :], stage), rest / n)
