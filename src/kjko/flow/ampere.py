"""The field of Ampère's law."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Particles, sums
from kjko.core.mesh import Mesh
from kjko.flow.own_field import AbstractOwnField


class FaceField(eqx.Module):
    """A field in one dimension that is advanced on the faces of the cells.

    `faces`: E at the right face of each cell; the rest is as in `Field`.
    """

    mass: Float[Array, ""]
    density: Float[Array, " cells"]
    electric: Float[Array, "cells 1"]
    potential: Float[Array, " cells"]
    faces: Float[Array, " cells"]


class Ampere(AbstractOwnField):
    """∂ₜE = −J of equation (13), in one dimension, with E and J on the faces of the cells.

    The current is the one that the particles carry through each face in the drift: with ρⁿ, ρⁿ⁺¹
    deposited before and after it

        J_{i+½} − J_{i−½} = −Δx/Δt (ρᵢⁿ⁺¹ − ρᵢⁿ),    mean J = M/L mean(v)

    (the difference of the shape function summed over the cells, whatever the number of cells that a
    particle crosses). So (E_{i+½} − E_{i−½})/Δx − ρᵢ + h keeps its value: Gauss's law holds to
    rounding for ever if it does at t = 0. A particle feels the mean of each cell's two faces.

    `initial`: E(0) on the faces; None is Gauss's law with mean zero. `uniform` is added to it.
    Raises ValueError in more than one dimension, or if `initial` is not one number a cell.
    """

    mesh: Mesh
    initial: Float[Array, " cells"] | None = eqx.field(
        default=None, converter=lambda faces: None if faces is None else jnp.asarray(faces)
    )
    uniform: Float[Array, ""] = eqx.field(default=0.0, converter=jnp.asarray)

    def __check_init__(self) -> None:
        if len(self.mesh.length) != 1:
            raise ValueError("kind: ampere is for one dimension of x; use poisson in more")
        if self.initial is not None and self.initial.shape != self.mesh.number_of_cells:
            raise ValueError("initial: need one number for each cell")

    def init(self, particles: Particles, mass: Float[Array, ""]) -> FaceField:
        total = jnp.asarray(mass, particles.x.dtype)
        density = total * self.mesh.deposit(particles.x)
        if self.initial is None:
            faces = self.mesh.volume * jnp.cumsum(density - total / self.mesh.length[0])
            faces = faces - jnp.mean(faces)
        else:
            faces = jnp.asarray(self.initial, density.dtype)
        return self._field(total, density, faces + self.uniform.astype(faces.dtype))

    def update(self, field: FaceField, particles: Particles, dt: Float[Array, ""]) -> FaceField:
        density = field.mass * self.mesh.deposit(particles.x)
        passed = -self.mesh.volume * jnp.cumsum(density - field.density)  # Δt J, but for its mean
        mean = dt * field.mass / self.mesh.length[0] * sums.mean(particles.v[:, 0])
        return self._field(field.mass, density, field.faces - (passed - jnp.mean(passed) + mean))

    def _field(
        self, mass: Float[Array, ""], density: Float[Array, " cells"], faces: Float[Array, " cells"]
    ) -> FaceField:
        centres = 0.5 * (faces + jnp.roll(faces, 1))
        potential = -self.mesh.volume * jnp.roll(jnp.cumsum(faces - jnp.mean(faces)), 1)
        potential = potential - jnp.mean(potential)
        return FaceField(mass, density, centres[:, None], potential, faces)

    def field_energy(self, field: FaceField) -> Float[Array, ""]:
        """Σ |E_{i+½}|² Δx."""
        return jnp.sum(field.faces**2) * self.mesh.volume
