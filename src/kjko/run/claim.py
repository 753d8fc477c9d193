"""A folder belongs to one process at a time."""

import contextlib
import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from kjko.case import BadInput
from kjko.run.atomic import is_alive, remove_left_overs

LOCK = "run.lock"
NO_LOCKS = (  # what a network file system without them says
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be, while the block runs.

    By an advisory lock on `run.lock`, which a process that has died no longer has. Where the file
    system has no locks it is what the file says: a process of this machine that is alive, or one of
    any other, holds the folder, and two that come within an instant of each other both get it.

    Raises BadInput if another process holds it.
    """
    file = _lock(folder)
    try:
        file.truncate(0)
        json.dump({"host": platform.node(), "process": os.getpid()}, file)
        file.flush()
        remove_left_overs(folder)
        yield
    finally:
        file.truncate(0)  # held by no one; the file stays, so that all lock the same one
        file.close()


def _lock(folder: Path) -> TextIO:
    """The lock file, locked."""
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  the caller holds it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        without = error.errno in NO_LOCKS
        if without and not _is_alive(holder(folder)):
            return file
        file.close()
        if without or isinstance(error, BlockingIOError):
            raise _held(folder) from None
        raise
    return file


def held_by(folder: Path) -> dict[str, Any] | None:
    """The host and process that hold a folder; None if none does."""
    by = holder(folder)
    if by is None:
        return None
    with open(folder / LOCK, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return by
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return by if _is_alive(by) else None
    return None  # the file is what a process has left that was killed


def holder(folder: Path) -> dict[str, Any] | None:
    """The host and process that hold a folder, or held it when they died; None if none does."""
    try:
        found = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(found, dict) and isinstance(found.get("process"), int)
    return found if known and isinstance(found.get("host"), str) else None


def _is_alive(process: dict[str, Any] | None) -> bool:
    """Whether a process runs, as far as can be known: of another machine it is taken to."""
    if process is None:
        return False
    return process["host"] != platform.node() or is_alive(process["process"])


def check_free(folder: Path) -> None:
    """Raises BadInput if a process holds the folder."""
    if held_by(folder) is not None:
        raise _held(folder)


def _held(folder: Path) -> BadInput:
    by = holder(folder)
    who = f"process {by['process']} on {by['host']}" if by else "another process"
    return BadInput(
        f"{folder}: {who} writes to it, as {LOCK} says; wait, stop that one, or name another folder"
    )


def new_folder(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, … that does not exist, made at once: of two
    processes each gets its own.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    number, free = 1, folder
    while True:
        try:
            free.mkdir()
            return free
        except FileExistsError:
            number += 1
            free = folder.with_name(f"{folder.name}-{number}")
