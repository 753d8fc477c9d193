"""Controls that are gradients of a linear expansion."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.controls.base import AbstractFastControl
from kjko.interfaces import AbstractBasis, AbstractLinearControl


class Gradient(AbstractLinearControl, AbstractFastControl):
    """u = ∇ᵥψ with ψ = Σ c_k Φ_k: linear in its coefficients, symmetric in its Jacobian.

    Starts at zero. `basis`: Φ. `ridge`: where the next step's search for one begins.
    """

    basis: AbstractBasis
    coefficients: Float[Array, " p"]
    ridge: Float[Array, ""]

    def __init__(self, basis: AbstractBasis):
        self.basis = basis
        self.coefficients = jnp.zeros(basis.size)
        self.ridge = jnp.asarray(1e-3, self.coefficients.dtype)

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.basis.derivatives(x, v, self.coefficients)[0]

    def potential(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """ψ(x, v)."""
        return self.basis.potential(x, v, self.coefficients)

    def value_and_jacobian(
        self, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
    ) -> tuple[Float[Array, "d n"], Float[Array, "d d n"]]:
        """u and ∇ᵥu at n particles, which come last."""

        def at_one(x, v):
            return self.basis.derivatives(x, v, self.coefficients)

        return jax.vmap(at_one, in_axes=-1, out_axes=-1)(x, v)
