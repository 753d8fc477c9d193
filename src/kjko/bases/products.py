"""Products of two coordinates."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Products(NamedTuple):
    """z_i z_j for pairs i ≤ j of coordinates."""

    first: Int[np.ndarray, " q"]
    second: Int[np.ndarray, " q"]

    @property
    def size(self) -> int:
        return self.first.size

    def values(self, z: Float[Array, " m"]) -> Float[Array, " q"]:
        return z[self.first] * z[self.second]

    def implicit(
        self, z: Float[Array, " m"], a: Float[Array, " m"], b: Float[Array, "m m"]
    ) -> Float[Array, " q"]:
        """(1 + a·∇ − B:∇²) of each."""
        i, j = self.first, self.second
        return z[i] * z[j] + a[i] * z[j] + z[i] * a[j] - b[i, j] - b[j, i]

    def hessian(self, c: Float[Array, " q"], m: int) -> Float[Array, "m m"]:
        """That of Σ c_k z_i z_j; times z it is the gradient."""
        halves = jnp.zeros((m, m), c.dtype).at[self.first, self.second].set(c)
        return halves + halves.T
