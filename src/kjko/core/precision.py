"""Numbers in double precision, whatever the rest is in."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array


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


def with_double(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), run where float64 is enabled.

    The function itself casts what it is given, and its result. What it closes over must not be
    traced: only `args` are differentiated and mapped.

    Where float64 is not enabled, jax forms the `vmap` and the `jvp` of what is in a loop from the
    program as it was written down, and reads numbers in float64 as float32. So they are formed here
    under `jax.enable_x64`. There is no derivative in reverse, as there is none of a loop.
    """
    if jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return function(*args)
    with jax.enable_x64(True):
        program, shapes, rest = eqx.filter_make_jaxpr(eqx.filter_jit(function))(*args)
    written = jaxpr_as_fun(program)

    def again(whole, real):
        return _parted(written(*eqx.combine(whole, real)))

    leaves = jax.tree.leaves(eqx.filter(args, eqx.is_array))
    found = eqx.combine(*_transformable(again, _all_of_them)(*_parted(leaves)))
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(shapes), found), rest)


def _transformable(
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
            result = _transformable(of_each, are_batched)(whole, real)
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
            other, (result, change) = _transformable(both, of_both)(whole, (real, slopes))
        none = jax.tree.map(lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0), other)
        return (other, result), (none, change)

    return run


def _all_of_them(*flags: Any) -> tuple[bool, bool]:
    """Both parts of the result are batched if any argument is."""
    is_batched = any(jax.tree.leaves(flags))
    return is_batched, is_batched


def _parted(leaves: list[Array]) -> tuple[list[Any], list[Any]]:
    """Those that are not and those that are of real numbers, with None for the others."""
    is_real = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
    real, whole = eqx.partition(leaves, is_real)
    return whole, real
