"""The equation to solve: flow × collisions, where, and from which law."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.collisions import FokkerPlanck
from kjko.core import Box
from kjko.core.checks import expect, is_traced
from kjko.core.mesh import Mesh
from kjko.flow import AbstractOwnField
from kjko.initial import AbstractLaw
from kjko.interfaces import AbstractCollisions, AbstractFlow

POINTS = 64  # at which a potential is held to the box's period
IRRATIONAL = np.sqrt([2.0, 3.0, 5.0])
PERIODIC = 1e-3  # of the potential's range: what may be rounding


class Problem(eqx.Module):
    """The kinetic equation

        ∂ₜf + v·∇ₓf + a(t, x, v; f)·∇ᵥf = Q[f],    f(0) = law,

    equation (7) with `flow` a = −∇ₓφ and `collisions` Q = ε ∇ᵥ·(v f + T₀ ∇ᵥf), or (11) and (13)
    with the particles' own field. `law`: f at t = 0, of mass one, where it is known: what a run is
    held to is worked out from it. `box`: the periodic box in x; None is all of R^d. `mass`:
    M = ∫∫f > 0.

    Raises ValueError if M is out of range, if only one of law and box is periodic, if the box is
    not that of the law, of the field or of the collisions, or for a potential that is not periodic
    in the box.
    """

    flow: AbstractFlow
    collisions: AbstractCollisions = eqx.field(default_factory=FokkerPlanck)
    law: AbstractLaw | None = None
    box: Box | None = None
    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __check_init__(self) -> None:
        expect("mass", self.mass, lambda m: m > 0, "> 0")
        for field in self.own_fields:
            length = field.mesh.length
            if self.box is None:
                raise ValueError("flow: a self-consistent field needs a periodic box")
            if not _same(self.box, length):
                raise ValueError(
                    f"flow: its mesh has the sides {list(length)}, the box"
                    f" {self.box.length.tolist()}; give both the same"
                )
        cells = self.collisions.grid()
        if cells is not None:
            self._check_cells(cells)
        if len(self.own_fields) > 1:
            raise ValueError("flow: expected one self-consistent field at most; drop the others")
        if self.box is not None:
            for member in self.flow.members:
                _check_periodic(member, self.box)
        if self.law is not None:
            self._check_law(self.law)
            self._check_waves(self.law)

    def _check_cells(self, mesh: Mesh):
        if self.box is None:
            raise ValueError("collisions: those in the cells of a mesh need a periodic box")
        if not _same(self.box, mesh.length):
            raise ValueError(
                f"collisions: their mesh has the sides {list(mesh.length)}, the box"
                f" {self.box.length.tolist()}; give both the same"
            )

    def _check_law(self, law: AbstractLaw):
        if law.periodic and self.box is None:
            raise ValueError("law: this law is periodic in x; give the problem a periodic box")
        if self.box is not None and not law.periodic:
            raise ValueError("law: this law is not periodic in x and the box is; drop the box")
        if self.box is not None and law.length is not None and not _same(self.box, law.length):
            raise ValueError(
                f"law: is periodic with {np.asarray(law.length).tolist()}, the box with"
                f" {self.box.length.tolist()}; give both the same"
            )

    def _check_waves(self, law: AbstractLaw):
        """A wave that the mesh can't tell from its own highest one feels no field."""
        for field in self.own_fields:
            for mode, cells in zip(law.modes, field.mesh.number_of_cells, strict=False):
                if 2 * mode >= cells:
                    raise ValueError(
                        f"law: {mode:g} waves on {cells} cells feel no field; take more than"
                        f" {2 * mode:g} cells, or fewer waves"
                    )

    @property
    def temperature(self) -> Float[Array, ""] | None:
        """T₀ of the bath; None where the collisions have none."""
        return self.collisions.temperature

    @property
    def own_fields(self) -> list[AbstractOwnField]:
        """The members of the flow that are fields of the particles themselves."""
        return [m for m in self.flow.members if isinstance(m, AbstractOwnField)]

    @property
    def plasma_frequency(self) -> float | None:
        """ω_p = √(M/|Ω|), the root of the mean density; None without a field of their own."""
        for field in self.own_fields:
            return math.sqrt(float(self.mass) / math.prod(field.mesh.length))
        return None

    def check_time_step(self, time_step: Any) -> None:
        """Raise ValueError where a drift and a kick of the plasma are unstable: Δt ω_p ≥ 2."""
        if is_traced(self.mass) or self.plasma_frequency is None:
            return
        frequency = self.plasma_frequency
        if not is_traced(time_step) and time_step * frequency >= 2:
            raise ValueError(
                f"time_step: expected time_step * plasma frequency < 2, got {time_step:g} *"
                f" {frequency:g}; take a smaller time_step"
            )


def _same(box: Box, length: Any) -> bool:
    """Whether a box has these sides; True while they are traced."""
    if is_traced(box.length):
        return True
    sides = np.asarray(length, dtype=float)
    return box.length.shape == sides.shape and np.allclose(box.length, sides)


def _check_periodic(member: AbstractFlow, box: Box) -> None:
    """A given φ has to have the box's period: its jump would be a force that no particle feels."""
    potential = member.given_potential
    if potential is None or is_traced(box.length):
        return
    d_x = box.length.size
    spread = jnp.asarray((0.5 + np.outer(np.arange(POINTS), IRRATIONAL[:d_x])) % 1)
    inside = spread.astype(box.length.dtype) * box.length[None]
    beyond = inside[:, None] + jnp.diag(box.length)[None]  # a period on along each axis
    phi = jax.vmap(potential)(inside)
    jump = jax.vmap(jax.vmap(potential))(beyond) - phi[:, None]
    if is_traced(jump):
        return
    most = float(jnp.max(jnp.abs(jump)))
    if most > PERIODIC * float(jnp.ptp(phi)):
        raise ValueError(
            f"flow: its potential changes by {most:.3g} over a period of the box and must not; a"
            " force without a periodic potential is kjko.Uniform, in a sum with what is left"
        )
