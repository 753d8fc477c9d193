"""Stopping by a signal: after the step where there is one, at once elsewhere.

Python runs a signal's handler between two of its own instructions, and a compilation or a training
is one of them. The command therefore watches for signals in a thread.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from kjko.messages import error

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
STOPPED, RESUMABLE = 130, 75  # exit codes


class Interrupted(Exception):
    """A signal stopped the run; its checkpoint is written."""


_at_once: list[tuple[int, str] | None] = []  # the last one is in force
_received = threading.Event()


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C, SIGTERM or what batch systems send, SIGUSR1 and SIGHUP,
    for the block to look at; a second signal stops it at once.
    """
    received: list[int] = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)

    previous = {s: signal.signal(s, note) for s in _heeded()}
    _at_once.append(None)
    try:
        yield received
    finally:
        _at_once.pop()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def exit_at_once(code: int, message: str) -> Iterator[None]:
    """A block in which a signal that is watched for ends the process: nothing is lost by that."""
    _at_once.append((code, message))
    if _received.is_set():
        _leave(code, message)
    try:
        yield
    finally:
        _at_once.pop()


def watch(code: int) -> None:
    """From now on a signal ends the process with this exit code, whatever it does, or with that of
    `exit_at_once`, or is left to `stopping`.
    """
    _at_once.append((code, "stopped"))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _heeded():
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_heed, args=(reader,), daemon=True).start()


def unwatch() -> None:
    """All is done: the exit code is known, and a signal changes nothing any more."""
    _at_once.append(None)
    for number in SIGNALS:  # what is ignored stays so while Python ends
        signal.signal(number, signal.SIG_IGN)


def _heed(reader: int) -> None:
    while os.read(reader, 1):
        _received.set()  # before looking, as `exit_at_once` looks after it has told what to do
        at_once = _at_once[-1]  # the other thread may change it
        if at_once is not None:
            _leave(*at_once)


def _leave(code: int, message: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, error(message))
    os._exit(code)


def _heeded() -> Iterator[signal.Signals]:
    """All but what is ignored, as under nohup."""
    return (s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN)
