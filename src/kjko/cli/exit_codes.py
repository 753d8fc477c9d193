"""Exit codes, and the one line of a failure."""

import contextlib
import logging
import re
import sys
import traceback
from collections.abc import Iterator

import typer

from kjko.cli.processes import has_joined, leave_the_others
from kjko.signals import RESUMABLE, STOPPED, Interrupted
from kjko.streams import silence

BAD_INPUT, NUMERICAL, INPUT_OUTPUT, NO_CHECKPOINT = 2, 3, 4, 5
PACKAGE = "kinetic-jko"
HALF = 500  # of the letters of a message
log: logging.Logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """An expected failure becomes one line and its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        log.error("stopped")
        leave_the_others(STOPPED)
        raise typer.Exit(STOPPED) from None
    except BrokenPipeError:  # as in `kjko show CASE | head -1`: no one wants more of it
        silence(sys.stdout)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            if has_joined():
                traceback.print_exc()
            leave_the_others(1)
            raise
        log.error(_line(_text(error)))
        if code not in (NUMERICAL, RESUMABLE):  # which end all processes at the same step
            leave_the_others(code)
        raise typer.Exit(code) from None


def _text(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name}: expected this package, got none; `{pip_line(error.name or '')}`"
    if _is_lost(error):
        return f"another process of the run has ended; `kjko resume` goes on ({error})"
    return f"out of memory: {error}" if _lacks_memory(error) else str(error)


def pip_line(module: str) -> str | None:
    """What installs a module that the package or one of its extras needs; None for any other."""
    from importlib.metadata import requires

    wanted = module.partition(".")[0].lower()
    for requirement in requires(PACKAGE) or ():
        distribution = re.split(r"[^\w.-]", requirement)[0]
        if re.sub(r"[-.]", "_", distribution).lower() == wanted:
            extra = re.search(r"extra == .(\w+)", requirement)
            return f"pip install '{PACKAGE}{f'[{extra[1]}]' if extra else ''}'"
    return None


def _line(text: str) -> str:
    """One line. Of a long one the middle is left out: the key comes first, what to do last."""
    line = " ".join(text.split())
    return line if len(line) <= 2 * HALF else f"{line[:HALF]} … {line[-HALF:]}"


def _exit_code(error: Exception) -> int | None:
    """None for what is not expected."""
    if isinstance(error, ModuleNotFoundError):  # perhaps of what is imported below
        return None if pip_line(error.name or "") is None else BAD_INPUT
    from kjko.case import BadInput
    from kjko.observe import NumericalFailure
    from kjko.run.checkpoints import NoCheckpoint

    codes = {
        BadInput: BAD_INPUT,
        NumericalFailure: NUMERICAL,
        OSError: INPUT_OUTPUT,
        NoCheckpoint: NO_CHECKPOINT,
        Interrupted: RESUMABLE,
    }
    if _lacks_memory(error) or _is_lost(error):
        return INPUT_OUTPUT
    return next((code for kind, code in codes.items() if isinstance(error, kind)), None)


def _is_lost(error: Exception) -> bool:
    """Whether another process of the run has ended while this one waited for it."""
    words = ("Gloo", "NCCL", "Connection closed", "coordination service")
    return has_joined() and any(word in str(error) for word in words)


def _lacks_memory(error: Exception) -> bool:
    """Whether numpy or jax has found none."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
