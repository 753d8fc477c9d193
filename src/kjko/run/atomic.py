"""Files that are written whole or not at all.

They are written to a temporary name, synced and renamed, so that a crash or a full disk leaves the
old one or none.
"""

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # a file system that does not sync folders


def write_atomically(path: Path, data: bytes) -> None:
    """All of the file or nothing of it. Raises OSError with the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


def write_folder_atomically(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Files by name and content, in a folder of no others, or what the folder held before. A kill
    between the two renames leaves none. Raises OSError with the name of a file.
    """
    new, old = (folder.with_name(f".{folder.name}.{kind}.{os.getpid()}.tmp") for kind in "ab")
    shutil.rmtree(new, ignore_errors=True)  # as a process of this number may have left it
    try:
        for name, data in files:
            write_atomically(new / name, data)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def append(path: Path, data: bytes) -> None:
    """All of the data at the end of a file, or nothing of it; `sync` brings it to the disk. Raises
    OSError with the file's name.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError as error:
        if path.exists():
            os.truncate(path, size)
        error.filename = str(path)
        raise


def sync(path: Path) -> None:
    """Bring a file to the disk, if there is one. Raises OSError with its name."""
    try:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        error.filename = str(path)
        raise


def is_temporary(path: Path) -> bool:
    """Whether a file is one that was being written, by its name."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_left_overs(folder: Path) -> None:
    """Remove what processes that were killed have left of files they were writing."""
    for path in list(filter(is_temporary, folder.rglob("*"))):
        number = path.name.removesuffix(".tmp").rpartition(".")[2]
        if number.isdigit() and is_alive(int(number)):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def _sync(folder: Path) -> None:
    """Make sure of the new name, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(descriptor)
