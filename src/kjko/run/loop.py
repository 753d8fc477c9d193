"""A case becomes a run folder: the loop with its records, checkpoints, progress and signals."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kjko.case import BadInput, Case, Experiment, parse_toml
from kjko.case.memory import check_step
from kjko.core import State
from kjko.core.sums import check_devices
from kjko.devices import number_in_use
from kjko.hosts import at_hand, check_alike, in_any, is_writer
from kjko.interfaces import Record
from kjko.observe import NumericalFailure, Observer, Start, check
from kjko.run.atomic import is_temporary
from kjko.run.checkpoints import case_of_checkpoint, has_checkpoints, read_checkpoint
from kjko.run.claim import LOCK, claimed, new_folder
from kjko.run.damaged import Damaged
from kjko.run.formats import FORMATS
from kjko.run.manifest import changed_key, read_manifest
from kjko.run.progress import progress
from kjko.run.reader import Run, open_run
from kjko.run.series import read_series
from kjko.run.writer import Writer
from kjko.signals import RESUMABLE, STOPPED, Interrupted, exit_at_once, stopping
from kjko.simulation import evolve

log: logging.Logger = logging.getLogger(__name__)


def run_case(case: Case, folder: str | Path) -> Run:
    """Run a case into a new folder, as `kjko run` does; figures and reports are left to commands.

        case = kjko.load("multiwell-1d", ["particles.number=1000"])
        run = kjko.run_case(case, "runs/mine")
        run.series.free_energy

    Progress goes to the logger "kjko". To be called in the main thread, where signals are.

    Raises BadInput, a ValueError, if the folder is in use or the case cannot be made,
    NumericalFailure if a step goes wrong, Interrupted after a signal, with a checkpoint to resume
    from, OSError if the folder cannot be written.
    """
    with jax.enable_x64(case.solver.precision == "double"):
        return open_run(start(case, Path(folder)))


def start(case: Case, folder: Path, numbered: bool = False, resumes: Path | None = None) -> Path:
    """Run a case into a new folder, or, if it is `numbered`, into the first of folder, folder-2,
    folder-3, … that does not exist. Returns it. `resumes`: the folder to be resumed after a signal,
    that of the sweep that the run is part of; its own if not given.

    Raises BadInput if the folder is in use, NumericalFailure if a step goes wrong, Interrupted
    after a signal, OSError if the folder cannot be written.
    """
    if not numbered:
        check_unused(folder)
    with stopping() as stop, _quiet():
        with exit_at_once(*((RESUMABLE, stopped(resumes)) if resumes else (STOPPED, "stopped"))):
            setup = _set_up(case)
            state = setup.experiment.init().shared_out()
            first = setup.observer(state, None)
            check(first)
        folder = new_folder(folder) if numbered and is_writer() else folder
        with _claimed(folder):
            if is_writer():
                check_unused(folder)  # another process may have been here by now
            with _resumable(resumes or folder):
                _from_the_start(case, setup, folder, state, first, stop, resumes or folder)
    return folder


def resume(case: Case, folder: Path, resumes: Path | None = None) -> None:
    """Go on from the newest checkpoint that can be read, or begin anew what was killed before its
    first one. Raises as `start`, and NoCheckpoint if none can be read.

    `case`: the folder's own, by `read_case`. `resumes`: as for `start`.
    """
    resumes = resumes or folder
    with _claimed(folder), stopping() as stop, _resumable(resumes), _quiet():
        _refuse_changes(case, folder)
        with exit_at_once(RESUMABLE, stopped(resumes)):
            setup = _set_up(case)
            initial = setup.experiment.init().shared_out()
        if not has_checkpoints(folder) and _is_at_its_start(folder):
            log.warning("%s has no checkpoint yet; starting over", folder)
            first = setup.observer(initial, None)
            check(first)
            return _from_the_start(case, setup, folder, initial, first, stop, resumes)
        state, damaged = read_checkpoint(folder, like=initial)
        steps, dt = setup.experiment.steps, setup.experiment.time_step
        if int(state.step) > steps:
            raise BadInput(
                f"solver.end_time: expected {int(state.step) * dt:g} or later, where the run in"
                f" {folder} has got to, got {case.solver.end_time:g}"
            )
        writer = setup.writer(folder)
        for name in writer.mend():
            log.warning("%s was damaged; it is written anew", name)
        for name in damaged:
            log.warning("%s is damaged; going on from step %d", name, state.step)
        missing = writer.forget_after(int(state.step))
        if missing:
            log.warning("series.jsonl has lost the records of %d steps", len(missing))
        if writer.forget_passages_after(int(state.step)):
            log.warning("passages.bin is damaged; the density is known at the particles only")
        records = {record["step"]: record for record in read_series(folder)}
        _continue(case, setup, writer, state, records.get(int(state.step)), stop, resumes)


def _from_the_start(
    case: Case,
    setup: "_Setup",
    folder: Path,
    state: State,
    first: Record,
    stop: Sequence[int],
    resumes: Path,
) -> None:
    """The run from its first record on. The first checkpoint comes last: before it a run that is
    killed is begun again.
    """
    writer = setup.writer(folder)
    writer.begin(case.to_toml())
    writer.record(first)
    if 0 in _snapshot_steps(case, setup.experiment.steps):
        writer.snapshot(at_hand(state))
    if case.output.histogram_every:
        writer.histogram(at_hand(state))
    writer.checkpoint(at_hand(state))
    _continue(case, setup, writer, state, first, stop, resumes)


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
        raise OSError(f"{path}: cannot be read: expected UTF-8 text") from None


def check_unused(folder: Path) -> None:
    """Raise BadInput if the folder is not new or empty, but for what a killed start has left."""
    if folder.is_dir() and all(_is_left_over(path) for path in folder.iterdir()):
        return
    if any((folder / name).exists() for name in ("case.toml", "sweep.json")):
        raise BadInput(
            f"--out {folder}: holds another run; `kjko resume {folder}` goes on with it,"
            " or name a new folder"
        )
    if folder.exists():
        raise BadInput(f"--out {folder}: expected a new or empty folder; name another")


def _is_at_its_start(folder: Path) -> bool:
    """Whether a run has got no further than its first record."""
    path = folder / "series.jsonl"
    return not path.exists() or len(path.read_bytes().splitlines()) <= 1


def _is_left_over(path: Path) -> bool:
    is_empty_series = path.name == "series.jsonl" and path.stat().st_size == 0
    return path.name == LOCK or is_temporary(path) or is_empty_series


def _refuse_changes(case: Case, folder: Path) -> None:
    """Raise BadInput for a key that is not as it was when the run was begun."""
    begun = case_of_checkpoint(folder) or _begun(folder)
    changed = changed_key(begun, case.model_dump(mode="json")) if begun else None
    if changed:
        raise BadInput(f"{folder / 'case.toml'}: {changed}; change it back, or start a new run")


def _begun(folder: Path) -> dict[str, Any] | None:
    """The case of the manifest, if it can be read."""
    try:
        return read_manifest(folder).get("case")
    except Damaged:
        return None


class _NoWriter:
    """In place of the writer in a process that writes nothing."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getattr__(self, name: str) -> Callable[..., tuple[()]]:
        return _nothing


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _claimed(folder: Path):
    return claimed(folder) if is_writer() else nullcontext()


