"""What state a run folder is in, and whether its files are whole."""

from collections.abc import Callable, Iterator

from kjko.run.checkpoints import damaged_checkpoints, newest_step
from kjko.run.claim import held_by
from kjko.run.damaged import Damaged
from kjko.run.passages import PASSAGES, last_passage
from kjko.run.reader import Run, read_frame
from kjko.simulation import number_of_steps


def status(run: Run) -> tuple[str, list[str]]:
    """One line on where a run is, and one on each of its files that is damaged or lacks a step."""
    by, solver = held_by(run.folder), run.case["solver"]
    recorded = {record["step"] for record in run.records}
    checkpoint = newest_step(run.folder)
    step = max((*recorded, checkpoint), default=0)
    steps = number_of_steps(solver["end_time"], solver["time_step"])
    if by is not None:
        line = f"running, at step {step} of {steps}, as process {by['process']} on {by['host']}"
    elif checkpoint == steps:
        line = f"finished, {steps} steps"
    else:
        line = f"stopped at step {step} of {steps}; `kjko resume {run.folder}` goes on"
    damage = [*_incomplete(run, step, recorded), *_damaged(run)]
    return f"{run.folder}: {line}", damage


def _incomplete(run: Run, step: int, recorded: set[int]) -> Iterator[str]:
    """What lacks some of the steps until one that the run has got to."""
    missing = step - len(recorded & set(range(1, step + 1)))
    if missing:
        yield f"{run.folder / 'series.jsonl'}: it lacks {missing} of {step} steps"
    passages = run.folder / PASSAGES
    last = last_passage(passages) if passages.exists() else step
    if last < step:
        yield f"{passages}: it tells of {last} of {step} steps"


def _damaged(run: Run) -> Iterator[str]:
    for path in run.snapshot_files:
        yield from _told(lambda path=path: run.snapshot(path))
    for path in run.frame_files:
        yield from _told(lambda path=path: read_frame(path))
    for read in (lambda: run.stationary, lambda: run.wave):
        yield from _told(read)
    for path in damaged_checkpoints(run.folder):
        yield f"{path}: cannot be read"


def _told(read: Callable[[], object]) -> Iterator[str]:
    """What a reader complains of."""
    try:
        read()
    except Damaged as error:
        yield str(error)
