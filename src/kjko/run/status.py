"""What state a run folder is in, and whether its files are whole."""

from collections.abc import Iterator

from kjko.run.checkpoints import damaged_checkpoints, has_checkpoints
from kjko.run.claim import held_by
from kjko.run.passages import PASSAGES, last_passage
from kjko.run.reader import Run
from kjko.simulation import number_of_steps


def status(run: Run) -> tuple[str, list[str]]:
    """One line on where a run is, and one on each of its files that is damaged or lacks a step."""
    by, solver = held_by(run.folder), run.case["solver"]
    step = max((record["step"] for record in run.records), default=None)
    steps = number_of_steps(solver["end_time"], solver["time_step"])
    at = "before its first step" if step is None else f"at step {step} of {steps}"
    if by is not None:
        line = f"running, {at}, as process {by['process']} on {by['host']}"
    elif step == steps:
        line = f"finished, {steps} steps"
    else:
        line = f"stopped {at}; `kjko resume {run.folder}` goes on"
    return f"{run.folder}: {line}", list(_damage(run, step or 0))


def _damage(run: Run, steps: int) -> Iterator[str]:
    missing = set(range(steps + 1)) - {record["step"] for record in run.records}
    if run.records and missing:
        yield f"{run.folder / 'series.jsonl'}: it lacks {len(missing)} of {steps + 1} records"
    for path in run.snapshot_files:
        yield from _told(lambda path=path: run.snapshot(path))
    for read in (lambda: run.frames, lambda: run.stationary, lambda: run.wave):
        yield from _told(read)
    for path in damaged_checkpoints(run.folder):
        yield f"{path}: cannot be read"
    if not has_checkpoints(run.folder):
        yield f"{run.folder / 'checkpoints'}: there is none"
    passages = run.folder / PASSAGES
    if passages.exists() and last_passage(passages) < steps:
        yield f"{passages}: it tells of {last_passage(passages)} of {steps} steps"


def _told(read) -> Iterator[str]:
    """What a reader complains of."""
    try:
        read()
    except OSError as error:
        yield str(error)
