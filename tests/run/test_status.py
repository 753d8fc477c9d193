"""What `kjko status` says, and `verify` of a run that is not over."""

import os

import pytest
import run_folders
from commands import kjko, line
from run_folders import STEPS, small_case

from kjko.run import loop, writer
from kjko.run.atomic import write_atomically
from kjko.run.claim import claimed
from kjko.run.writer import Writer


@pytest.fixture
def folder(tmp_path):
    loop.start(small_case(), tmp_path / "run")
    return tmp_path / "run"


def test_a_finished_run(folder):
    result = kjko("status", folder)
    assert (result.exit_code, result.stdout) == (0, f"{folder}: finished, {STEPS} steps\n")


def test_a_run_that_goes_on(folder):
    with claimed(folder):
        result = kjko("status", folder)
        said = line(kjko("verify", folder), 2)
    assert f": running, at step {STEPS} of {STEPS}, as process {os.getpid()} on " in result.stdout
    assert said.startswith(f"{folder}: process {os.getpid()} on ")


def test_a_run_that_was_stopped(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "snapshot", interrupt)
        assert kjko("run", "gaussian-1d", "--out", tmp_path / "run", *words()).exit_code == 75
    result = kjko("status", tmp_path / "run")
    assert result.stdout.startswith(f"{tmp_path / 'run'}: stopped at step 0 of {STEPS}; `kjko ")
    assert result.exit_code == 0


@pytest.mark.parametrize("name", ["series.jsonl", "case.toml", "manifest.json"])
def test_a_run_that_was_killed_at_its_start(name, tmp_path, monkeypatch):
    def write_until(path, data):
        write_atomically(path, data)
        if path.name == name:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(writer, "write_atomically", write_until)
        assert kjko("run", "gaussian-1d", "--out", folder, *words()).exit_code == 75
    if name == "series.jsonl":  # it holds no run yet
        assert kjko("run", "gaussian-1d", "--out", folder, *words()).exit_code == 0
    else:
        result = kjko("status", folder)
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"stopped at step 0 of {STEPS}" in result.stdout
        assert kjko("resume", folder).exit_code == 0
    assert "finished" in kjko("status", folder).stdout


def words():
    return [word for setting in run_folders.SMALL for word in ("--set", setting)]


DAMAGED = {
    "snapshots/step_000003.h5": "cannot be read",
    "snapshots/stationary.h5": "cannot be read",
    "checkpoints/step_000006.npz": "cannot be read",
    "series.jsonl": "it lacks 3 of 6 steps",
    "manifest.json": "cannot be read",
}


@pytest.mark.parametrize(("name", "said"), DAMAGED.items(), ids=DAMAGED)
def test_a_damaged_file(name, said, folder):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    if name == "series.jsonl":
        (folder / name).write_bytes(b"".join(data.splitlines(keepends=True)[:4]))
    result = kjko("status", folder)
    assert result.exit_code == 4 and f"{folder / name}: {said}" in result.stderr


def test_no_run(tmp_path):
    assert line(kjko("status", tmp_path), 2).startswith(f"{tmp_path}: not a run folder")
