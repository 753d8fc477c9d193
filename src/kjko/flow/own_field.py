"""What the fields of the particles themselves have in common."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.core.mesh import Mesh
from kjko.flow.components import along_velocities
from kjko.interfaces import AbstractFlow


class Field(eqx.Module):
    """The field of particles on the cells of a mesh, whose axes come first.

    `mass`: M = ∫ρ. `density`: ρ. `electric`: E at the cell centres. `potential`: φ of mean zero.
    """

    mass: Float[Array, ""]
    density: Float[Array, "..."]
    electric: Float[Array, "... d_x"]
    potential: Float[Array, "..."]


class AbstractOwnField(AbstractFlow):
    """The field E of the particles themselves, against the background h = M/|Ω|.

    It accelerates a particle by E_p = Σ_h S(x_h − x_p) E_h, with the shape of the deposition. Its
    state has `electric` and `potential` at the cell centres, as `Field`. Energy "field": ½ ∫|E|².
    """

    mesh: eqx.AbstractVar[Mesh]
    conservative: ClassVar[bool] = True

    def acceleration(
        self, field: Any, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return along_velocities(self.mesh.gather(field.electric, x), v)

    def potential_energy(self, field: Any, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return self.mesh.gather(field.potential, x)

    @abc.abstractmethod
    def field_energy(self, field: Any) -> Float[Array, ""]:
        """∫|E|² dx."""

    def fields(self, field: Any) -> dict[str, Array]:
        return {
            "density": field.density,
            "electric": field.electric,
            "potential": field.potential,
        }

    def energies(
        self, field: Any, particles: Particles, mass: Float[Array, ""]
    ) -> dict[str, Float[Array, ""]]:
        return {"field": 0.5 * self.field_energy(field)}
