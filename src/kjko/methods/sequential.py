"""The step of the methods that fit a control at every step: Algorithm 1."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Key

from kjko.interfaces import (
    AbstractSequential,
    Control,
    FitResult,
    ForceState,
    Particles,
    Stage,
    State,
    StepInfo,
)
from kjko.problem import Problem
from kjko.subproblem import Subproblem
from kjko.transport import move, response


def sequential_step(
    method: AbstractSequential, problem: Problem, solver: Any, state: State, key: Key
) -> tuple[State, StepInfo]:
    """Prepare, fit, move, finish; no fit if ε = 0."""
    dt, integrator = solver.time_step, solver.integrator
    stage, force = integrator.prepare(state.particles, problem.force, state.force, dt)
    substeps = integrator.substeps(problem.collision_rate * dt)
    key = jax.random.fold_in(key, state.step)
    collide = partial(_collide, method, problem, solver, force, dt / substeps)
    if problem.collision_rate == 0:
        moved, info = _pass(stage, state.control)
    elif substeps == 1:
        moved, info = collide(stage, state.control, key)
    else:
        moved, info = _repeat(collide, stage, state.control, key, substeps)
    particles, force = integrator.finish(moved, problem.force, force, dt)
    particles = eqx.tree_at(lambda p: p.x, particles, problem.wrap(particles.x))
    return State(state.step + 1, particles, force, info.fit.control), info


def _collide(
    method: AbstractSequential,
    problem: Problem,
    solver: Any,
    force: ForceState,
    dt: float,
    stage: Stage,
    previous: Control,
    key: Key,
) -> tuple[Particles, StepInfo]:
    """Fit a control and move the particles by it."""
    h = solver.integrator.fraction * dt
    subproblem = Subproblem(method, problem, force, h, dt)
    fit = solver.fit(subproblem, solver.control, previous, stage, key)
    by = response(fit.control, stage)
    moved, _ = move(method, stage, by, dt)
    if method.implicit:
        middle, _ = move(method, stage, by, h)
        when = solver.integrator.fraction
    else:
        middle = Particles(stage.x, stage.v, stage.log_f)
        when = 0.5 if stage.is_split else 0.0  # the map is done and the collision is not
    return moved, StepInfo(fit, by.u, middle, subproblem.det_min(by), when)


def _pass(stage: Stage, control: Control) -> tuple[Particles, StepInfo]:
    """The step without a control, which stays as it is; there is no loss."""
    moved = Particles(stage.x_free, stage.v_free, stage.log_f)
    zero, one = jnp.zeros((), stage.v.dtype), jnp.ones((), stage.v.dtype)
    fit = FitResult(control, jnp.nan * zero, jnp.nan * zero, 0)
    return moved, StepInfo(fit, jnp.zeros_like(stage.v), moved, one)


def _repeat(
    collide: Callable, stage: Stage, control: Control, key: Key, substeps: int
) -> tuple[Particles, StepInfo]:
    """Several moves one after the other. What the middle one tells, with the last control, the
    smallest determinant and the iterations of all.

    Only for a stage whose control acts after the map: x does not change.
    """
    arrays, static = eqx.partition(control, eqx.is_array)

    def tell(particles, arrays, key):
        stage = Stage(particles.x, particles.v, particles.x, particles.v, particles.log_f)
        moved, info = collide(stage, eqx.combine(arrays, static), key)
        arrays, _ = eqx.partition(info.fit.control, eqx.is_array)
        return moved, arrays, eqx.tree_at(lambda i: i.fit.control, info, None)

    def substep(carry, drawn):
        (particles, arrays, middle), (number, key) = carry, drawn
        moved, arrays, told = tell(particles, arrays, key)
        kept = jax.tree.map(
            lambda new, old: jnp.where(number == substeps // 2, new, old), told, middle
        )
        lowest = jnp.where(number == 0, told.det_min, jnp.minimum(middle.det_min, told.det_min))
        iterations = middle.fit.iterations + told.fit.iterations
        kept = eqx.tree_at(lambda i: (i.det_min, i.fit.iterations), kept, (lowest, iterations))
        return (moved, arrays, kept), None

    start = Particles(stage.x_free, stage.v_free, stage.log_f)
    shapes = jax.eval_shape(lambda: tell(start, arrays, key)[2])
    middle = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    drawn = (jnp.arange(substeps), jax.random.split(key, substeps))
    (moved, arrays, info), _ = jax.lax.scan(substep, (start, arrays, middle), drawn)
    last = eqx.combine(arrays, static)
    return moved, eqx.tree_at(
        lambda i: i.fit.control, info, last, is_leaf=lambda leaf: leaf is None
    )
