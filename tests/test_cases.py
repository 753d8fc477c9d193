"""Every built-in case: three steps with few particles, and in full with recorded numbers (slow)."""

import numpy as np
import pytest

from kjko import cases
from kjko.case import load
from kjko.reference.grid import grid_solution
from kjko.reference.wave_fit import measure_wave
from kjko.run import open_run
from kjko.run.loop import start
from kjko.run.series import read_series

SMALL = ["particles.number=200", "output.histogram_every=2"]
ALIKE = (  # cases that are another one with other numbers
    "bump-on-tail-1d",
    "double-well-1d",
    "mixture-3d",
    "multiwell-3d",
    "ring-2d",
    "rotated-well-3d",
    "two-stream-1d",
    "two-stream-1d-strong",
    "vpfp-1d1v-paper-strong",
    "vpfp-1d3v-paper-strong",
)
EACH = [pytest.param(n, marks=[pytest.mark.slow] * (n in ALIKE)) for n in cases.names()]


@pytest.mark.parametrize("name", cases.names())
def test_it_can_be_built(name):
    load(name, ["particles.number=200"]).build()


@pytest.mark.parametrize("name", EACH)
def test_three_steps(name, tmp_path):
    end_time = f"solver.end_time={3 * load(name).solver.time_step}"
    case = load(name, [*SMALL, end_time])
    start(case, tmp_path / "run")
    records = read_series(tmp_path / "run")
    assert [r["step"] for r in records] == [0, 1, 2, 3]
    no_bath = case.problem.collisions.kind == "dougherty"
    assert all((r["free_energy"] is None) == no_bath for r in records)
    assert all(np.isfinite(r["free_energy"] or r["entropy"]) for r in records)
    external = case.problem.force is None
    assert all((r["kl_stationary"] is not None) == external for r in records)
    assert all((r["field_energy"] is None) == external for r in records)
    assert len(list((tmp_path / "run" / "histograms").iterdir())) == 2
    assert all(r["det_min"] > 0 for r in records[1:])


def in_full(name, tmp_path, *overrides):
    start(load(name, list(overrides)), tmp_path / "run")
    records = read_series(tmp_path / "run")
    return {key: np.array([r[key] for r in records]) for key in records[0]}


def harder(steps, learning_rate):
    return [f"solver.fit.steps={4 * steps}", f"solver.fit.learning_rate={2 * learning_rate}"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gaussian_1d(seed, tmp_path):
    run = in_full("gaussian-1d", tmp_path, f"particles.seed={seed}")
    drift = np.array(run["drift_error"][1:], dtype=float)
    assert np.sqrt(drift.mean()) <= 0.05
    assert np.diff(run["free_energy"]).max() <= 1e-3
    assert run["free_energy"][-1] == pytest.approx(-1.4913, abs=0.005)


@pytest.mark.slow
def test_gaussian_3d(tmp_path):
    run = in_full("gaussian-3d", tmp_path)
    assert run["drift_error"][-1] <= 0.03
    assert run["free_energy"][-1] == pytest.approx(-4.4739, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "free_energy", "bound"),
    [("gaussian-1d", -1.4913, 0.005), ("gaussian-3d", -4.4739, 0.03)],
)
def test_more_training_does_not_make_it_worse(name, free_energy, bound, tmp_path):
    fit = load(name).solver.fit
    run = in_full(name, tmp_path, *harder(fit.steps, fit.learning_rate))
    assert run["free_energy"][-1] == pytest.approx(free_energy, abs=bound)


@pytest.mark.slow
def test_multiwell_1d(tmp_path):
    run = in_full("multiwell-1d", tmp_path)
    assert run["kl_stationary"][10] == pytest.approx(0.1189, abs=0.08)
    assert -0.005 <= run["kl_stationary"][100] <= 0.06
    assert run["kl_stationary"].min() >= -0.005


