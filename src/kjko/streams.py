"""Output streams that may be closed, full, or read by no one."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


def mend() -> None:
    """Open what was closed, on nothing: else the next file would be taken for a stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115  for good
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


def silence(stream: TextIO) -> None:
    """Let what is yet to be written to a stream go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Lossy:
    """A stream, but what cannot be written to it is lost without an error."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)


@contextlib.contextmanager
def lossy_output() -> Iterator[None]:
    """For hours of work, which must not fail because no one can read of it."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Lossy, before)  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
