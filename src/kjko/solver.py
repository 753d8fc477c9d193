"""The time stepper."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from kjko.fit import Newton
from kjko.integrators import StrangMidpoint
from kjko.interfaces import (
    AbstractFit,
    AbstractIntegrator,
    AbstractMethod,
    Control,
    FitResult,
    ForceState,
    Particles,
    Stage,
)
from kjko.methods import JKO
from kjko.problem import Problem
from kjko.subproblem import Subproblem
from kjko.transport import move, response


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
    fit: AbstractFit = Newton()

    def __check_init__(self):
        if not self.time_step > 0:
            raise ValueError(f"time_step: must be > 0, got {self.time_step}")

    def init(self, problem: Problem, particles: Particles) -> State:
        """The state at t = 0. Raises ValueError if the time step is too long for the plasma."""
        problem.check_time_step(self.time_step)
        return State(
            step=jnp.asarray(0, dtype=jnp.int32),
            particles=particles,
            force=problem.force.init(particles, problem.mass),
            control=self.control,
        )

    @eqx.filter_jit
    def step(self, problem: Problem, state: State, key: Key) -> tuple[State, StepInfo]:
        """One step of Algorithms 1 and 2: prepare, fit, move, finish; no fit if ε = 0.

        `key` is the run's; the step's own is folded from it, so a resumed run draws the same.
        """
        dt = self.time_step
        stage, force = self.integrator.prepare(state.particles, problem.force, state.force, dt)
        substeps = self.integrator.substeps(problem.collision_rate * dt)
        key = jax.random.fold_in(key, state.step)
        collide = partial(self._collide, problem, force, dt / substeps)
        if problem.collision_rate == 0:
            moved, info = _pass(stage, state.control)
        elif substeps == 1:
            moved, info = collide(stage, state.control, key)
        else:
            moved, info = _repeat(collide, stage, state.control, key, substeps)
        particles, force = self.integrator.finish(moved, problem.force, force, dt)
        particles = eqx.tree_at(lambda p: p.x, particles, problem.wrap(particles.x))
        return State(state.step + 1, particles, force, info.fit.control), info

    def _collide(
        self,
        problem: Problem,
        force: ForceState,
        dt: float,
        stage: Stage,
        previous: Control,
        key: Key,
    ) -> tuple[Particles, StepInfo]:
        """Fit a control and move the particles by it."""
        h = self.integrator.fraction * dt
        subproblem = Subproblem(self.method, problem, force, h, dt)
        fit = self.fit(subproblem, self.control, previous, stage, key)
        by = response(fit.control, stage)
        middle, _ = move(self.method, stage, by, h)
        moved, _ = move(self.method, stage, by, dt)
        return moved, StepInfo(fit, by.u, middle, subproblem.det_min(by))


def _pass(stage: Stage, control: Control) -> tuple[Particles, StepInfo]:
    """The step without a control, which stays as it is; there is no loss."""
    moved = Particles(stage.x_free, stage.v_free, stage.log_f)
    zero, one = jnp.zeros((), stage.v.dtype), jnp.ones((), stage.v.dtype)
    fit = FitResult(control, jnp.nan * zero, jnp.nan * zero, 0)
    return moved, StepInfo(fit, jnp.zeros_like(stage.v), moved, one)


def _repeat(
    collide: Callable, stage: Stage, control: Control, key: Key, substeps: int
) -> tuple[Particles, StepInfo]:
    """Several moves one after the other. What the middle one tells, with the last control.

    Only for a stage whose control acts after the map: x does not change.
    """
    arrays, static = eqx.partition(control, eqx.is_array)

    def substep(carry, key):
        particles, arrays = carry
        stage = Stage(particles.x, particles.v, particles.x, particles.v, particles.log_f)
        moved, info = collide(stage, eqx.combine(arrays, static), key)
        arrays, _ = eqx.partition(info.fit.control, eqx.is_array)
        told = eqx.tree_at(lambda i: i.fit.control, info, None)
        return (moved, arrays), told

    start = (Particles(stage.x_free, stage.v_free, stage.log_f), arrays)
    (moved, arrays), told = jax.lax.scan(substep, start, jax.random.split(key, substeps))
    middle = jax.tree.map(lambda leaf: leaf[substeps // 2], told)
    info = eqx.tree_at(
        lambda i: (i.fit.control, i.det_min),
        middle,
        (eqx.combine(arrays, static), jnp.min(told.det_min)),
        is_leaf=lambda leaf: leaf is None,
    )
    return moved, info
