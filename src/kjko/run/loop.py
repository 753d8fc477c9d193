"""A case becomes a run folder: the loop with its records, checkpoints, progress and signals."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kjko.case import BadInput, Case, Experiment, parse_toml
from kjko.core import State
from kjko.interfaces import Record
from kjko.observe import NumericalFailure, Observer, Start, check
from kjko.run.checkpoints import read_checkpoint
from kjko.run.formats import FORMATS
from kjko.run.manifest import read_manifest
from kjko.run.progress import progress
from kjko.run.series import read_series
from kjko.run.signals import Interrupted, stopping
from kjko.run.writer import Writer
from kjko.simulation import evolve

MAY_CHANGE = ("title", "output.")  # keys, beside a longer end_time, in a run that is resumed
log = logging.getLogger(__name__)


def start(case: Case, folder: Path) -> None:
    """Run a case into a new folder.

    Raises BadInput if the folder is in use, NumericalFailure if a step goes wrong, Interrupted
    after Ctrl-C or SIGTERM, OSError if the folder cannot be written.
    """
    check_unused(folder)
    with stopping() as stop, _quiet():
        setup = _set_up(case, folder)
        state = setup.experiment.init()
        first = setup.observer(state, None)
        check(first)
        setup.writer.begin(case.to_toml(), case.model_dump(mode="json"))
        setup.writer.record(first)
        if 0 in _snapshot_steps(case, setup.experiment.steps):
            setup.writer.snapshot(state)
        if case.output.histogram_every:
            setup.writer.histogram(state)
        setup.writer.checkpoint(state)
        _continue(case, setup, state, first, stop)


def resume(case: Case, folder: Path) -> None:
    """Go on from the newest checkpoint that can be read. Raises as `start`, and NoCheckpoint.

    `case`: the folder's own, by `read_case`.
    """
    with stopping() as stop, _quiet():
        _refuse_changes(case, folder)
        setup = _set_up(case, folder)
        state, damaged = read_checkpoint(folder, like=setup.experiment.init())
        for name in damaged:
            log.warning("%s is damaged; going on from step %d", name, state.step)
        missing = setup.writer.forget_after(int(state.step))
        if missing:
            log.warning("series.jsonl has lost the records of %d steps", len(missing))
        if setup.writer.forget_passages_after(int(state.step)):
            log.warning("passages.bin is damaged; the density is known at the particles only")
        records = {record["step"]: record for record in read_series(folder)}
        _continue(case, setup, state, records.get(int(state.step)), stop)


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


def _refuse_changes(case: Case, folder: Path) -> None:
    """Raise BadInput for a key that is not as it was when the run was begun."""
    begun = read_manifest(folder).get("case")
    if begun is None:
        return
    before, now = _flat(begun), _flat(case.model_dump(mode="json"))
    for key in sorted(before.keys() | now.keys()):
        if key == "solver.end_time" or key.startswith(MAY_CHANGE):
            continue
        if before.get(key) != now.get(key):
            raise BadInput(
                f"{key}: expected {before.get(key)}, as the run in {folder} was begun with, got"
                f" {now.get(key)}; change it back, or start a new run"
            )


def _flat(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The values of nested tables by the paths of their keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = value
    return flat


class _Setup(NamedTuple):
    experiment: Experiment
    observer: Observer
    writer: Writer
    folder: Path


def _set_up(case: Case, folder: Path) -> _Setup:
    experiment = case.build()
    start = Start(experiment.problem, experiment.method, experiment.particles)
    observer = Observer(start, experiment.observables)
    return _Setup(experiment, observer, Writer(folder, start, FORMATS[case.output.format]), folder)


def _snapshot_steps(case: Case, steps: int) -> set[int]:
    """The steps after which a snapshot is written; the last is one."""
    dt, every = case.solver.time_step, case.output.snapshot_every
    asked = {round(t / dt) for t in case.output.snapshot_times if t <= case.solver.end_time}
    return asked | {steps} | (set(range(0, steps + 1, every)) if every else set())


def _continue(
    case: Case, setup: _Setup, state: State, record: Record | None, stop: Sequence[int]
) -> None:
    """The loop from a state that is on disk, with its record."""
    problem, method, steps = (
        setup.experiment.problem,
        setup.experiment.method,
        setup.experiment.steps,
    )
    step, writer, output = int(state.step), setup.writer, case.output
    snapshot_steps = _snapshot_steps(case, steps)
    loop = evolve(problem, method, setup.observer, state, steps, record)
    with progress(steps, step) as show:
        try:
            while step < steps:
                if stop:
                    raise Interrupted(
                        f"stopped at step {step} of {steps}; `kjko resume {setup.folder}` goes on"
                    )
                state, info, record = next(loop)
                step = record["step"]
                if output.passages:
                    writer.passage(step, info)
                writer.record(record)
                if step in snapshot_steps:
                    writer.snapshot(state)
                if output.histogram_every and step % output.histogram_every == 0:
                    writer.histogram(state)
                if step % output.checkpoint_every == 0 or step == steps:
                    writer.checkpoint(state)
                show(record)
            writer.finish()
        except (NumericalFailure, Interrupted):
            writer.checkpoint(state)  # the last good state
            raise


def _quiet():
    """No warnings of numpy: `check` tells of what is not finite."""
    return np.errstate(all="ignore")
