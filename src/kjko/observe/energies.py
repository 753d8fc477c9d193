"""Energies and momentum."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from kjko.core import State, sums
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Measured, Record
from kjko.problem import Problem


class Energies(AbstractObservable):
    """Kinetic and potential energy and the momentum of f, of the problem's mass M.

    `energy_kinetic`: ∫ ½|v|² f. Those of the flow by their names, `energy_external` ∫φ f and
    `energy_field` ½ ∫|E|² dx, and `energy_potential` their sum. `field_energy`: ∫|E|² dx of a
    self-consistent field. `momentum`: M mean(v), a number for each velocity.
    """

    keys: ClassVar[tuple[str, ...]] = (
        "energy_kinetic",
        "energy_potential",
        "field_energy",
        "momentum",
    )

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        particles, mass = state.particles, problem.mass.astype(state.particles.v.dtype)
        own = problem.flow.energies(state.field, particles, mass)
        return {
            "kinetic": 0.5 * mass * sums.mean(jnp.sum(particles.v**2, axis=-1)),
            "momentum": mass * sums.mean(particles.v),
            **{f"of {name}": energy for name, energy in own.items()},
        }

    def record(self, problem: Problem, state: State, measured: Measured) -> Record:
        own = {k[3:]: float(e) for k, e in measured.items() if k.startswith("of ")}
        return {
            "energy_kinetic": float(measured["kinetic"]),
            "energy_potential": sum(own.values()),
            **{f"energy_{name}": energy for name, energy in own.items()},
            "field_energy": 2 * own["field"] if "field" in own else None,
            "momentum": measured["momentum"].tolist(),
        }
