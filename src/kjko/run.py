"""A case becomes a run folder: the loop with its records, checkpoints, progress and signals."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from kjko import store
from kjko.case import BadInput, Case, parse_toml
from kjko.diagnostics import NumericalFailure, References, check, measure, references
from kjko.evolution import evolve, number_of_steps
from kjko.problem import Problem
from kjko.solver import Solver, State

QUIET_INTERVAL = 30.0  # seconds between lines where the output is no terminal
log = logging.getLogger(__name__)


class Interrupted(Exception):
    """A signal stopped the run; its checkpoint is written."""


def start(case: Case, folder: Path) -> None:
    """Run a case into a new folder.

    Raises BadInput if the folder is in use, NumericalFailure if a step goes wrong, Interrupted
    after Ctrl-C or SIGTERM, OSError if the folder cannot be written.
    """
    check_unused(folder)
    with _stopping() as stop, _quiet():
        setup = _set_up(case)
        state, refs = setup.start, setup.refs
        first = measure(setup.problem, setup.solver, refs, state, None)
        check(first)
        made_by = store.manifest(case.particles.seed, case.solver.precision)
        store.begin(folder, case.to_toml(), made_by, refs)
        store.append_record(folder, first)
        if 0 in _snapshot_steps(case):
            store.write_snapshot(folder, state, 0.0, refs.bins)
        if case.output.histogram_every:
            store.write_histogram(folder, state, 0.0, _length(setup.problem))
        store.write_checkpoint(folder, state)
        _continue(case, folder, setup, state, stop)


def resume(case: Case, folder: Path) -> None:
    """Go on from the newest checkpoint that can be read. Raises as `start`, and NoCheckpoint.

    `case`: the folder's own, by `read_case`.
    """
    with _stopping() as stop, _quiet():
        setup = _set_up(case)
        state, damaged = store.read_checkpoint(folder, like=setup.start)
        for name in damaged:
            log.warning("%s is damaged; going on from step %d", name, state.step)
        missing = store.truncate_series(folder, int(state.step))
        if missing:
            log.warning("series.jsonl has lost the records of %d steps", len(missing))
        _continue(case, folder, setup, state, stop)


def read_case(folder: Path) -> Case:
    """The case of a run folder. Raises BadInput if it is none."""
    path = folder / "case.toml"
    try:
        return parse_toml(path.read_text(encoding="utf-8"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(
            f"{folder}: expected a run folder, got one without case.toml; name what --out named"
        ) from None
    except UnicodeDecodeError:
        raise BadInput(f"{folder / 'case.toml'}: not valid TOML: expected UTF-8 text") from None


def check_unused(folder: Path) -> None:
    """Raise BadInput if the folder is not new or empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder / "case.toml").exists():
        raise BadInput(
            f"--out {folder}: holds another run; `kjko resume {folder}` goes on with it,"
            " or name a new folder"
        )
    if folder.exists():
        raise BadInput(f"--out {folder}: expected a new or empty folder; name another")


class _Setup(NamedTuple):
    problem: Problem
    solver: Solver
    refs: References
    start: State  # at t = 0


def _set_up(case: Case) -> _Setup:
    problem, solver, particles = case.build()
    refs = references(problem, particles)
    return _Setup(problem, solver, refs, solver.init(problem, particles))


def _snapshot_steps(case: Case) -> set[int]:
    solver = case.solver
    return {round(t / solver.time_step) for t in case.output.snapshot_times if t <= solver.end_time}


def _length(problem: Problem) -> float | None:
    """Of the box along x₁."""
    return None if problem.box is None else float(problem.box.length[0])


def _continue(case: Case, folder: Path, setup: _Setup, state: State, stop: list[int]) -> None:
    """The loop from a state that is on disk."""
    problem, solver, refs, _ = setup
    step, steps = int(state.step), number_of_steps(case.solver.end_time, solver.time_step)
    snapshot_steps = _snapshot_steps(case)
    loop = evolve(problem, solver, refs, state, steps, case.particles.seed)
    with _progress(steps, step) as show:
        try:
            while step < steps:
                if stop:
                    raise Interrupted(
                        f"stopped at step {step} of {steps}; `kjko resume {folder}` goes on"
                    )
                state, record = next(loop)
                step = record["step"]
                store.append_record(folder, record)
                if step in snapshot_steps or step == steps:
                    store.write_snapshot(folder, state, record["time"], refs.bins)
                if case.output.histogram_every and step % case.output.histogram_every == 0:
                    store.write_histogram(folder, state, record["time"], _length(problem))
                if step % case.output.checkpoint_every == 0 or step == steps:
                    store.write_checkpoint(folder, state)
                show(record)
            if refs.wave is not None:
                store.write_wave(folder, refs.wave)
        except (NumericalFailure, Interrupted):
            store.write_checkpoint(folder, state)  # the last good state
            raise


def _quiet():
    """No warnings of numpy: `check` tells of what is not finite."""
    return np.errstate(all="ignore")


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C or SIGTERM; a second signal stops at once."""
    received: list[int] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)

    previous = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(steps: int, done: int):
    """One bar on a terminal; elsewhere a line every 30 s."""
    if sys.stderr.isatty():
        with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as bar:

            def show_bar(record):
                bar.set_postfix_str(_summary(record), refresh=False)
                bar.update()

            yield show_bar
        return
    begun = last = time.monotonic()

    def show_line(record):
        nonlocal last
        now = time.monotonic()
        if now - last < QUIET_INTERVAL and record["step"] < steps:
            return
        last = now
        left = (now - begun) / (record["step"] - done) * (steps - record["step"])
        text = f"step {record['step']}/{steps}, {_summary(record)}, {left:.0f} s left"
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    yield show_line


def _summary(record) -> str:
    name = "energy_kinetic" if record["free_energy"] is None else "free_energy"
    return f"t = {record['time']:.4g}, {name.replace('_', ' ')} = {record[name]:.5g}"
