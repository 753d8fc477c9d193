"""Progress of a run, on stderr."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from kjko.interfaces import Record

QUIET_INTERVAL = 30.0  # seconds between lines where the output is no terminal


@contextlib.contextmanager
def progress(begins: str, steps: int, done: int) -> Iterator[Callable[[Record], None]]:
    """A line on what begins, then one bar on a terminal, elsewhere a line every 30 s.

    The first step is compiled: the time left is told from what comes after it.
    """
    sys.stderr.write(begins + "\n")
    sys.stderr.flush()
    if sys.stderr.isatty():
        with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as bar:

            def show_bar(record: Record) -> None:
                bar.set_postfix_str(_summary(record), refresh=False)
                if record["step"] > done + 1:
                    bar.update()
                    return
                bar.n = bar.initial = bar.last_print_n = done + 1
                bar.unpause()  # the time of the first step does not count
                bar.refresh()

            yield show_bar
        return
    begun, last = 0.0, time.monotonic()

    def show_line(record: Record) -> None:
        nonlocal begun, last
        now, after = time.monotonic(), record["step"] - done - 1
        if after == 0:
            begun = now
        if now - last < QUIET_INTERVAL and record["step"] < steps:
            return
        last = now
        left = f", {(now - begun) / after * (steps - record['step']):.0f} s left" if after else ""
        sys.stderr.write(f"step {record['step']}/{steps}, {_summary(record)}{left}\n")
        sys.stderr.flush()

    yield show_line


def _summary(record: Record) -> str:
    parts = [f"t = {record['time']:.4g}"]
    for name in ("free_energy", "energy_kinetic"):
        if record.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} = {record[name]:.5g}")
            break
    return ", ".join(parts)
