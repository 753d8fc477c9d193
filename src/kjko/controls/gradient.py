"""Controls that are gradients of a linear expansion."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractBasis, AbstractLinearControl


class Gradient(AbstractLinearControl):
    """u = ∇ᵥψ with ψ = Σ c_k Φ_k: linear in its coefficients, symmetric in its Jacobian.

    Starts at zero. `basis`: Φ.
    """

    basis: AbstractBasis
    coefficients: Float[Array, " p"]

    def __init__(self, basis: AbstractBasis):
        self.basis = basis
        self.coefficients = jnp.zeros(basis.size)

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return jax.grad(self.potential, argnums=1)(x, v)

    def potential(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """ψ(x, v)."""
        return self.basis.potential(x, v, self.coefficients)
