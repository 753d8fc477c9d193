"""Stochastic particles."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Key

from kjko.integrators import StrangMidpoint
from kjko.interfaces import AbstractMethod, Particles, State, StepInfo
from kjko.problem import Problem


class Langevin(AbstractMethod):
    """Langevin dynamics: samples of the same equation, without a density.

        dx = v dt,    dv = −∇φ(x) dt − ε v dt + √(2εT₀) dW

    Between two half steps of Störmer-Verlet the Ornstein-Uhlenbeck process is exact,

        v' = e^{−εΔt} v + √(T₀ (1 − e^{−2εΔt})) ξ,    ξ standard normal.

    Second order in law. Nothing is learned: integrator, control and fit are not used.
    """

    carries_density: ClassVar[bool] = False

    def begin(self, problem: Problem, solver: Any, state: State, steps: int, key: Key) -> State:
        return state

    def step(self, problem: Problem, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        dt, split = solver.time_step, StrangMidpoint()
        stage, force = split.prepare(state.particles, problem.force, state.force, dt)  # t + dt/2
        rate = problem.collision_rate * dt
        width = jnp.sqrt(-problem.temperature * jnp.expm1(-2 * rate))
        noise = jax.random.normal(jax.random.fold_in(key, state.step), stage.v.shape, stage.v.dtype)
        v = jnp.exp(-rate) * stage.v + width * noise  # after the collision
        moved = Particles(stage.x, v, jnp.full_like(stage.log_f, jnp.nan))
        particles, force = split.finish(moved, problem.force, force, dt)  # t + dt
        wrapped = Particles(problem.wrap(particles.x), particles.v, particles.log_f)
        return State(state.step + 1, wrapped, force, state.control), StepInfo()
