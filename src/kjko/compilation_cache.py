"""Compiled programs, kept from one command to the next."""

import contextlib
import os
import platform
import re
import time
import warnings
from pathlib import Path
from typing import Any

BEGAN = time.time()  # about when this process did
VARIABLE = "KJKO_CACHE"  # another folder than the user's own, or "off"
MOST = 256 * 2**20  # bytes that the folder may take
_in_use: Path | None = None
FAILED = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(\w+)")


def be_quiet() -> None:
    """XLA tells at length of each program that is kept; to be called before it is imported."""
    if os.environ.get(VARIABLE) == "off":
        return
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # that of jax, or a parent's jax
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def keep_programs() -> None:
    """From now on jax keeps what it compiles, and looks there first; what is damaged is compiled
    anew.
    """
    global _in_use
    folder = _in_use = program_folder()
    if folder is None:
        return
    import jax

    if jax.config.jax_compilation_cache_dir == str(folder):  # pyright: ignore
        return
    forget_what_is_damaged(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def folder_in_use() -> Path | None:
    """Where this process keeps programs; None if it does not."""
    return _in_use


def program_folder() -> Path | None:
    """Where programs for this kind of processor are kept, without the oldest if there were too
    many; None if none are to be kept here, or cannot be.
    """
    asked = os.environ.get(VARIABLE)
    if asked == "off" or (not asked and "JAX_COMPILATION_CACHE_DIR" in os.environ):
        return None
    from platformdirs import user_cache_path

    folder = (Path(asked) if asked else user_cache_path("kjko")) / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _trim(folder)
    except OSError:
        return None
    return folder


def _processor() -> str:
    """Names what programs for this processor may be made of."""
    import hashlib

    kind = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kind += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(kind.encode()).hexdigest()[:16]


def _trim(folder: Path) -> None:
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process trims as well
            if path.is_file():  # XLA has folders of its own there
                entries.append((path.stat(), path))
    size = 0
    for status, path in sorted(entries, key=lambda entry: -entry[0].st_mtime):
        size += status.st_size
        if size > MOST:
            path.unlink(missing_ok=True)


def forget_what_is_damaged(folder: Path) -> None:
    """jax warns of an entry that it cannot read, and would leave it."""
    show = warnings.showwarning

    def show_or_forget(message: Warning | str, *rest: Any, **more: Any) -> None:
        found = FAILED.match(str(message))
        if found is None:
            return show(message, *rest, **more)
        if found[1] == "reading":
            for path in folder.glob(f"{found[2]}-*"):
                with contextlib.suppress(OSError):
                    path.unlink()

    warnings.showwarning = show_or_forget
