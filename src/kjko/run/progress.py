"""Progress of a run: a bar on a terminal, elsewhere a line every 30 s."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kjko.interfaces import Record
from kjko.messages import are_lines

if TYPE_CHECKING:
    from rich.progress import Progress

INTERVAL = 30.0  # seconds between lines
REFRESH = 0.1  # seconds between drawings of a bar
SHOWN = {"time": "t", "free_energy": "F", "det_min": "det", "fit_r2": "R²"}
INSTEAD = "energy_kinetic"  # where there is no free energy
log: logging.Logger = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(begins: str, steps: int, done: int) -> Iterator[Callable[[Record], None]]:
    """A line on what begins; then what is yielded is told of the record of each step.

    The first step is compiled: the time left is told from what comes after it.
    """
    log.info(begins)
    begun = last = time.monotonic()
    with _bar(steps, done) as bar:

        def show(record: Record) -> None:
            nonlocal begun, last
            now, step = time.monotonic(), record["step"]
            after = step - done - 1
            if after == 0:
                begun = now
            left = (now - begun) / after * (steps - step) if after else None
            if now - last < (INTERVAL if bar is None else REFRESH) and step < steps:
                return
            last = now
            if bar is None:
                fields = {"step": step, "steps": steps, **_shown(record), "seconds_left": left}
                line = f"step {step}/{steps}, {_summary(record, left)}"
                log.info(line, extra={"fields": fields})
            else:
                bar.update(bar.task_ids[0], completed=step, told=_summary(record, left))
                bar.start()  # the first time
                bar.console.show_cursor(True)  # a signal may end the process at once
                bar.refresh()

        yield show


@contextlib.contextmanager
def _bar(steps: int, done: int) -> "Iterator[Progress | None]":
    """A bar that has not begun, where one can be drawn."""
    if not (are_lines() and log.isEnabledFor(logging.INFO)):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    told = TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True))
    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(20), told)
    bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
    bar.add_task("", total=steps, completed=done, told="")
    if bar.console.is_dumb_terminal:
        yield None
        return
    try:
        yield bar
    finally:
        bar.stop()


def _shown(record: Record) -> dict[str, Any]:
    """What there is of what is shown."""
    found = {key: record[key] for key in SHOWN if record.get(key) is not None}
    if "free_energy" not in found and record.get(INSTEAD) is not None:
        found[INSTEAD] = record[INSTEAD]
    return found


def _summary(record: Record, left: float | None) -> str:
    parts = [
        f"{SHOWN.get(key, 'kinetic energy')} = {value:.{4 if key == 'time' else 5}g}"
        for key, value in _shown(record).items()
    ]
    return ", ".join([*parts, *([] if left is None else [f"{_rounded(left)} left"])])


def _rounded(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
