"""What the forces of the particles' own field have in common."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from kjko.forces.mesh import Mesh
from kjko.interfaces import AbstractForce


class Field(eqx.Module):
    """The field of particles on the cells of a mesh, whose axes come first.

    `mass`: M = ∫ρ. `density`: ρ. `electric`: E at the cell centres. `potential`: φ of mean zero.
    """

    mass: Float[Array, ""]
    density: Float[Array, "..."]
    electric: Float[Array, "... d_x"]
    potential: Float[Array, "..."]


class AbstractSelfConsistent(AbstractForce):
    """The field E of the particles themselves, against the background h = M/|Ω|.

    It accelerates a particle by E_p = Σ_h S(x_h − x_p) E_h, with the shape of the deposition. Its
    state has `electric` and `potential` at the cell centres, as `Field`.
    """

    mesh: eqx.AbstractVar[Mesh]

    def acceleration(self, state: Any, x: Float[Array, " d_x"]) -> Float[Array, " d_x"]:
        return self.mesh.gather(state.electric, x)

    def potential_energy(self, state: Any, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return self.mesh.gather(state.potential, x)
