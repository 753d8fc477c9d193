"""Entropy, free energy and relative entropy."""

import math
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from kjko.core import State
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Record
from kjko.observe.start import Start
from kjko.problem import Problem


class Entropies(AbstractObservable):
    """What the density is carried for; null for a method that carries none.

    `entropy`: ∫ f log f. `free_energy`: (35) with a temperature, ∫ (½|v|² + φ(x) + T₀ log f) f, or
    that of Propositions 2 and 3 with ½ ∫|E|² in place of φ; null where the flow does work that no
    energy accounts for, or the collisions have no bath. `kl_stationary`: the Monte Carlo estimate
    mean[log f − log f∞]; null where no stationary law is known.
    """

    log_normaliser: np.ndarray | None = None  # an array, of which no program is compiled anew
    carries_density: bool = True
    keys: ClassVar[tuple[str, ...]] = ("entropy", "free_energy", "kl_stationary")

    def prepare(self, start: Start) -> "Entropies":
        law = start.stationary
        known = None if law is None else np.asarray(law.log_normaliser)
        return Entropies(known, start.method.carries_density)

    def measure(self, problem: Problem, state: State) -> dict[str, Array]:
        particles, one = state.particles, jnp.ones((), state.particles.v.dtype)
        own = problem.flow.energies(state.field, particles, one)
        return {
            "log_f": jnp.mean(particles.log_f),
            "energy": 0.5 * jnp.mean(jnp.sum(particles.v**2, axis=-1)),
            "external": sum((e for name, e in own.items() if name != "field"), jnp.zeros_like(one)),
            "field": own.get("field", jnp.zeros_like(one)),
        }

    def record(
        self,
        problem: Problem,
        state: State,
        info: AbstractStepInfo | None,
        measured: Mapping[str, np.ndarray],
    ) -> Record:
        record: Record = dict.fromkeys(self.keys)
        if not self.carries_density:
            return record
        mass, log_f = float(problem.mass), float(measured["log_f"])
        energy = float(measured["energy"]) + float(measured["external"])  # of a mass of one
        record["entropy"] = mass * (log_f + math.log(mass))
        if problem.temperature is None:
            return record
        temperature = float(problem.temperature)
        if problem.flow.conservative:
            total = mass * energy + float(measured["field"])
            record["free_energy"] = total + temperature * record["entropy"]
        if self.log_normaliser is not None:
            record["kl_stationary"] = energy / temperature + log_f + float(self.log_normaliser)
        return record
