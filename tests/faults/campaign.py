"""The campaign's size, and commands in processes of their own.

All of it: FAULTS=10; a tenth without.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SHARE = float(os.environ.get("FAULTS", "1")) / 10
SETTINGS = [
    "particles.number=200",
    "solver.control.kind=affine",
    "solver.fit.kind=gauss-newton",
    "solver.end_time=1.0",
    "output.checkpoint_every=2",
    "output.snapshot_times=[0.0, 0.5]",
    "output.histogram_every=3",
]
STEPS = 10
# Compilation is most of what a small run does: programs are kept from one process to the next.
CACHE = tempfile.TemporaryDirectory()
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "KJKO_CACHE": CACHE.name,
}


def many(number: int) -> int:
    """So many in the whole campaign."""
    return max(1, round(number * SHARE))


def settings(*overrides: str) -> list[str]:
    return [word for setting in (*SETTINGS, *overrides) for word in ("--set", setting)]


class Ended(NamedTuple):
    """How a command ended, what it said, and how long it took from its start or a signal on."""

    code: int
    output: str
    errors: str
    seconds: float


def begin(folder: Path, *arguments: str) -> subprocess.Popen:
    """The command `kjko`, in a folder; with no signal ignored, as under nohup."""
    command = ["env", "--default-signal", sys.executable, "-m", "kjko", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen, number: int | None = None, after: float = 0.0) -> Ended:
    """Let it end, or send it a signal after some seconds."""
    start = time.monotonic()
    try:
        output, errors = process.communicate(timeout=after if number else 600)
    except subprocess.TimeoutExpired:
        if number is None:
            raise
        process.send_signal(number)
        start = time.monotonic()
        output, errors = process.communicate(timeout=600)
    assert "Traceback" not in errors, errors
    return Ended(process.returncode, output, errors, time.monotonic() - start)


def await_heed(process: subprocess.Popen, number: int) -> None:
    """Until Python has started, and the command heeds the signal."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = next(x for x in status.read_text().splitlines() if x.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            return
        time.sleep(0.001)


def kjko(folder: Path, *arguments: str) -> Ended:
    """The command, to its end."""
    return end(begin(folder, *arguments))
