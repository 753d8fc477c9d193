"""A run by two processes, which talk over loopback."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import kjko as command
from commands import line

from kjko.run.checkpoints import newest_step
from kjko.run.series import read_series

FEW = ("--set", "particles.number=640", "--set", "solver.fit.steps=5")
FEW += ("--set", "output.snapshot_times=[]", "--set", "output.checkpoint_every=1")


def begin(*words: object, **variables: object) -> subprocess.Popen:
    asked = [sys.executable, "-m", "kjko", *map(str, words)]
    env = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def two(*words: object) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    together = ("--coordinator", address, "--processes", 2, "--process")
    return [begin(*words, *together, i) for i in range(2)]


def two_by_slurm(*words: object) -> list[subprocess.Popen]:
    """As `srun -n 2` would, whose coordinator's port is made from the number of the job."""
    job = {"SLURM_JOB_ID": os.getpid(), "SLURM_STEP_NODELIST": "localhost"}
    job |= {"SLURM_NTASKS": 2, "SLURM_STEP_NUM_TASKS": 2}
    return [begin(*words, "--devices", 2, **job, SLURM_PROCID=i, SLURM_LOCALID=i) for i in range(2)]


def ended(process: subprocess.Popen, code: int, within: float = 120.0) -> str:
    """What the process has said, which ends with the code."""
    _, said = process.communicate(timeout=within)
    assert process.returncode == code, said
    return said


def series(folder: Path) -> list[dict]:
    return [{**record, "seconds": None} for record in read_series(folder)]


def until(folder: Path, step: int) -> None:
    """Wait until a run has got there."""
    deadline = time.monotonic() + 120
    while newest_step(folder) < step:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_checkpoint_of_four_devices(tmp_path):
    """Two processes go on with it, and one does, to the same bits as one from the start."""
    alone, shared, again = (tmp_path / name for name in ("alone", "shared", "again"))
    for folder, end, devices in ((alone, 0.3, 1), (shared, 0.1, 4)):
        setting = ("--set", f"solver.end_time={end}", "--devices", devices)
        ended(begin("run", "gaussian-1d", "--out", folder, *FEW, *setting), 0)
    text = (shared / "case.toml").read_text()
    (shared / "case.toml").write_text(text.replace("end_time = 0.1", "end_time = 0.3"))
    shutil.copytree(shared, again)
    by_two = two("resume", shared)
    by_one = begin("resume", again, "--devices", 1)
    first, second, alone_again = (ended(process, 0) for process in (*by_two, by_one))
    for told in ("steps 2 to 3 on", "step 3/3, t = 0.3"):  # once: by the process that writes
        assert told in first and told in alone_again and told not in second
    assert series(alone) == series(shared) == series(again)


def test_one_is_told_to_stop_and_one_dies(tmp_path):
    """Both stop after the same step; if one is killed the other ends, and the run goes on."""
    out = tmp_path / "run"
    first, second = two("run", "gaussian-1d", "--out", out, *FEW, "--set", "solver.end_time=1000")
    until(out, 3)
    second.send_signal(signal.SIGTERM)
    told = "goes on"
    assert told in ended(first, 75) and told in ended(second, 75)
    stopped = len(series(out)) - 1
    first, second = two_by_slurm("resume", out)
    until(out, stopped + 3)
    second.kill()
    said = ended(first, 4, within=30)
    ended(second, -signal.SIGKILL)
    assert "another process of the run has ended; `kjko resume` goes on" in said
    assert "Traceback" not in said
    killed = len(series(out)) - 1
    text = (out / "case.toml").read_text()
    end = f"end_time = {0.1 * (killed + 2):.1f}"
    (out / "case.toml").write_text(text.replace("end_time = 1000.0", end))
    ended(begin("resume", out, "--devices", 2), 0)
    assert len(series(out)) == killed + 3


def test_both_refuse_a_folder(tmp_path):
    (tmp_path / "case.toml").touch()
    for words, says in (
        (("--out", tmp_path), "holds another run"),
        ((), "--out: expected a folder"),
    ):
        for process in two("run", "gaussian-1d", *FEW, *words):
            said = ended(process, 2)
            assert says in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--coordinator", "localhost:1"],
            "--coordinator: expected --processes and --process beside it; give all three",
        ),
        (
            ["--coordinator", "localhost", "--processes", 2, "--process", 0],
            "--coordinator: expected HOST:PORT, got localhost",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", 2, "--process", 2],
            "--process: expected 0 to 1, got 2",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", 0, "--process", 0],
            "--processes: expected 1 or more, got 0",
        ),
        (
            ["--coordinator", "localhost:1", "--processes", 2, "--process", 0, "--devices", 3],
            "--devices: expected a multiple of 2 processes, got 3",
        ),
    ],
)
def test_what_makes_no_processes(words, says, tmp_path):
    done = command("run", "gaussian-1d", "--out", tmp_path / "run", *words)
    assert line(done, 2) == says
    assert not (tmp_path / "run").exists()
