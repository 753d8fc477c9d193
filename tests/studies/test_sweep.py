"""Sweeps: what is run, once compiled, resumed, and read back."""

import csv
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import kjko, line
from run_folders import SMALL, STEPS

from kjko import open_run, open_sweep
from kjko.case import BadInput
from kjko.run.claim import claimed
from kjko.run.sealed import seal, unseal
from kjko.run.series import read_series
from kjko.run.writer import Writer
from kjko.studies.sweep import plan
from kjko.studies.tables import summary, uncertain

RATE, SEED = "problem.collision_rate", "particles.seed"
SWEPT = [f"{RATE}=1.0,0.3"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def sweep(*words, settings=SWEPT):
    given = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
    return kjko("sweep", "gaussian-1d", *given, *words)


def series(folder):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_series(folder)]


@pytest.mark.parametrize(
    "numbers, told",
    [
        ([-0.15311, -0.15289], "-0.1530 ± 0.0002"),
        ([0.0999, 0.1013, 0.0992], "0.100 ± 0.001"),
        ([12300.0, 12700.0, 12500.0], "12500 ± 200"),
        ([2e-9, 3e-9], "2.5e-09 ± 7e-10"),
        ([2.1e-9, 8e-8, -7e-8], "0 ± 8e-08"),
        ([1234267.0, 1234867.0, 1234567.0], "1.2346e+06 ± 3e+02"),
        ([0.1, 3.0, -2.9], "0 ± 3"),
        ([1.4156, 1.4156], "1.4156"),
        ([1.41567, None], "1.416 (1 of 2)"),
        ([1.4, None, 1.6], "1.5 ± 0.1 (2 of 3)"),
        ([None], "-"),
    ],
)
def test_numbers_to_the_place_that_is_certain(numbers, told):
    assert summary(numbers) == told


def test_waves(tmp_path):
    """ω and γ of each run where they were seen, beside what they should be."""
    settings = ["particles.number=1024", "solver.end_time=0.2", "problem.collision_rate=0.1,0.2"]
    given = [word for setting in settings for word in ("--set", setting)]
    result = kjko("sweep", "landau-1d-collisional", *given, "--out", tmp_path / "sweep")
    assert result.exit_code == 0, result.stderr
    heading, row, *_ = result.stdout.splitlines()
    assert heading.split("  ")[-4:] == ["omega", "omega, theory", "gamma", "gamma, theory"]
    assert row.split()[-4] == row.split()[-2] == "-"
    path = tmp_path / "sweep" / "1" / "wave.json"
    wave = unseal(path.read_bytes())
    seen = wave | {"measured": {"frequency": 1.25, "rate": -0.5, "rate_error": 0.01}}
    path.write_bytes(seal(seen | {"window": [0.0, 0.2]}).encode())
    data = open_sweep(tmp_path / "sweep").isel({SEED: 0})
    np.testing.assert_array_equal(data.gamma, [np.nan, -0.5])
    np.testing.assert_array_equal(data.omega, [np.nan, 1.25])
    assert float(data.gamma_theory[1]) == wave["theory"]["rate"] < float(data.gamma_theory[0]) < 0


def test_a_sweep(tmp_path):
    result = sweep("--seeds", 2)
    folder = tmp_path / "runs" / "sweep-gaussian-1d"
    assert result.exit_code == 0, result.stderr
    assert f"run 4 of 4: {RATE} = 0.3, {SEED} = 1" in result.stderr
    data = open_sweep(folder)
    assert dict(data.sizes) | {RATE: 2, SEED: 2, "time": STEPS + 1} == dict(data.sizes)
    assert data.title.startswith("Example 1: a Gaussian in a quadratic well, 1D; control.kind")
    for number, (rate, seed) in enumerate([(1.0, 0), (1.0, 1), (0.3, 0), (0.3, 1)]):
        run = open_run(folder / str(number))
        assert run.case["problem"]["collision_rate"] == rate
        assert run.case["particles"]["seed"] == seed
        there = data.sel({RATE: rate, SEED: seed})
        np.testing.assert_array_equal(there.free_energy, run.series.free_energy)
    last = data.free_energy.isel(time=-1)
    mean, spread = last.mean(SEED), last.std(SEED, ddof=1)
    for row, rate in ((1, 1.0), (2, 0.3)):
        shown = result.stdout.splitlines()[row]
        assert shown.startswith(f"collision_rate = {rate}  2 of 2 ")
        number = uncertain(float(mean.sel({RATE: rate})), float(spread.sel({RATE: rate})))
        assert f"  {number}  " in shown
    rows = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    assert [(row[RATE], row[SEED]) for row in rows[::3]] == [("1.0", "0"), ("0.3", "1")]
    np.testing.assert_allclose(float(rows[3]["free_energy"]), last[1, 1])
    assert (folder / "sweep.png").exists()
    assert kjko("status", folder).stdout == f"{folder}: 4 of 4 runs are done\n"
    (folder / "sweep.png").unlink()
    assert kjko("plot", folder).stdout == f"figure: {folder / 'sweep.png'}\n"
    assert (folder / "sweep.png").exists()


