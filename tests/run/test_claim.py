"""Two processes and one folder; starts that were killed."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from run_folders import names, resume, series, small_case

from kjko.case import BadInput
from kjko.run import loop
from kjko.run.claim import LOCK, claimed, holder, new_folder

HOLD = """
import sys, time
from pathlib import Path
from kjko.run.claim import claimed
with claimed(Path(sys.argv[1])):
    Path(sys.argv[1], "mine").touch()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=-1)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield tmp_path / "run", process
    process.kill()
    process.communicate()


def test_a_held_folder_is_refused_until_its_process_is_dead(held):
    folder, process = held
    assert holder(folder)["process"] == process.pid
    message = f"{folder}: process {process.pid} on .* writes to it"
    with pytest.raises(BadInput, match=message), claimed(folder):
        pass
    (folder / "case.toml").write_text(small_case().to_toml())
    with pytest.raises(BadInput, match=message):
        resume(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with claimed(folder):
        assert holder(folder)["process"] != process.pid
    assert holder(folder) is None and names(folder) == ["case.toml", "mine", LOCK]


def test_without_locks_the_file_tells(tmp_path, monkeypatch):
    """As on a network file system that has none."""

    def without(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr("fcntl.flock", without)
    folder = tmp_path / "run"
    for process, is_free in ((1, False), (2**22 + 1, True)):  # one that runs, none
        folder.mkdir(exist_ok=True)
        with claimed(folder):
            (folder / "kept").touch()
            here = json.loads((folder / LOCK).read_text())
        (folder / LOCK).write_text(json.dumps(here | {"process": process}))
        if is_free:
            with claimed(folder):
                pass
        else:
            with pytest.raises(BadInput, match="process 1 on"), claimed(folder):
                pass
            (folder / LOCK).write_text(json.dumps({"host": "elsewhere", "process": 5}))
            with pytest.raises(BadInput, match="process 5 on elsewhere"), claimed(folder):
                pass
            (folder / LOCK).write_text("")


def test_default_names_are_each_ones_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: new_folder(tmp_path / "runs" / "case"), range(24)))
    assert len(set(found)) == 24
    assert {path.name for path in found} == {"case", *(f"case-{k}" for k in range(2, 25))}


@pytest.mark.parametrize("until", ["case.toml", "series.jsonl", "snapshots"])
def test_killed_before_the_first_checkpoint(until, tmp_path):
    """One command goes on; with neither a case nor a checkpoint, the one that was given."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    loop.start(small_case(), whole)
    loop.start(small_case(), cut)
    for path in sorted(cut.rglob("*"), reverse=True):
        gone = path.name not in ("case.toml", until) and until not in str(path)
        if path.is_file() and gone:
            path.unlink()
        elif path.is_dir() and gone:
            path.rmdir()
    (cut / ".manifest.json.tmp").touch()
    if until == "series.jsonl":
        first, *_ = (cut / until).read_text().splitlines(keepends=True)
        (cut / until).write_text(first)
    resume(cut)
    assert series(cut) == series(whole)
    again = tmp_path / "again"
    again.mkdir()
    for left in (".case.toml.tmp", LOCK):
        (again / left).touch()
    loop.start(small_case(), again)
    assert series(again) == series(whole)