@pytest.mark.slow
@pytest.mark.parametrize("potential", ["sine", "cosine"])
def test_periodic_1d(potential, tmp_path):
    mode = {"sine": 1, "cosine": 2}[potential]
    settings = [f"problem.potential.kind={potential}", f"problem.potential.mode={mode}"]
    run = in_full("periodic-1d", tmp_path, *settings)
    assert run["kl_stationary"][30:].max() < 0.015
    assert run["kl_stationary"].min() >= -0.01


@pytest.mark.slow
def test_multiwell_3d(tmp_path):
    run = in_full("multiwell-3d", tmp_path)
    assert np.diff(run["kl_stationary"]).max() <= 1e-2
    assert run["kl_stationary"].min() >= -0.02


def wave_of(folder):
    wave = open_run(folder).wave
    return {key: (wave["measured"][key], wave["theory"][key]) for key in ("frequency", "rate")}


@pytest.mark.slow
@pytest.mark.parametrize("k", [0.5, 0.4])
def test_landau_1d(k, tmp_path):
    length = 2 * np.pi / k
    settings = [f"problem.domain.length=[{length}]", f"problem.mass={length}"]
    run = in_full("landau-1d", tmp_path, f"problem.law.position.wave_number=[{k}]", *settings)
    energy = run["energy_kinetic"] + run["energy_potential"]
    assert np.ptp(energy) < 1e-3 * energy[0]
    wave = wave_of(tmp_path / "run")
    assert wave["frequency"][0] == pytest.approx(wave["frequency"][1], rel=0.01)
    assert wave["rate"][0] == pytest.approx(wave["rate"][1], rel=0.05)


@pytest.mark.slow
def test_vafp_1d(tmp_path):
    energies = [in_full(name, tmp_path / name)["field_energy"] for name in ("landau-1d", "vafp-1d")]
    assert np.abs(energies[1] - energies[0]).max() < 1e-3 * energies[0].max()


@pytest.mark.slow
def test_landau_1d_collisional(tmp_path):
    run = in_full("landau-1d-collisional", tmp_path)
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])
    problem = load("landau-1d-collisional", ["particles.number=10"]).build().problem
    history = grid_solution(problem, [10.0], cells=(32, 512), time_step=0.02).history
    particles = measure_wave(run["time"], run["field_energy"], (0.0, 10.0))
    grid = measure_wave(history.time, history.energy_potential, (0.0, 10.0))
    assert particles.rate == pytest.approx(grid.rate, rel=0.05)
    assert particles.rate < -0.17


@pytest.mark.slow
@pytest.mark.parametrize("v0", [2.4, 3.0])
def test_two_streams(v0, tmp_path):
    run = in_full("two-stream-1d", tmp_path, f"problem.law.velocity.means=[[{-v0}], [{v0}]]")
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])
    wave = wave_of(tmp_path / "run")
    assert wave["rate"][0] == pytest.approx(wave["rate"][1], rel=0.05)


@pytest.mark.slow
def test_bump_on_tail(tmp_path):
    run = in_full("bump-on-tail-1d", tmp_path)
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])
    wave = wave_of(tmp_path / "run")
    assert wave["rate"][0] == pytest.approx(wave["rate"][1], rel=0.05)


@pytest.mark.slow
def test_landau_2d(tmp_path):
    run = in_full("landau-2d", tmp_path)
    energy = run["energy_kinetic"] + run["energy_potential"]
    assert np.ptp(energy) < 1e-3 * energy[0]


@pytest.mark.slow
def test_two_streams_with_three_velocities(tmp_path):
    run = in_full("two-stream-1d3v", tmp_path)
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])
    wave = wave_of(tmp_path / "run")
    assert wave["rate"][0] == pytest.approx(wave["rate"][1], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("strength", ["weak", "strong"])
def test_section_4_2_as_printed(strength, tmp_path):
    run = in_full(f"vpfp-1d1v-paper-{strength}", tmp_path)
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])


@pytest.mark.slow
def test_strong_collisions_leave_no_vortex(tmp_path):
    run = in_full("two-stream-1d-strong", tmp_path)
    assert np.diff(run["free_energy"]).max() <= 1e-3 * abs(run["free_energy"][0])
    energy = run["field_energy"]
    assert energy.max() == energy[0] and energy[-1] < 0.1 * energy[0]
