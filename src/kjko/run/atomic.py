"""Files that are written whole or not at all.

They are written to a temporary name, synced and renamed, so that a crash or a full disk leaves the
old one or none.
"""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """All of the file or nothing of it. Raises OSError with the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise
