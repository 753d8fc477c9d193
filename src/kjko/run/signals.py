"""Stopping a run by a signal."""

import contextlib
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Interrupted(Exception):
    """A signal stopped the run; its checkpoint is written."""


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C, SIGTERM or what batch systems send, SIGUSR1 and SIGHUP; a
    second signal stops at once.
    """
    received: list[int] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)

    heeded = (s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN)  # not under nohup
    previous = {s: signal.signal(s, note) for s in heeded}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
