"""What the command says on stderr, by `logging`: lines, or an object of JSON a line."""

import contextlib
import json
import logging
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any


class Lines(logging.Formatter):
    """Warnings and errors begin with the name of the command."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if record.levelno <= logging.INFO else f"kjko: {line}"


class JSONLines(logging.Formatter):
    """Time, level, message, and the `fields` that are given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": super().format(record),
            "fields": {key: _finite(value) for key, value in getattr(record, "fields", {}).items()},
        }
        return json.dumps(told, ensure_ascii=False)


class _ToStderr(logging.Handler):
    """To stderr as it is at the time: it is mended, and a bar puts itself below what is said."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


_handler = _ToStderr()
_handler.setFormatter(Lines())


@contextlib.contextmanager
def speaking(quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """A block in which messages are said: warnings and errors only if it is `quiet`."""
    root, own = logging.getLogger(), logging.getLogger("kjko")
    before, level, is_first = _handler.formatter, own.level, _handler not in root.handlers
    root.addHandler(_handler)
    _handler.setFormatter(JSONLines() if as_json else Lines())
    own.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        _handler.setFormatter(before)
        own.setLevel(level)
        if is_first:
            root.removeHandler(_handler)


def say_errors_only() -> None:
    """For all but the first of several processes."""
    logging.getLogger("kjko").setLevel(logging.ERROR)


def are_lines() -> bool:
    """Whether messages are said, as lines, to a terminal."""
    is_said = _handler in logging.getLogger().handlers
    return is_said and isinstance(_handler.formatter, Lines) and sys.stderr.isatty()


def error(message: str) -> bytes:
    """How an error is said, for where nothing but a system call may be made."""
    fields = {"msg": message, "levelno": logging.ERROR, "levelname": "ERROR"}
    return f"{_handler.format(logging.makeLogRecord(fields))}\n".encode()


def _finite(value: Any) -> Any:
    """JSON has neither infinity nor nan."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
