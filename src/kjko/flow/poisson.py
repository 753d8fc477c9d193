"""The field of Poisson's equation."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from kjko.core import Particles
from kjko.core.mesh import Mesh
from kjko.flow.own_field import AbstractOwnField, Field


class Poisson(AbstractOwnField):
    """E = −∇φ, −Δφ = ρ − h of equation (11), by the Fourier transform as in section 4.2.

        φ̂(k) = ρ̂(k)/k²,    φ̂(0) = 0,    Ê(k) = −ik φ̂(k)

    `laplacian`: "spectral" is k itself, the paper's; "discrete" the second-order differences of the
    grid, k² → Σ (2/Δx sin(kΔx/2))² and k → sin(kΔx)/Δx. ik is set to zero at the highest wave
    number of an even number of cells, where it has no sign: E is then an odd function of ρ's
    waves, and the particles' own forces on each other sum to zero.
    """

    mesh: Mesh
    laplacian: Literal["spectral", "discrete"] = eqx.field(static=True, default="spectral")

    def __check_init__(self) -> None:
        if self.laplacian not in ("spectral", "discrete"):
            raise ValueError(f"laplacian: must be spectral or discrete, got {self.laplacian!r}")

    def init(self, particles: Particles, mass: Float[Array, ""]) -> Field:
        return self._solve(particles, jnp.asarray(mass, particles.x.dtype))

    def update(self, field: Field, particles: Particles, dt: Float[Array, ""]) -> Field:
        return self._solve(particles, field.mass)

    def field_energy(self, field: Field) -> Float[Array, ""]:
        """Σ_h |E_h|² |cell|."""
        return jnp.sum(field.electric**2) * self.mesh.volume

    def _solve(self, particles: Particles, mass: Float[Array, ""]) -> Field:
        density = mass * self.mesh.deposit(particles.x)
        cells = self.mesh.number_of_cells
        square, slopes = self._wave_numbers()
        waves = jnp.fft.rfftn(density)
        potential_waves = waves * jnp.asarray(square, density.dtype)

        def component(slope: Float[np.ndarray, "..."]) -> Float[Array, "..."]:
            along: Complex[Array, "..."] = -1j * jnp.asarray(slope, density.dtype)
            return jnp.fft.irfftn(along * potential_waves, cells)

        electric = jnp.stack([component(slope) for slope in slopes], axis=-1)
        return Field(mass, density, electric, jnp.fft.irfftn(potential_waves, cells))

    def _wave_numbers(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """1/k², zero at k = 0, and each component of k, for the transform of real values."""
        squares, slopes = [], []
        numbers, spacings = self.mesh.number_of_cells, self.mesh.spacing
        for axis, (number, dx) in enumerate(zip(numbers, spacings, strict=True)):
            last = axis == len(numbers) - 1
            k = 2 * np.pi * (np.fft.rfftfreq if last else np.fft.fftfreq)(number, dx)
            square, slope = k**2, k
            if self.laplacian == "discrete":
                square, slope = (2 / dx * np.sin(k * dx / 2)) ** 2, np.sin(k * dx) / dx
            if number % 2 == 0:
                slope = np.where(np.arange(k.size) == number // 2, 0.0, slope)
            squares.append(square)
            slopes.append(slope)
        total = sum(np.meshgrid(*squares, indexing="ij"))
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        return inverse, list(np.meshgrid(*slopes, indexing="ij"))
