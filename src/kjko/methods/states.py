"""The first state of a run, and the next one."""

from typing import Any

import jax.numpy as jnp

from kjko.core import Box, Particles, State
from kjko.core.checks import expect
from kjko.problem import Problem


def first_state(
    problem: Problem, particles: Particles, time_step: Any, seed: Any, memory: Any
) -> State:
    """The state at t = 0. Raises ValueError for a time step that is out of range."""
    dt = jnp.asarray(time_step, particles.v.dtype)
    expect("time_step", dt, lambda dt: dt > 0, "> 0")
    problem.check_time_step(dt)
    if problem.box is not None:
        _check_box(problem.box, particles)
    turns = None if problem.box is None else jnp.zeros(particles.x.shape, jnp.int32)
    return State(
        step=jnp.asarray(0, jnp.int32),
        time_step=dt,
        seed=jnp.asarray(seed, jnp.uint32),
        particles=particles,
        turns=turns,
        field=problem.flow.init(particles, problem.mass),
        memory=memory,
    )


def _check_box(box: Box, particles: Particles) -> None:
    if box.length.size != particles.x.shape[1]:
        raise ValueError(
            f"particles: expected {box.length.size} positions, as the box has sides, got"
            f" {particles.x.shape[1]}"
        )


def next_state(
    problem: Problem, state: State, particles: Particles, field: Any, memory: Any
) -> State:
    """The state a step on, with the particles taken back into the box."""
    turns = state.turns
    if problem.box is not None and turns is not None:
        x, more = problem.box.wrap(particles.x)
        particles, turns = Particles(x, particles.v, particles.log_f), turns + more
    return State(state.step + 1, state.time_step, state.seed, particles, turns, field, memory)
