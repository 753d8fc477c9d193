"""Numbers in double precision, whatever the rest is in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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
