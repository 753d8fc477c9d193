"""The equation to solve: where, with which force, from which law."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.forces import AbstractSelfConsistent
from kjko.interfaces import AbstractForce
from kjko.laws import AbstractLaw, CellJitter, CosinePosition, Product


class Box(eqx.Module):
    """The periodic box [0, L₁) × … × [0, L_d)."""

    length: Float[Array, " d_x"] = eqx.field(converter=jnp.asarray)

    def wrap(self, x: Float[Array, "n d_x"]) -> Float[Array, "n d_x"]:
        """x modulo the box; never its upper end, which rounding of x mod L can give."""
        length = jnp.broadcast_to(self.length.astype(x.dtype), x.shape)
        wrapped = jnp.mod(x, length)
        return jnp.where(wrapped >= length, 0.0, wrapped)


class Problem(eqx.Module):
    """The kinetic Fokker-Planck equation

        ∂ₜf + v·∇ₓf − ∇ₓφ·∇ᵥf = ε ∇ᵥ·(v f + T₀ ∇ᵥf),    f(0) = law,

    equation (7) with a temperature. `force`: −∇ₓφ, given or of the particles' own field, (11) and
    (13). `law`: f at t = 0, of mass one. `collision_rate`: ε ≥ 0; with 0 no control is fitted.
    `temperature`: T₀ > 0. `box`: the periodic box in x; None is all of R^d. `mass`: M = ∫∫f > 0.

    Raises ValueError if ε, T₀ or M is out of range, if only one of law and box is periodic, or if
    the box is not that of the law or of the field.
    """

    force: AbstractForce
    law: AbstractLaw
    collision_rate: float = 1.0
    temperature: float = 1.0
    box: Box | None = None
    mass: float = 1.0

    def __check_init__(self):
        if not self.collision_rate >= 0:
            raise ValueError(f"collision_rate: must be >= 0, got {self.collision_rate}")
        for name in ("temperature", "mass"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be > 0, got {getattr(self, name)}")
        if self.mass != 1 and not isinstance(self.force, AbstractSelfConsistent):
            raise ValueError(f"mass: must be 1 for an external force, got {self.mass}")
        self._check_box()

    def _check_box(self):
        if isinstance(self.force, AbstractSelfConsistent):
            if self.box is None:
                raise ValueError("force: a self-consistent field needs a periodic box")
            length = self.force.mesh.length
            if self.box.length.shape != (len(length),) or not np.allclose(self.box.length, length):
                raise ValueError(
                    f"force: its mesh has the sides {list(length)}, the box"
                    f" {self.box.length.tolist()}; give both the same"
                )
        if self.law.periodic and self.box is None:
            raise ValueError("law: this law is periodic in x; give the problem a periodic box")
        if self.box is not None and not self.law.periodic:
            raise ValueError("law: this law is not periodic in x and the box is; drop the box")
        position = self.law.position if isinstance(self.law, Product) else None
        if self.box is not None and isinstance(position, CosinePosition | CellJitter):
            length = np.asarray(position.length, dtype=float)
            if length.shape != self.box.length.shape or not np.allclose(length, self.box.length):
                raise ValueError(
                    f"law: is periodic with {length.tolist()}, the box with"
                    f" {self.box.length.tolist()}; give both the same"
                )

    @property
    def plasma_frequency(self) -> float | None:
        """ω_p = √(M/|Ω|), the root of the mean density; None for an external force."""
        if not isinstance(self.force, AbstractSelfConsistent):
            return None
        return math.sqrt(self.mass / math.prod(self.force.mesh.length))

    def check_time_step(self, time_step: float) -> None:
        """Raise ValueError where a drift and a kick of the plasma are unstable: Δt ω_p ≥ 2."""
        frequency = self.plasma_frequency
        if frequency is not None and time_step * frequency >= 2:
            raise ValueError(
                f"time_step: expected time_step * plasma frequency < 2, got {time_step:g} *"
                f" {frequency:g}; take a smaller time_step"
            )

    def wrap(self, x: Float[Array, "n d_x"]) -> Float[Array, "n d_x"]:
        """x, taken back into the box if there is one."""
        return x if self.box is None else self.box.wrap(x)
