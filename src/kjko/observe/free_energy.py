"""Entropy, free energy and relative entropy."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from kjko.core import State, sums
from kjko.core.rows import each_row
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Measured, Record
from kjko.methods.resolution import Equilibrium
from kjko.observe.start import Start
from kjko.problem import Problem


class Entropies(AbstractObservable):
    """What the density is carried for; null for a method that carries none.

    `entropy`: ∫ f log f. `free_energy`: (35) with a temperature, ∫ (½|v|² + φ(x) + T₀ log f) f, or
    that of Propositions 2 and 3 with ½ ∫|E|² in place of φ; null where the flow does work that no
    energy accounts for, or the collisions have no bath. `kl_stationary`: the relative entropy to
    the stationary law f∞; null where that is not known. With `_plain` they are Monte Carlo means of
    log f over the particles.

    `mass_check`: E_f[f∞/f], the share of f∞ where f is not zero. As far as it tells of voids among
    the particles, which the equation has filled, the density is lower by that factor: its logarithm
    is added to log f, with the ratios and the weight of `kjko.methods.resolution.Equilibrium`.
    """

    at_rest: Equilibrium | None = None  # of arrays, of which no program is compiled anew
    carries_density: bool = True
    keys: ClassVar[tuple[str, ...]] = (
        "entropy",
        "free_energy",
        "kl_stationary",
        "entropy_plain",
        "free_energy_plain",
        "kl_stationary_plain",
        "mass_check",
    )

    def prepare(self, start: Start) -> "Entropies":
        law, dtype = start.stationary, start.particles.v.dtype
        known = None if law is None else Equilibrium.by(law, start.problem, dtype)
        return Entropies(known, start.method.carries_density)

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        particles, one = state.particles, jnp.ones((), state.particles.v.dtype)
        own = problem.flow.energies(state.field, particles, one)
        measured = {
            "log_f": sums.mean(particles.log_f),
            "energy": 0.5 * sums.mean(jnp.sum(particles.v**2, axis=-1)),
            "external": sum((e for name, e in own.items() if name != "field"), jnp.zeros_like(one)),
            "field": own.get("field", jnp.zeros_like(one)),
        }
        if self.at_rest is None or not self.carries_density:
            return measured
        return measured | _missing(problem, state, self.at_rest)

    def record(self, problem: Problem, state: State, measured: Measured) -> Record:
        record: Record = dict.fromkeys(self.keys)
        if not self.carries_density:
            return record
        known = self.at_rest is not None
        missing = float(measured["missing"]) if known else 0.0
        better = self._of(problem, measured, missing)
        plain = self._of(problem, measured, 0.0)
        record |= better | {f"{key}_plain": value for key, value in plain.items()}
        record["mass_check"] = float(measured["mass"]) if known else None
        return record

    def _of(
        self, problem: Problem, measured: Measured, correction: float
    ) -> dict[str, float | None]:
        """The three of them, with a number added to log f."""
        mass, log_f = float(problem.mass), float(measured["log_f"]) + correction
        energy = float(measured["energy"]) + float(measured["external"])  # of a mass of one
        entropy = mass * (log_f + math.log(mass))
        free_energy = kl = None
        if problem.temperature is not None:
            temperature = float(problem.temperature)
            if problem.flow.conservative:
                total = mass * energy + float(measured["field"])
                free_energy = total + temperature * entropy
            if self.at_rest is not None:
                kl = energy / temperature + log_f + float(self.at_rest.log_normaliser)
        return {"entropy": entropy, "free_energy": free_energy, "kl_stationary": kl}


def _missing(problem: Problem, state: State, at_rest: Equilibrium) -> dict[str, Array]:
    """`mass`: E_f[f∞/f], and `missing`: its logarithm, as far as it tells of voids."""
    particles = state.particles
    potential = each_row(eqx.Partial(problem.flow.potential_energy, state.field), particles.x)
    energy = 0.5 * jnp.sum(particles.v**2, axis=-1) + potential
    g = particles.log_f + energy / jnp.asarray(problem.temperature) + at_rest.log_normaliser
    ratio, weight = at_rest.ratios(particles.x, g)
    missing = jnp.where(weight > 0, weight * jnp.log(sums.mean(ratio)), 0.0)
    mass = jnp.exp(sums.log_mean_exp(-g))
    return {"mass": mass, "missing": missing}
