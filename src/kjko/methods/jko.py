"""The kinetic JKO method."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.interfaces import AbstractSequential, ForceState, Response, Stage, State, StepInfo
from kjko.methods.sequential import sequential_step
from kjko.problem import Problem
from kjko.transport import determinant

# Below this determinant log det is continued by its second-order Taylor polynomial. The objective
# stays finite and smooth, and a map that is about to fold is pushed back.
BARRIER = 0.05


def extended_log(det: Float[Array, " n"]) -> Float[Array, " n"]:
    """log(det) for det ≥ δ = 0.05; below it the Taylor polynomial of degree two about δ."""
    r = (det - BARRIER) / BARRIER
    return jnp.where(
        det > BARRIER, jnp.log(jnp.maximum(det, BARRIER)), jnp.log(BARRIER) + r - 0.5 * r**2
    )


class JKO(AbstractSequential):
    """Transport cost plus free energy after the step: equations (18) and (27).

        J(u) = mean[ h/2 |u|² + ε (½|v'|² + φ(x') + T₀ log f') ]

    with (x', v', log f') the particles after a step of size h (see `kjko.interfaces.Stage`). Its
    minimiser is u = −ε (v' + T₀ ∇ᵥ log f') + O(h). φ(x') is constant, and left out, for every
    integrator but (18), where the control moves x as well. The value at u = 0 is subtracted.

    `log_det`: "exact" is log det(I + h M). "linear" is the paper's h ∇ᵥ·u (Remark 2); it makes the
    empirical objective unbounded below, see docs/design_decisions.md.
    """

    log_det: Literal["exact", "linear"] = eqx.field(static=True, default="exact")
    carries_density: ClassVar[bool] = True
    implicit: ClassVar[bool] = True

    def begin(self, problem: Problem, solver: Any, state: State, steps: int, key: Key) -> State:
        return state

    def step(self, problem: Problem, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        return sequential_step(self, problem, solver, state, key)

    def loss(
        self, response: Response, stage: Stage, problem: Problem, state: ForceState, h: float
    ) -> Float[Array, ""]:
        u = response.u
        cost = 0.5 * h * jnp.sum(u**2, axis=-1)
        kinetic = h * jnp.sum(stage.v_free * u, axis=-1) + 0.5 * h**2 * jnp.sum(u**2, axis=-1)
        if self.log_det == "linear":
            log_det = self.log_determinant(response, h)
        else:
            log_det = extended_log(determinant(response.matrix, h))
        free_energy = jnp.mean(kinetic - problem.temperature * log_det)
        if stage.drift:
            moved = stage.x_free + stage.drift * h * u[:, : stage.x.shape[1]]
            energy = problem.force.energy
            free_energy += energy(state, moved) - energy(state, stage.x_free)
        return jnp.mean(cost) + problem.collision_rate * free_energy

    def log_determinant(self, response: Response, h: float) -> Float[Array, " n"]:
        if self.log_det == "linear":
            return h * response.divergence
        return jnp.log(determinant(response.matrix, h))
