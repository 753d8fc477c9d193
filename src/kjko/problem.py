"""The equation to solve: where, with which force, from which law."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractForce
from kjko.laws import AbstractLaw


class Box(eqx.Module):
    """The periodic box [0, L₁) × … × [0, L_d)."""

    length: Float[Array, " d_x"] = eqx.field(converter=jnp.asarray)

    def wrap(self, x: Float[Array, "n d_x"]) -> Float[Array, "n d_x"]:
        """x modulo the box; never its upper end, which rounding of x mod L can give."""
        length = jnp.broadcast_to(self.length, x.shape)
        wrapped = jnp.mod(x, length)
        return jnp.where(wrapped >= length, 0.0, wrapped)


class Problem(eqx.Module):
    """The kinetic Fokker-Planck equation

        ∂ₜf + v·∇ₓf − ∇ₓφ·∇ᵥf = ε ∇ᵥ·(v f + T₀ ∇ᵥf),    f(0) = law,

    equation (7) with a temperature. `force`: −∇ₓφ. `law`: f at t = 0. `collision_rate`: ε > 0.
    `temperature`: T₀ > 0. `box`: the periodic box in x; None is all of R^d.

    Raises ValueError if ε or T₀ is not positive, or if only one of law and box is periodic.
    """

    force: AbstractForce
    law: AbstractLaw
    collision_rate: float = 1.0
    temperature: float = 1.0
    box: Box | None = None

    def __check_init__(self):
        for name in ("collision_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be > 0, got {getattr(self, name)}")
        if self.law.periodic and self.box is None:
            raise ValueError("law: this law is periodic in x; give the problem a periodic box")
        if self.box is not None and not self.law.periodic:
            raise ValueError("law: this law is not periodic in x and the box is; drop the box")

    def wrap(self, x: Float[Array, "n d_x"]) -> Float[Array, "n d_x"]:
        """x, taken back into the box if there is one."""
        return x if self.box is None else self.box.wrap(x)
