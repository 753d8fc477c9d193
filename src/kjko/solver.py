"""The time stepper."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from kjko.fit import Adam
from kjko.integrators import StrangMidpoint
from kjko.interfaces import (
    AbstractFit,
    AbstractIntegrator,
    AbstractMethod,
    Control,
    FitResult,
    ForceState,
    Particles,
)
from kjko.methods import JKO
from kjko.problem import Problem
from kjko.transport import determinant, move, response


class State(eqx.Module):
    """All that a run carries from step to step."""

    step: Int[Array, ""]
    particles: Particles
    force: ForceState
    control: Control


class StepInfo(eqx.Module):
    """What a step tells beside its result.

    `u`: the control at the particles. `middle`: the particles where u should be
    −ε (v + T₀ ∇ᵥ log f): after the step for which the control was fitted, at t + fraction · Δt.
    `det_min`: the smallest determinant of the step.
    """

    fit: FitResult
    u: Float[Array, "n d"]
    middle: Particles
    det_min: Float[Array, ""]


class Solver(eqx.Module):
    """How to solve: a control to fit, and the way that a step of length `time_step` is taken."""

    control: Control
    time_step: float
    integrator: AbstractIntegrator = StrangMidpoint()
    method: AbstractMethod = JKO()
    fit: AbstractFit = Adam()

    def __check_init__(self):
        if not self.time_step > 0:
            raise ValueError(f"time_step: must be > 0, got {self.time_step}")

    def init(self, problem: Problem, particles: Particles) -> State:
        """The state at t = 0."""
        return State(
            step=jnp.asarray(0, dtype=jnp.int32),
            particles=particles,
            force=problem.force.init(particles),
            control=self.control,
        )

    @eqx.filter_jit
    def step(self, problem: Problem, state: State, key: Key) -> tuple[State, StepInfo]:
        """One step of Algorithm 1: prepare, fit, move, finish.

        `key` is the run's; the step's own is folded from it, so a resumed run draws the same.
        """
        dt, h = self.time_step, self.integrator.fraction * self.time_step
        stage, force = self.integrator.prepare(state.particles, problem.force, state.force, dt)

        def objective(control, part):
            u, matrix = response(control, part)
            loss = self.method.loss(u, matrix, part, problem, force, h)
            return loss, jnp.min(determinant(matrix, dt))

        fit = self.fit(
            objective, self.control, state.control, stage, jax.random.fold_in(key, state.step)
        )
        u, matrix = response(fit.control, stage)
        middle, det_fit = move(self.method, stage, u, matrix, h)
        moved, det = move(self.method, stage, u, matrix, dt)
        particles, force = self.integrator.finish(moved, problem.force, force, dt)
        particles = eqx.tree_at(lambda p: p.x, particles, problem.wrap(particles.x))
        info = StepInfo(fit, u, middle, jnp.minimum(jnp.min(det_fit), jnp.min(det)))
        return State(state.step + 1, particles, force, fit.control), info
