"""Score-based transport, one step after the other."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.interfaces import AbstractSequential, ForceState, Response, Stage, State, StepInfo
from kjko.methods.sequential import sequential_step
from kjko.problem import Problem
from kjko.transport import determinant


class Score(AbstractSequential):
    """Implicit score matching at the particles before the step: section 3.3.3, step by step.

        L(u) = h mean[ ½ |u|² + ε v·u − ε T₀ ∇ᵥ·u ]

    It is h/2 E|u + ε (v + T₀ ∇ᵥ log f)|² less a constant, by parts (Hyvärinen): the score is
    learned in the form of the control, which is zero at equilibrium. The control moves the
    particles by an explicit step, with its exact determinant. First order in Δt, in every
    integrator. The JKO objective has the same gradient with v' and f' *after* the step.
    """

    carries_density: ClassVar[bool] = True
    implicit: ClassVar[bool] = False

    def begin(self, problem: Problem, solver: Any, state: State, steps: int, key: Key) -> State:
        return state

    def step(self, problem: Problem, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        return sequential_step(self, problem, solver, state, key)

    def loss(
        self, response: Response, stage: Stage, problem: Problem, state: ForceState, h: float
    ) -> Float[Array, ""]:
        u = response.u
        drift = jnp.sum(stage.v * u, axis=-1) - problem.temperature * response.divergence
        return h * jnp.mean(0.5 * jnp.sum(u**2, axis=-1) + problem.collision_rate * drift)

    def log_determinant(self, response: Response, h: float) -> Float[Array, " n"]:
        return jnp.log(determinant(response.matrix, h))
