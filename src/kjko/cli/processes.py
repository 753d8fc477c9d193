"""Which processes and devices share a run, and how one of several processes ends."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from kjko.messages import say_errors_only

OTHERS_FIRST = 5  # seconds


def ask_for(
    devices: int | None, coordinator: str | None, processes: int | None, process: int | None
) -> int | None:
    """Before jax is first used; how many devices in all."""
    from kjko.case import BadInput
    from kjko.core.sums import BLOCKS
    from kjko.devices import ask_for
    from kjko.hosts import is_writer, join

    number = _number_of_processes(devices, coordinator, processes, process)
    if devices is None and number == 1:
        return None
    devices = number if devices is None else devices
    if not 1 <= devices <= BLOCKS:
        raise BadInput(f"--devices: expected 1 to {BLOCKS}, got {devices}")
    if devices % number != 0:
        raise BadInput(f"--devices: expected a multiple of {number} processes, got {devices}")
    with contextlib.suppress(RuntimeError):  # it is in use, which is told where there are too few
        ask_for(devices // number)
    if number > 1:
        join(coordinator, processes, process)
        if not is_writer():
            say_errors_only()
    return devices


def _number_of_processes(
    devices: int | None, coordinator: str | None, processes: int | None, process: int | None
) -> int:
    """As the options say, or SLURM where devices are asked for."""
    from kjko.case import BadInput

    given = (coordinator, processes, process)
    if given == (None, None, None):
        return 1 if devices is None else int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if coordinator is None or processes is None or process is None:
        raise BadInput(
            "--coordinator: expected --processes and --process beside it; give all three"
        )
    if not coordinator.rpartition(":")[2].isdecimal() or ":" not in coordinator:
        raise BadInput(f"--coordinator: expected HOST:PORT, got {coordinator}")
    if processes < 1:
        raise BadInput(f"--processes: expected 1 or more, got {processes}")
    if not 0 <= process < processes:
        raise BadInput(f"--process: expected 0 to {processes - 1}, got {process}")
    return processes


@contextlib.contextmanager
def shared_out_among(number: int | None) -> Iterator[None]:
    """Where particles are shared out among so many devices, or left alone for None."""
    if number is None:
        yield
        return
    from kjko.case import BadInput
    from kjko.devices import several

    try:
        context = several(number)
    except ValueError as error:
        raise BadInput(f"--{error}") from None
    with context:
        yield


def leave_the_others(code: int) -> None:
    """End at once if this is one of several processes: the others may wait for this one, which
    would else wait for them. The end of the first one aborts the others, which may be about to
    refuse the same: it lets them go first.
    """
    if has_joined():
        from kjko.hosts import is_writer

        sys.stderr.flush()
        if is_writer():
            time.sleep(OTHERS_FIRST)
        os._exit(code)


def has_joined() -> bool:
    """Whether this is one of several processes of a run."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()
