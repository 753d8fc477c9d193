"""Figures are drawn from a run folder alone, whatever it has and lacks."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_folders import small_case, write_series

from kjko.case import load
from kjko.figures.animation import _density
from kjko.figures.density import SLICED, density
from kjko.figures.errors import draw_convergence
from kjko.figures.run_figures import _wider, draw
from kjko.figures.shown import Shown
from kjko.run import loop
from kjko.run.carried import carried
from kjko.run.conserved import conserved
from kjko.run.formats import HDF5
from kjko.run.sealed import seal

NUMBER, BINS, STEPS = 400, 160, 6
EVERY = {"density", "marginals", "kl", "marginal_kl", "energy", "drift_error", "overfitting"}


def _record(step: int, dimension: int) -> dict:
    later = step > 0
    return {
        "step": step,
        "time": 0.1 * step,
        "energy_kinetic": 0.5,
        "energy_potential": 0.4,
        "entropy": -2.0 - 0.1 * step,
        "free_energy": -1.1 - 0.1 * step,
        "kl_stationary": 0.5 - 0.05 * step,
        "drift_error": 0.1 / step if later else None,
        "loss": -1.0 / step if later else None,
        "loss_heldout": -0.9 / step if later else None,
        "fit_iterations": 50 if later else None,
        "det_min": 0.9 if later else None,
        "marginal_kl_x": [0.3] * dimension,
        "marginal_kl_v": [0.2] * dimension,
        "seconds": 0.1 if later else None,
    }


def _write_snapshot(folder: Path, step: int, dimension: int) -> None:
    random = np.random.default_rng(step)
    arrays = {name: random.normal(size=(NUMBER, dimension)) for name in ("x", "v")}
    for name in ("x", "v"):
        points, edges = arrays[name], np.linspace(-5, 5, BINS + 1)
        counts = [np.histogram(points[:, i], edges)[0] for i in range(dimension)]
        arrays[f"histogram_{name}"] = np.stack(counts) / NUMBER
        arrays[f"edges_{name}"] = np.tile(edges, (dimension, 1))
    plane = np.histogram2d(arrays["x"][:, 0], arrays["v"][:, 0], bins=[edges, edges])[0]
    arrays["histogram_x1_v1"] = plane / NUMBER
    arrays["log_f"] = np.zeros(NUMBER)
    path = folder / "snapshots" / f"step_{step:06d}.h5"
    HDF5().write(path, arrays, {"time": 0.1 * step, "step": step})


def _run_folder(folder: Path, dimension: int = 1, domain: str = "") -> Path:
    (folder / "snapshots").mkdir(parents=True)
    (folder / "case.toml").write_text(
        f"title = '$no$ $\\mathtext{{$'\n[problem]\ndimension = {dimension}\n"
        f"temperature = 0.8\n{domain}\n[particles]\nnumber = {NUMBER}\n"
        "[solver]\ntime_step = 0.1\n",
        encoding="utf-8",
    )
    write_series(folder, [_record(step, dimension) for step in range(STEPS)])
    for step in (0, STEPS - 1):
        _write_snapshot(folder, step, dimension)
    nodes = np.tile(np.linspace(-8, 8, 401), (dimension, 1))
    density = np.exp(-0.5 * nodes**2) / np.sqrt(2 * np.pi)
    law = {"x": nodes, "density": density}
    path = folder / "snapshots" / "stationary.h5"
    HDF5().write(path, law, {"log_normaliser": 1.84 * dimension})
    return folder


def _names(paths: list[Path]) -> set[str]:
    for path in paths:
        start = b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else b"RIFF"
        assert path.read_bytes().startswith(start)
        assert path.stat().st_size > 5000
    return {path.stem for path in paths}


@pytest.mark.parametrize("dimension", [1, 2])
def test_every_figure_is_drawn(tmp_path, dimension):
    folder = _run_folder(tmp_path / "run", dimension)
    paths = draw(folder)
    assert _names(paths) == EVERY
    assert sorted(paths) == sorted((folder / "figures").iterdir())


def test_a_folder_that_a_run_wrote(tmp_path):
    loop.start(small_case(), tmp_path / "run")
    assert _names(draw(tmp_path / "run")) == EVERY


def test_more_dimensions_are_drawn_as_slices(tmp_path):
    """Of f itself where it is known; else by the histograms."""
    settings = ["particles.number=60", "solver.end_time=0.1", "problem.collision_rate=0"]
    settings += ["problem.mass=2", "solver.control.kind=quadratic", "output.snapshot_times=[0.0]"]
    loop.start(load("mixture-2d", settings), tmp_path / "run")
    run = Shown(tmp_path / "run")
    drawn = density(run).axes
    label = drawn[-1].get_ylabel()
    x, v = (np.linspace(*run.view(kind, 0), SLICED) for kind in "xv")
    at = {name: float(label.split(f"{name[0]}_{{2}} = ")[1].split("$")[0]) for name in ("x2", "v2")}
    on_mesh = drawn[1].collections[0].get_array().reshape(SLICED, SLICED)
    f = 2 * run.run.slice(0.1, x1=x, v1=v, **at)
    np.testing.assert_allclose(on_mesh, f.T, rtol=1e-6)
    (tmp_path / "run" / "passages.bin").unlink()
    assert density(Shown(tmp_path / "run")).axes[-1].get_ylabel().startswith("density of ($x_{1}$")


def test_the_density_drawn_is_that_of_the_particles():
    """f at the nodes of a grid, also across the ends of a box."""
    random = np.random.default_rng(0)
    x, v = random.uniform(0, 10, 20_000), random.normal(size=20_000)
    log_f = (
        -0.5 * v**2 - 0.5 * np.log(2 * np.pi) + np.log1p(0.5 * np.cos(np.pi * x / 5)) - np.log(10)
    )
    snapshot = {"x": x[:, None], "v": v[:, None], "log_f": log_f}
    nodes = np.array([0.0, 3.0, 9.99]), np.array([-1.0, 0.0, 0.5])
    drawn = carried(snapshot, *nodes, length=10.0)
    in_x = (1 + 0.5 * np.cos(np.pi * nodes[0] / 5)) / 10
    in_v = np.exp(-0.5 * nodes[1] ** 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(drawn, np.outer(in_x, in_v), rtol=0.02)


def test_particles_on_a_line(tmp_path):
    folder = _run_folder(tmp_path / "run")
    for path in (folder / "snapshots").glob("step_*.h5"):
        arrays, attributes = HDF5().read(path)
        HDF5().write(path, arrays | {"v": 0 * arrays["v"]}, attributes)
    assert _names(draw(folder)) == EVERY


def test_a_periodic_run(tmp_path):
    folder = _run_folder(tmp_path / "run", domain="domain = { length = [10.0] }")
    assert _names(draw(folder)) == EVERY


def test_without_a_stationary_law(tmp_path):
    folder = _run_folder(tmp_path / "run")
    (folder / "snapshots" / "stationary.h5").unlink()
    absent = dict.fromkeys(["kl_stationary", "marginal_kl_x", "drift_error", "loss_heldout"])
    write_series(folder, [_record(step, 1) | absent for step in range(STEPS)])
    assert _names(draw(folder)) == {"density", "marginals", "marginal_kl", "energy"}


def _plasma_folder(folder: Path, dimension: int, velocity_dimension: int) -> Path:
    """As a run with a self-consistent field leaves it."""
    _run_folder(folder, dimension, f"velocity_dimension = {velocity_dimension}\ndomain = {{}}")
    (folder / "snapshots" / "stationary.h5").unlink()
    absent = dict.fromkeys(["kl_stationary", "marginal_kl_x", "drift_error", "loss_heldout"])
    energies = [{"field_energy": np.exp(-0.3 * step)} for step in range(STEPS)]
    write_series(folder, [_record(i, 1) | absent | e for i, e in enumerate(energies)])
    for path in (folder / "snapshots").iterdir():
        arrays, attributes = HDF5().read(path)
        arrays["v"] = np.tile(arrays["v"][:, :1], (1, velocity_dimension))
        for name in ("histogram_v", "edges_v"):
            arrays[name] = np.tile(arrays[name][:1], (velocity_dimension, 1))
        HDF5().write(path, arrays, attributes)
    (folder / "histograms").mkdir()
    for step in range(3):
        counts = np.random.default_rng(step).integers(0, 9, (32, 24)).astype(np.uint32)
        ends = {"x_ends": np.array([0.0, 6.3]), "v_ends": np.array([-2.0 - step, 2.0 + step])}
        path = folder / "histograms" / f"step_{step:06d}.npz"
        np.savez(path, counts=counts, time=0.1 * step, **ends)
    wave = {"theory": {"rate": -1.5}, "measured": {"rate": -1.4}, "window": [0.0, 0.4]}
    (folder / "wave.json").write_text(seal(wave))
    return folder


@pytest.mark.parametrize(("dimension", "velocity_dimension"), [(1, 1), (1, 3), (2, 2)])
def test_a_self_consistent_run(dimension, velocity_dimension, tmp_path):
    folder = _plasma_folder(tmp_path / "run", dimension, velocity_dimension)
    paths = draw(folder)
    expected = {"density", "marginals", "marginal_kl", "energy", "field_energy", "phase_space"}
    assert _names(paths) == expected
    films = {".webp", ".mp4"} if shutil.which("ffmpeg") else {".webp"}
    assert {path.suffix for path in paths} == {".png"} | films
    with Image.open(folder / "figures" / "phase_space.webp") as film:
        assert film.n_frames == 3


@pytest.mark.parametrize("works", [True, False])
def test_a_film_by_ffmpeg(tmp_path, monkeypatch, caplog, works):
    """All frames go to it, the last one eight times; what it complains of is a warning."""
    folder = _plasma_folder(tmp_path / "run", 1, 1)
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    does = 'for last; do :; done; cat > "$last"' if works else "echo no such encoder >&2; exit 1"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    paths = draw(folder)
    assert folder / "figures" / "phase_space.webp" in paths
    if not works:
        assert caplog.messages == ["phase_space.mp4 is not written; ffmpeg says: no such encoder"]
        assert paths[-1].suffix == ".webp"
        return
    assert paths[-1] == folder / "figures" / "phase_space.mp4"
    with Image.open(folder / "figures" / "phase_space.webp") as film:
        pixels = 3 * film.width * film.height
    assert (folder / "figures" / "phase_space.mp4").stat().st_size == (3 + 7) * pixels


def test_frames_show_f_itself(tmp_path):
    """Of mass 4π, a thousand particles: at the middle of each cell that holds some, or is near."""
    settings = ["particles.number=1000", "solver.end_time=0.05", "output.histogram_every=1"]
    loop.start(load("landau-1d", settings), tmp_path / "run")
    run = Shown(tmp_path / "run")
    frame = run.frames[0]
    x, v = (
        np.linspace(*frame[ends], 2 * frame["counts"].shape[0] + 1)[1::2]
        for ends in ("x_ends", "v_ends")
    )
    f = np.outer(1 + 0.01 * np.cos(x / 2), np.exp(-0.5 * v**2) / np.sqrt(2 * np.pi))
    found = _density(frame, run)
    assert (frame["counts"] > 0).mean() < 0.1 < (found > 0).mean()
    np.testing.assert_allclose(found[found > 0], f[found > 0], atol=0.03)


def test_axes_have_units(tmp_path):
    """Of a plasma its own where the case is in them; else ω_p is told."""
    plain = Shown(_run_folder(tmp_path / "plain"))
    assert (plain.time_name, plain.name("x", 0), plain.at(2.0)) == ("$t$", "$x$", "$t = 2$")
    folder = _plasma_folder(tmp_path / "own", 1, 1)
    text = (folder / "case.toml").read_text()
    of_box = text.replace("domain = {}", "mass = 4.0\ndomain = {wave_number = [1.5707963]}")
    at_one = of_box.replace("temperature = 0.8", "temperature = 1.0")
    (folder / "case.toml").write_text(at_one)
    own = Shown(folder)
    assert own.time_name == r"$\omega_p t$" and own.name("v", 0) == r"$v / v_\mathrm{th}$"
    free = at_one.replace("mass = 4.0", "collision_rate = 0.0\nmass = 4.0")
    for width, unit in ((1.0, r"$v / v_\mathrm{th}$"), (0.5, "$v$")):
        law = f"law = {{velocity = {{widths = [{width}]}}}}\n"
        (folder / "case.toml").write_text(free.replace("mass = 4.0", f"{law}mass = 4.0"))
        assert Shown(folder).name("v", 0) == unit
    (folder / "case.toml").write_text(of_box)
    assert (
        Shown(folder).time_name == r"$t$ ($\omega_p = 1$)" and Shown(folder).name("x", 0) == "$x$"
    )


def test_what_is_kept_is_drawn_where_it_should_be(tmp_path):
    folder = _run_folder(tmp_path / "run")
    text = (folder / "case.toml").read_text()
    (folder / "case.toml").write_text(
        text.replace("[particles]", "collision_rate = 0.0\n[particles]")
    )
    records = [_record(step, 1) | {"energy_kinetic": 0.5 + 0.09 * step} for step in range(STEPS)]
    write_series(folder, records)
    assert _names(draw(folder)) == EVERY | {"conservation"}
    change = conserved(Shown(folder).run)
    np.testing.assert_allclose(change["total energy"][1:], 0.18 * np.arange(1, STEPS))
    assert "momentum" not in change  # not recorded


def test_bins_are_no_narrower_than_particles_allow(tmp_path):
    run = Shown(_run_folder(tmp_path / "run"))
    edges, fraction = run.snapshots[0]["edges_v"][0], run.snapshots[0]["histogram_v"][0]
    wide, sums = _wider(run, edges, fraction)
    assert sums.size == 10 and wide.size == 11 and sums.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(wide[[0, -1]], edges[[0, -1]])
    middle = wide[4:6]
    inside = (run.snapshots[0]["v1"] >= middle[0]) & (run.snapshots[0]["v1"] < middle[1])
    assert sums[4] == pytest.approx(np.mean(inside))


def test_a_damaged_frame_is_named(tmp_path):
    folder = _plasma_folder(tmp_path / "run", 1, 1)
    (folder / "histograms" / "step_000001.npz").write_bytes(b"no zip")
    with pytest.raises(OSError, match="step_000001.npz: cannot be read"):
        draw(folder)


@pytest.mark.parametrize("signs", [[1, 1, -1, 1, 0, -1], [-1] * STEPS])
def test_kl_that_is_not_positive(tmp_path, signs):
    folder = _run_folder(tmp_path / "run")
    values = [_record(i, 1) | {"kl_stationary": 0.1 * sign} for i, sign in enumerate(signs)]
    write_series(folder, values)
    assert _names(draw(folder)) == EVERY


def test_a_run_that_was_cut_short(tmp_path):
    folder = _run_folder(tmp_path / "run")
    with open(folder / "series.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 6, "time": 0.6, "energy_ki')
    assert _names(draw(folder)) == EVERY
    write_series(folder, [_record(0, 1)])
    assert _names(draw(folder)) == {"density", "marginals", "kl", "marginal_kl", "energy"}
    write_series(folder, [])
    assert _names(draw(folder)) == {"density", "marginals"}


def test_no_run_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder, it has no case.toml"):
        draw(tmp_path)
    (tmp_path / "case.toml").write_text('title = "no run"\n', encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="not a run folder, it has no series.jsonl"):
        draw(tmp_path)
    (tmp_path / "series.jsonl").touch()
    with pytest.raises(OSError, match="case.toml: cannot be read"):
        draw(tmp_path)


def test_a_damaged_snapshot_is_named(tmp_path):
    folder = _run_folder(tmp_path / "run")
    (folder / "snapshots" / "step_000000.h5").write_bytes(b"not HDF5")
    with pytest.raises(OSError, match="step_000000.h5: cannot be read"):
        draw(folder)


def test_convergence(tmp_path):
    steps = [0.2, 0.1, 0.05]
    errors = {"mean": [0.3 * s**2 for s in steps], "drift": [0.5 * s for s in steps]}
    path = tmp_path / "new" / "convergence.png"
    draw_convergence(steps, errors, {"mean": 2.0, "drift": 1.0}, path)
    assert _names([path]) == {"convergence"}


def test_importing_plots_does_not_import_jax():
    unwanted = "{'jax', 'matplotlib.pyplot'}"
    code = f"import sys, kjko.figures.run_figures; sys.exit(bool({unwanted} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