class _Setup(NamedTuple):
    experiment: Experiment
    observer: Observer
    writer: Callable[[Path], Any]  # a Writer, or what is in its place


def _set_up(case: Case) -> _Setup:
    experiment = case.build()
    try:
        check_devices(len(experiment.particles.v))
    except ValueError as error:
        raise BadInput(f"--{error}") from None
    check_step(experiment)
    start = Start(experiment.problem, experiment.method, experiment.particles)
    observer = Observer(start, experiment.observables)
    format, content = FORMATS[case.output.format], case.model_dump(mode="json")

    def writer(folder):
        return Writer(folder, start, format, content) if is_writer() else _NoWriter(folder)

    return _Setup(experiment, observer, writer)


def _snapshot_steps(case: Case, steps: int) -> set[int]:
    """The steps after which a snapshot is written; the last is one."""
    dt, every = case.solver.time_step, case.output.snapshot_every
    asked = {round(t / dt) for t in case.output.snapshot_times if t <= case.solver.end_time}
    return asked | {steps} | (set(range(0, steps + 1, every)) if every else set())


def _continue(
    case: Case,
    setup: _Setup,
    writer: Any,
    state: State,
    record: Record | None,
    stop: Sequence[int],
    resumes: Path,
) -> None:
    """The loop from a state that is on disk, with its record."""
    problem, method, steps = (
        setup.experiment.problem,
        setup.experiment.method,
        setup.experiment.steps,
    )
    step, output, is_first = int(state.step), case.output, True
    check_alike(f"{step} {case.model_dump_json()}")
    if step == steps:
        return writer.finish()
    snapshot_steps = _snapshot_steps(case, steps)
    loop = evolve(problem, method, setup.observer, state, steps, record)
    begins = _begins(case, writer.folder, step, steps)
    with progress(begins, steps, step) if is_writer() else nullcontext(_nothing) as show:
        try:
            while step < steps:
                message = stopped(resumes, f"at step {step} of {steps}")
                if in_any(bool(stop)):
                    raise Interrupted(message)
                with exit_at_once(RESUMABLE, message) if is_first else nullcontext():
                    state, info, record = next(loop)  # the first one learns and compiles
                is_first = False  # from now on the state is not on disk
                step = record["step"]
                if output.passages:
                    writer.passage(step, at_hand(info.passage))
                writer.record(record)
                if step in snapshot_steps:
                    writer.snapshot(at_hand(state))
                if output.histogram_every and step % output.histogram_every == 0:
                    writer.histogram(at_hand(state))
                if step == steps:  # with its last checkpoint a run is done
                    writer.finish()
                if step % output.checkpoint_every == 0 or step == steps:
                    writer.checkpoint(at_hand(state))
                show(record)
        except (NumericalFailure, Interrupted):
            writer.checkpoint(at_hand(state))  # the last good state
            raise


def _begins(case: Case, folder: Path, step: int, steps: int) -> str:
    """What is about to be done, where, and on what."""
    particles, platform = f"{case.particles.number:,} particles", jax.devices()[0].platform
    if number_in_use() > 1:
        platform = f"{number_in_use()} devices ({platform})"
    return (
        f"{case.title or folder.name} into {folder}: {particles}, steps {step + 1} to {steps} on"
        f" {platform}, {case.solver.precision} precision; the first one compiles what is not kept"
    )


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """A second signal stops at once, wherever the run is."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"{stopped(folder, 'at once')} from the last checkpoint") from None


def stopped(folder: Path, where: str = "") -> str:
    """What a signal leaves to be said."""
    return f"stopped{' ' if where else ''}{where}; `kjko resume {folder}` goes on"


def _quiet():
    """No warnings of numpy: `check` tells of what is not finite."""
    return np.errstate(all="ignore")
