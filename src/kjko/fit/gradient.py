"""The loss and its gradient, block by block."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Stage, sums
from kjko.devices import alike, everywhere, in_use
from kjko.interfaces import Control

BLOCK = 5000  # particles at a time, about: what their gradient needs stays in the cache

Losses = tuple[Float[Array, ""], Float[Array, ""]]  # the loss and the smallest determinant


def value_and_gradient(
    subproblem: Callable[[Control, Stage], Losses], params: Any, static: Control, stage: Stage
) -> tuple[Losses, Any]:
    """The loss and smallest determinant of a control, and the loss's gradient in `params`.

    `params`, `static`: the control's two parts. The loss is a mean over the particles, so that of
    all is the mean over the blocks.
    """
    if in_use():
        return _of_blocks(subproblem, params, static, stage)

    def of(stage):
        def value(params):
            return subproblem(eqx.combine(params, static), stage)

        return jax.value_and_grad(value, has_aux=True)(params)

    n = stage.v.shape[0]
    number = max(1, round(n / BLOCK))
    size, rest = divmod(n, number)
    if number == 1:
        return of(stage)

    def add(total, part, share):
        ((loss, det_min), gradient), ((more, other), slope) = total, of(part)
        gradient = jax.tree.map(lambda a, b: a + share * b, gradient, slope)
        return (loss + share * more, jnp.minimum(det_min, other)), gradient

    def add_block(total, block):
        return add(total, block, size / n), None

    blocks = jax.tree.map(lambda a: a[: n - rest].reshape(number, size, *a.shape[1:]), stage)
    zero, infinity = (jnp.asarray(limit, stage.v.dtype) for limit in (0.0, jnp.inf))
    start = ((zero, infinity), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(add_block, start, blocks)
    if rest == 0:
        return total
    return add(total, jax.tree.map(lambda a: a[n - rest :], stage), rest / n)


def _of_blocks(
    subproblem: Callable[[Control, Stage], Losses], params: Any, static: Control, stage: Stage
) -> tuple[Losses, Any]:
    """The same on several devices, which tell each other the gradient of each block."""

    of_one = eqx.Partial(value_and_gradient, subproblem, params, static)
    (losses, lowest), gradients = everywhere(sums.by_block(of_one, stage))
    loss, gradient = alike(jax.tree.map, sums.mean, (losses, gradients))
    return (loss, jnp.min(lowest)), gradient
