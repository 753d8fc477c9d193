"""Numbers in double precision, whatever the rest is in."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.extend.core import jaxpr_as_fun


def in_double(tree: Any) -> Any:
    """The same object with its arrays in float64; for use under `jax.enable_x64`."""
    return in_precision(tree, jnp.float64)


def in_precision(tree: Any, dtype: Any) -> Any:
    """The same object with its arrays of real numbers in this precision."""

    def cast(leaf):
        is_array = isinstance(leaf, jax.Array | np.ndarray)
        if is_array and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(leaf, dtype=dtype)
        return leaf

    return jax.tree.map(cast, tree)


def transformable(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), with parts in float64 where that is not enabled, so that `jax.vmap` and
    `jax.jvp` of it work.

    Of what is in a loop jax forms both from the program as it was written down, when such a part
    has been left, and reads its numbers as float32. Here they are formed under `jax.enable_x64`.
    """
    arrays, static = eqx.partition(args, eqx.is_array)
    whole, real = _parted(arrays)
    told: list[Any] = []

    @jax.jit
    def flat(whole, real):
        result = function(*eqx.combine(whole, real, static))
        arrays, rest = eqx.partition(result, eqx.is_array)
        parted = _parted(arrays)
        told.append((jax.tree.structure(parted), rest))
        return jax.tree.leaves(parted)

    written = jaxpr_as_fun(jax.make_jaxpr(flat)(whole, real))
    structure, rest = told[0]

    def again(whole, real):
        return jax.tree.unflatten(structure, written(*jax.tree.leaves((whole, real))))

    return eqx.combine(*_with_double(again, _all_or_none)(whole, real), rest)


def _with_double(
    written: Callable[[Any, Any], tuple[Any, Any]],
    are_batched: Callable[[Any, Any], tuple[Any, Any]],
) -> Callable[..., Any]:
    """(whole numbers, real numbers) -> the same of the result, with transforms under `enable_x64`.

    `written`: the function itself, of a program that is written down. `are_batched`: which parts of
    its result are, by which of its arguments are.
    """

    @custom_vmap
    def once(whole, real):
        return written(whole, real)

    @once.def_vmap
    def many(size, batched, whole, real):
        axes, of_result = (
            jax.tree.map(lambda is_batched: 0 if is_batched else None, flags)
            for flags in (tuple(batched), are_batched(*batched))
        )
        of_each = jax.vmap(written, axes, of_result, axis_size=size)
        with jax.enable_x64(True):
            result = _with_double(of_each, are_batched)(whole, real)
        return result, jax.tree.broadcast(are_batched(*batched), result)

    @jax.custom_jvp
    def run(whole, real):
        return once(whole, real)

    @run.defjvp
    def along(primals, tangents):
        def both(whole, real):
            at, slopes = real
            result, change, other = jax.jvp(
                lambda real: written(whole, real)[::-1], (at,), (slopes,), has_aux=True
            )
            return other, (result, change)

        def of_both(whole, real):
            other, result = are_batched(whole, real[0])
            return other, (result, True)

        (whole, real), (_, slopes) = primals, tangents
        with jax.enable_x64(True):
            other, (result, change) = _with_double(both, of_both)(whole, (real, slopes))
        none = jax.tree.map(lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0), other)
        return (other, result), (none, change)

    return run


def _all_or_none(*flags: Any) -> tuple[bool, bool]:
    """What depends on everything."""
    is_batched = any(jax.tree.leaves(flags))
    return is_batched, is_batched


def _parted(tree: Any) -> tuple[Any, Any]:
    """What is not and what is of real numbers."""
    is_real = jax.tree.map(lambda leaf: jnp.issubdtype(leaf.dtype, jnp.inexact), tree)
    return eqx.partition(tree, is_real)[::-1]
