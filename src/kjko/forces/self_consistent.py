"""What the forces of the particles' own field have in common."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.forces.mesh import Mesh
from kjko.interfaces import AbstractForce


class Field(eqx.Module):
    """The field of particles on the cells of a mesh, whose axes come first.

    `mass`: M = ∫ρ. `density`: ρ. `electric`: E at the cell centres. `potential`: φ of mean zero.
    `faces`: E at the right face of each cell, where that is what the field is advanced on.
    """

    mass: Float[Array, ""]
    density: Float[Array, "..."]
    electric: Float[Array, "... d_x"]
    potential: Float[Array, "..."]
    faces: Float[Array, " cells"] | None = None


class AbstractSelfConsistent(AbstractForce):
    """The field E of the particles themselves, against the background h = M/|Ω|.

    It accelerates a particle by E_p = Σ_h S(x_h − x_p) E_h, with the shape of the deposition.
    """

    mesh: eqx.AbstractVar[Mesh]

    def acceleration(self, state: Field, x: Float[Array, " d_x"]) -> Float[Array, " d_x"]:
        return self.mesh.gather(state.electric, x)

    def potential_energy(self, state: Field, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return self.mesh.gather(state.potential, x)

    def field_energy(self, state: Field) -> Float[Array, ""]:
        """Σ_h |E_h|² |cell|, over the faces if the field lives there."""
        field = state.electric if state.faces is None else state.faces
        return jnp.sum(field**2) * self.mesh.volume
