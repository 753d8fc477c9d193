"""Several flows at once."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.flow.potentials import Zero
from kjko.interfaces import AbstractFlow, Potential


class Sum(AbstractFlow):
    """Flows that act together: Sum(External(φ), Magnetic(Ω), Poisson(mesh)).

    Accelerations and gyrofrequencies add up, and so do energies, by their names. Its field is that
    of each member, in order.
    """

    parts: tuple[AbstractFlow, ...]

    def __init__(self, *parts: AbstractFlow):
        self.parts = tuple(member for part in parts for member in part.members)

    @property
    def conservative(self) -> bool:
        return all(part.conservative for part in self.parts)

    @property
    def members(self) -> tuple[AbstractFlow, ...]:
        return self.parts

    def init(self, particles: Particles, mass: Float[Array, ""]) -> tuple[Any, ...]:
        return tuple(part.init(particles, mass) for part in self.parts)

    def update(
        self, field: tuple[Any, ...], particles: Particles, dt: Float[Array, ""]
    ) -> tuple[Any, ...]:
        return tuple(
            part.update(own, particles, dt) for part, own in zip(self.parts, field, strict=True)
        )

    def acceleration(
        self,
        field: tuple[Any, ...],
        t: Float[Array, ""],
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
    ) -> Float[Array, " d"]:
        return sum(
            (part.acceleration(own, t, x, v) for part, own in zip(self.parts, field, strict=True)),
            jnp.zeros_like(v),
        )

    def gyrofrequency(
        self, t: Float[Array, ""], x: Float[Array, " d_x"]
    ) -> Float[Array, "3"] | None:
        given = [part.gyrofrequency(t, x) for part in self.parts]
        there = [frequency for frequency in given if frequency is not None]
        return sum(there[1:], there[0]) if there else None

    def potential_energy(self, field: tuple[Any, ...], x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return sum(
            (part.potential_energy(own, x) for part, own in zip(self.parts, field, strict=True)),
            jnp.zeros((), x.dtype),
        )

    def energies(
        self, field: tuple[Any, ...], particles: Particles, mass: Float[Array, ""]
    ) -> dict[str, Float[Array, ""]]:
        total: dict[str, Float[Array, ""]] = {}
        for part, own in zip(self.parts, field, strict=True):
            for name, energy in part.energies(own, particles, mass).items():
                total[name] = total[name] + energy if name in total else energy
        return total

    def fields(self, field: tuple[Any, ...]) -> dict[str, Array]:
        own = zip(self.parts, field, strict=True)
        return {name: array for part, state in own for name, array in part.fields(state).items()}

    @property
    def given_potential(self) -> Potential | None:
        given = [part.given_potential for part in self.parts]
        if any(potential is None for potential in given):
            return None
        there = tuple(p for p in given if p is not None and not isinstance(p, Zero))
        return there[0] if len(there) == 1 else PotentialSum(there)


class PotentialSum(eqx.Module):
    """φ₁(x) + φ₂(x) + …"""

    parts: tuple[Potential, ...]

    def __call__(self, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return sum((potential(x) for potential in self.parts), jnp.zeros((), x.dtype))
