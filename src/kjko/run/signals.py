"""Stopping a run by a signal."""

import contextlib
import signal
from collections.abc import Iterator


class Interrupted(Exception):
    """A signal stopped the run; its checkpoint is written."""


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
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
