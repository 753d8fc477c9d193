"""Collisions of the particles with each other that keep their momentum and energy."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Bath, Particles, sums
from kjko.core.checks import expect
from kjko.core.mesh import Mesh
from kjko.interfaces import AbstractCollisions


class Dougherty(AbstractCollisions):
    """Q[f] = ε ∇ᵥ·((v − ū) f + T ∇ᵥf) with the mean velocity ū and the temperature T of f itself.

        ū = mean(v),    T = mean |v − ū|² / d,    over all particles or over each cell of `mesh`

    It keeps mass, momentum and energy, and relaxes f to the Maxwellian that has them: Dougherty,
    Phys. Fluids 7, 1788 (1964), also named after Lenard and Bernstein. `rate`: ε > 0. `mesh`: a
    periodic grid over the box; without one the particles of all x collide with each other.

    After each collision the velocities of a cell are shifted and scaled by what rounding and the
    fit have changed of its momentum and energy, so that both are kept to rounding; log f follows
    by −d log(scale). Raises ValueError if ε is out of range.
    """

    rate: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    mesh: Mesh | None = None
    temperature: ClassVar[None] = None

    def __check_init__(self) -> None:
        expect("rate", self.rate, lambda e: e > 0, "> 0 (NoCollisions is without)")

    def grid(self) -> Mesh | None:
        return self.mesh

    def freeze(self, x: Float[Array, "n d_x"], v: Float[Array, "n d"]) -> Bath:
        velocity, temperature = self._moments(x, v)
        return Bath(self.rate.astype(v.dtype) * jnp.ones_like(v[:, 0]), velocity, temperature)

    def conserve(self, before: Particles, after: Particles) -> Particles:
        velocity, temperature = self._moments(before.x, before.v)
        now_velocity, now_temperature = self._moments(before.x, after.v)  # of the same particles
        scale = jnp.sqrt(temperature / now_temperature)
        v = velocity + scale[:, None] * (after.v - now_velocity)
        log_f = after.log_f - v.shape[1] * jnp.log(scale)
        return Particles(after.x, v, log_f)

    def _moments(
        self, x: Float[Array, "n d_x"], v: Float[Array, "n d"]
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """ū and T at every particle. A particle alone in its cell has the temperature of all."""
        velocity = self._mean(x, v)
        square = jnp.mean((v - velocity) ** 2, axis=1)
        temperature = self._mean(x, square[:, None])[:, 0]
        overall = jnp.mean(sums.variance(v))
        return velocity, jnp.where(temperature > 0, temperature, overall)

    def _mean(self, x: Float[Array, "n d_x"], values: Float[Array, "n m"]) -> Float[Array, "n m"]:
        """Over the particles of each particle's cell."""
        if self.mesh is None:
            return jnp.broadcast_to(sums.mean(values), values.shape)
        number = self.mesh.number_of_cells
        cell = jnp.ravel_multi_index(tuple(self.mesh.cell(x).T), number, mode="wrap")
        count = math.prod(number)

        def by_cell(rows):
            values, cell = rows
            return jax.ops.segment_sum(values, cell, count)

        total = sums.of_blocks(by_cell, (values, cell))
        members = sums.of_blocks(by_cell, (jnp.ones_like(values[:, :1]), cell))
        return (total / jnp.maximum(members, 1))[cell]
