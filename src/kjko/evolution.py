"""The time loop, on the host around one compiled step."""

import math
import time
from collections.abc import Iterator

import jax

from kjko.diagnostics import Record, References, check, measure, references
from kjko.interfaces import Particles
from kjko.problem import Problem
from kjko.solver import Solver, State


def evolve(
    problem: Problem, solver: Solver, refs: References, state: State, steps: int, seed: int
) -> Iterator[tuple[State, Record]]:
    """Take steps until the state has `steps` of them; yield each state with its record.

    What the method learns before the first step counts to that step's seconds.

    Raises NumericalFailure at the step that went wrong; the states yielded before it are good.
    """
    key = jax.random.key(seed)
    start = time.perf_counter()
    if int(state.step) == 0:
        state = solver.begin(problem, state, steps, key)
    for _ in range(int(state.step), steps):
        state, info = solver.step(problem, state, key)
        record = measure(problem, solver, refs, state, info)
        record["seconds"] = time.perf_counter() - start
        check(record)
        yield state, record
        start = time.perf_counter()


def number_of_steps(end_time: float, time_step: float) -> int:
    """⌈T/Δt⌉, forgiving the rounding of T/Δt. Raises ValueError if that is no number of steps."""
    ratio = end_time / time_step
    if not 0 < ratio < 2**31 - 1:  # a step is counted in 32 bits
        raise ValueError(
            f"end_time: expected 1 to 2^31 steps of time_step = {time_step:g}, got {end_time:g}"
        )
    return max(1, math.ceil(ratio - 1e-9))


def simulate(
    problem: Problem, solver: Solver, particles: Particles, end_time: float, seed: int = 0
) -> Iterator[tuple[State, Record]]:
    """Solve from `particles` at t = 0 to `end_time`; yield (state, record) from t = 0 on.

    `record` is a dictionary with the keys of series.jsonl, see `kjko.diagnostics.measure`.
    Raises NumericalFailure if a step gives a value that is not finite or a map that folds.
    """
    steps = number_of_steps(end_time, solver.time_step)
    refs = references(problem, particles)
    state = solver.init(problem, particles)
    record = measure(problem, solver, refs, state, None)
    check(record)
    yield state, record
    yield from evolve(problem, solver, refs, state, steps, seed)