def test_only_the_first_run_compiles(monkeypatch):
    """In its steps, and in what is built and measured before and after them."""
    compiled, after_each = [], []
    whole = Writer.finish

    def finish(self):
        whole(self)
        after_each.append(len(compiled))

    def note(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.clear_caches()
    monkeypatch.setattr(Writer, "finish", finish)
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        settings = [f"{RATE}=1.0,0.3,0.0", "problem.temperature=1.0,1.2"]
        assert sweep(settings=settings).exit_code == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    first, *others = after_each
    assert first > 0 and others[:3] == [first] * 3
    assert others[3] > first and others[4] == others[3]  # no collisions are another program


def test_a_sweep_that_is_stopped_goes_on(tmp_path, monkeypatch):
    assert sweep("--out", "whole").exit_code == 0

    def interrupt(self, state):
        if self.folder.name == "1" and int(state.step) == 4:
            raise KeyboardInterrupt
        checkpoint(self, state)

    checkpoint = Writer.checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "checkpoint", interrupt)
        result = sweep("--out", "stopped")
    assert result.exit_code == 75
    assert "\nkjko: stopped at once; `kjko resume stopped` goes on from" in result.stderr
    said = kjko("status", "stopped").stdout
    assert said == "stopped: 1 of 2 runs are done; `kjko resume stopped` goes on\n"
    assert np.isnan(open_sweep("stopped").free_energy.isel(time=-1)).sum() == 1
    result = kjko("resume", "stopped")
    assert result.exit_code == 0 and "run 1 of 2" not in result.stderr
    for number in "01":
        run = tmp_path / "stopped" / number
        assert series(run) == series(tmp_path / "whole" / number)


def test_a_run_that_fails_is_told_of():
    result = sweep("--out", "out", settings=["solver.time_step=0.1,60", "solver.end_time=120"])
    assert result.exit_code == 3
    good, bad = result.stdout.splitlines()[1:3]
    assert good.startswith("time_step = 0.1  1 of 1 ")
    assert bad.split() == ["time_step", "=", "60", "0", "of", "1", *["-"] * (len(bad.split()) - 6)]
    assert "kjko: out/1: " in result.stderr
    assert kjko("resume", "out").exit_code == 3
    assert "1 of 2 runs are done" in kjko("status", "out").stdout


def test_a_run_that_was_killed_before_its_first_record(tmp_path):
    assert sweep("--out", "out").exit_code == 0
    for path in (tmp_path / "out" / "1").iterdir():
        if path.name not in ("case.toml", "run.lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "out" / "1" / "series.jsonl").write_text("")
    assert np.isnan(open_sweep("out").free_energy.isel({RATE: 1})).all()
    assert kjko("plot", "out").exit_code == 0
    assert kjko("resume", "out").exit_code == 0
    assert not np.isnan(open_sweep("out").free_energy).any()


def test_a_run_whose_case_was_changed(tmp_path):
    assert sweep("--out", "out").exit_code == 0
    path = tmp_path / "out" / "1" / "case.toml"
    path.write_text(path.read_text().replace("collision_rate = 0.3", "collision_rate = 0.4"))
    assert "problem.collision_rate: expected 0.3" in line(kjko("plot", "out"), 2)


def test_a_sweep_has_a_single_process():
    assert sweep("--out", "out").exit_code == 0
    with claimed(Path("out")):
        assert line(kjko("resume", "out"), 2).startswith("out: process ")


@pytest.mark.parametrize(
    ("settings", "words", "message"),
    [
        ([f"{RATE}=1,-1"], [], f"{RATE}: expected a number greater"),
        ([f"{SEED}=1,2"], ["--seeds", 2], "--seeds 2: expected particles.seed"),
        (SWEPT, ["--seeds", 0], "--seeds 0: expected 1 or more"),
        (["solver.time_step=0.1,1e-30"], [], "solver.end_time: expected"),
        (["particles.number=100,1e9"], [], "particles.number: expected what fits"),
        (["solver.precision=single,double"], [], "solver.precision: expected one"),
        ([f"{RATE}=1,1"], [], f"--set {RATE}=1,1: expected each"),
        ([*SWEPT, f"{RATE}=2"], [], f"--set {RATE}=2: expected each"),
    ],
)
def test_what_is_refused(settings, words, message, tmp_path):
    assert line(sweep(*words, settings=settings), 2).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    assert line(sweep("--out", "out"), 2).startswith("--out out: expected a new or empty folder")


def test_values_with_commas(tmp_path):
    given = ["output.snapshot_times=[0.0, 0.1]", "solver.control={kind='affine'}"]
    given += ["title='a, b',\"c, d\"", "solver.fit.steps=2, 3"]
    found = plan("gaussian-1d", [*SMALL, *given], 1, tmp_path)
    assert found.axes == {
        "title": ["'a, b'", '"c, d"'],
        "solver.fit.steps": ["2", "3"],
        SEED: ["0"],
    }
    assert [member.case.title for member in found.members] == ["a, b"] * 2 + ["c, d"] * 2


def test_no_sweep(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_sweep(tmp_path)
    with pytest.raises(BadInput):
        plan("gaussian-1d", ["problem.potential.kind=quadratic,none"], 1, tmp_path)


def test_a_damaged_plan():
    assert sweep("--out", "out").exit_code == 0
    with open("out/sweep.json", "r+") as file:
        file.write("[")
    assert "out/sweep.json: cannot be read" in line(kjko("resume", "out"), 4)
