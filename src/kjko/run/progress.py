"""Progress of a run, on stderr."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from kjko.interfaces import Record

QUIET_INTERVAL = 30.0  # seconds between lines where the output is no terminal


@contextlib.contextmanager
def progress(steps: int, done: int) -> Iterator[Callable[[Record], None]]:
    """One bar on a terminal; elsewhere a line every 30 s."""
    if sys.stderr.isatty():
        with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as bar:

            def show_bar(record: Record) -> None:
                bar.set_postfix_str(_summary(record), refresh=False)
                bar.update()

            yield show_bar
        return
    begun = last = time.monotonic()

    def show_line(record: Record) -> None:
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


def _summary(record: Record) -> str:
    parts = [f"t = {record['time']:.4g}"]
    for name in ("free_energy", "energy_kinetic"):
        if record.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} = {record[name]:.5g}")
            break
    return ", ".join(parts)
