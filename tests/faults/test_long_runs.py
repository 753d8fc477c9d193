"""Long runs and many resumes take no more memory, files or programs as they go on."""

import os
from pathlib import Path

import jax
import pytest
from campaign import many
from run_folders import resume

from kjko.case import load
from kjko.run import loop
from kjko.run.writer import Writer

SMALL = [
    "particles.number=50",
    "solver.control={kind='quadratic'}",
    "solver.fit={kind='newton'}",
    "output.checkpoint_every=100",
    "output.snapshot_times=[]",
]


@pytest.fixture(scope="module")
def compiled():
    """The programs compiled so far, a list that grows."""
    programs = []

    def note(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            programs.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(note)
    return programs


def memory() -> int:
    """What is resident, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_long_run(tmp_path, monkeypatch, compiled, report):
    steps, seen = many(10_000), {}
    record = Writer.record

    def record_and_look(self, line):
        record(self, line)
        if line["step"] in (2, steps // 5, steps):
            seen[line["step"]] = memory(), files(), len(compiled)

    monkeypatch.setattr(Writer, "record", record_and_look)
    case = load("gaussian-1d", [*SMALL, f"solver.end_time={0.1 * steps}"])
    loop.start(case, tmp_path / "run")
    (early, *_), (late, open_files, programs) = seen[steps // 5], seen[steps]
    report(f"{steps} steps: {early / 2**20:.1f} MB, then {late / 2**20:.1f} MB")
    assert late < 1.01 * early
    assert seen[2][1:] == (open_files, programs)


def test_many_resumes(tmp_path, report):
    folder, number = tmp_path / "run", many(1000)
    loop.start(load("gaussian-1d", [*SMALL, "solver.end_time=0.5"]), folder)
    for count in range(number):
        resume(folder)
        if count == number // 5:
            early = memory(), files()
    late = memory(), files()
    report(f"{number} resumes: {early[0] / 2**20:.1f} MB, then {late[0] / 2**20:.1f} MB")
    assert late[0] < 1.02 * early[0]
    assert late[1] == early[1]
