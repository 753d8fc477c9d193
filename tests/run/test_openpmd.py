"""`kjko export`: what the validator, openPMD-viewer and openPMD-api say of it."""

import errno
import os
import shutil
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import kjko, line
from openpmd_viewer import OpenPMDTimeSeries
from run_folders import contents, names, small_case
from scipy.interpolate import RegularGridInterpolator

from kjko import open_run
from kjko.case import load
from kjko.reference.closed_form import closed_form
from kjko.run import loop
from kjko.run.claim import claimed

with warnings.catch_warnings():  # "\w" in its regular expressions
    warnings.simplefilter("ignore")
    from openpmd_validator.check_h5 import check_file

api: Any = import_module("openpmd_api")  # whose names are in a compiled part
SCALAR = api.Record_Component.SCALAR
PATHS = {"group": "openpmd/data.h5", "file": "openpmd"}


def viewed(path: Path, backend: str | None = None) -> Any:
    return OpenPMDTimeSeries(str(path), backend=backend)


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    """A tilted Gaussian in one dimension, with collisions; exported in one file."""
    folder = tmp_path_factory.mktemp("export") / "well"
    loop.start(small_case(), folder)
    assert kjko("export", folder).stdout == f"openPMD: {folder / PATHS['group']}\n"
    return folder


@pytest.fixture(scope="module")
def plasma(tmp_path_factory):
    """Two dimensions, nothing alike in x and y, with fields; exported in a file for each step."""
    settings = [
        "problem.domain.length=[12.566370614359172, 6.283185307179586]",
        "problem.mass=50.0",
        "problem.force.number_of_cells=[16, 8]",
        "problem.law.position={kind='cosine', amplitude=[0.3, 0.1], wave_number=[0.5, 1.0]}",
        "problem.law.velocity={means=[[0.0, 1.2]], temperatures=[[1.0, 2.0]]}",
        "particles={number=300, sampling='random'}",
        "solver.end_time=0.1",
        "output.snapshot_times=[0.0, 0.1]",
    ]
    folder = tmp_path_factory.mktemp("export") / "plasma"
    loop.start(load("landau-2d", settings), folder)
    told = kjko("export", folder, "--encoding", "file").stdout
    files = [f"{folder}/openpmd/data_00000{step}.h5" for step in (0, 2)]
    assert told == "".join(f"openPMD: {file}\n" for file in files)
    return folder


@pytest.mark.parametrize("backend", ["h5py", "openpmd-api"])
def test_the_viewer_reads_what_the_reader_reads(backend, well, plasma):
    for folder, encoding in ((well, "group"), (plasma, "file")):
        run = open_run(folder)
        series = viewed(folder / PATHS[encoding], backend)
        np.testing.assert_array_equal(series.t, run.times)
        for step, snapshot in zip(series.iterations, run.snapshots(), strict=True):
            assert step == snapshot["step"]

            def particle(name, series=series, step=step):
                return series.get_particle([name], iteration=step)[0]

            for i, axis in enumerate("xy"[: run.dimension]):
                np.testing.assert_array_equal(particle(axis), snapshot["x"][:, i])
                np.testing.assert_array_equal(particle(f"velocity/{axis}"), snapshot["v"][:, i])
            np.testing.assert_array_equal(particle("log_f"), snapshot["log_f"])
            np.testing.assert_array_equal(particle("id"), np.arange(len(snapshot["x"])))
            assert particle("w").sum() == pytest.approx(float(snapshot["mass"]), rel=1e-12)


@pytest.mark.parametrize("backend", ["h5py", "openpmd-api"])
def test_the_viewer_reads_the_fields(backend, plasma):
    """Where they are: on the viewer's axes E is −∇φ."""
    run = open_run(plasma)
    series = viewed(plasma / "openpmd", backend)
    (phi, on), (rho, _) = (series.get_field(name, t=0.1) for name in ("phi", "rho"))
    fields = run.fields(0.1)
    np.testing.assert_array_equal(phi, fields["potential"])
    np.testing.assert_array_equal(rho, fields["density"])
    assert rho.sum() * on.dx * on.dy == pytest.approx(50.0, rel=1e-5)
    assert (on.x[0], on.y[0]) == (on.dx / 2, on.dy / 2)
    assert (len(on.x) * on.dx, len(on.y) * on.dy) == pytest.approx((4 * np.pi, 2 * np.pi))
    for i, step in enumerate((on.dx, on.dy)):
        electric, _ = series.get_field("E", coord="xy"[i], t=0.1)
        np.testing.assert_array_equal(electric, fields["electric"][..., i])
        k = 2 * np.pi * np.fft.fftfreq(phi.shape[i], step)
        k[phi.shape[i] // 2] = 0.0  # it has no sign
        waves = np.expand_dims(k, 1 - i) * np.fft.fft(phi, axis=i)
        scale = np.abs(electric).max()
        np.testing.assert_allclose(electric, np.fft.ifft(waves, axis=i).imag, atol=1e-4 * scale)


def test_f_is_that_of_the_particles(well):
    """On the viewer's axes, between which log f is nearly linear."""
    series = viewed(well / PATHS["group"])
    f, on = series.get_field("f", t=0.3)
    x, v, log_f = series.get_particle(["x", "velocity/x", "log_f"], t=0.3)
    inside = RegularGridInterpolator((on.x, on.vx), np.log(f), bounds_error=False)
    found = inside(np.stack([x, v], axis=1))
    known = np.isfinite(found)
    assert known.sum() > 150
    np.testing.assert_allclose(found[known], log_f[known], atol=5e-3)
    cut, _ = series.get_field("f", t=0.3, slice_across="x", slice_relative_position=0.25)
    exact = open_run(well).slice(0.3, x1=on.x[100], v1=on.vx)
    np.testing.assert_allclose(cut, exact, rtol=1e-7)


def test_f_is_a_slice_through_the_mean(plasma):
    """Of mass one, where its comment says."""
    series = viewed(plasma / "openpmd")
    f, on = series.get_field("f", t=0.1)
    snapshot = open_run(plasma).particles(0.1)
    x2, v2 = (float(f"{snapshot[kind][:, 1].mean(dtype=float):.3g}") for kind in "xv")
    assert on.field_attrs["comment"] == f"f(t, x, v), of mass one, at x2 = {x2}, v2 = {v2}"
    exact = open_run(plasma).slice(0.1, x1=on.x, v1=on.vx, x2=x2, v2=v2)
    np.testing.assert_allclose(f, exact, rtol=1e-7)
    other = open_run(plasma).slice(0.1, x1=on.x, v1=on.vx)
    assert np.abs(f - other).max() > 0.1 * f.max()


def test_the_api_reads_units_and_steps(plasma):
    """No unit has a scale; the patch is wide enough for all, and no wider than it must be."""
    series = api.Series(str(plasma / "openpmd" / "data_%06T.h5"), api.Access.read_only)
    assert (series.openPMD, series.openPMD_extension) == ("1.1.0", 0)
    assert series.comment.startswith("Landau damping, 2D2V") and "no scale in SI" in series.comment
    step = series.iterations[2]
    assert (step.time, step.dt, step.time_unit_SI) == (open_run(plasma).times[1], 0.05, 1.0)
    particles = step.particles["particles"]
    for record in (*particles.items(), *step.meshes.items()):
        assert record[1].unit_dimension == [0.0] * 7, record[0]
        assert all(component.unit_SI == 1.0 for _, component in record[1].items()), record[0]
    assert particles["mass"][SCALAR][:].tolist() == particles["charge"][SCALAR][:].tolist()
    patch = particles.particle_patches
    for axis in "xy":
        x = particles["position"][axis][:]
        low, width = (patch[name][axis].load() for name in ("offset", "extent"))
        series.flush()
        assert low[0] == x.min() and low[0] + width[0] > x.max()
        assert low[0] + width[0] == pytest.approx(x.max(), rel=1e-12)


def test_the_validator_has_nothing_to_say(well, plasma, tmp_path):
    """And each export takes the place of the one before."""
    for run in (well, plasma):
        folder = shutil.copytree(run, tmp_path / run.name)
        for encoding in ("file", "group", "file"):
            told = kjko("export", folder, "--encoding", encoding).stdout.splitlines()
            files = [Path(told_of.removeprefix("openPMD: ")) for told_of in told]
            assert names(folder / "openpmd") == [file.name for file in files]
            for file in files:
                np.testing.assert_array_equal(check_file(file), [0, 0], str(file))


def test_a_run_that_knows_f_at_its_particles_only(tmp_path):
    """f is interpolated between them; of one without log f, and without a field, are no meshes."""
    loop.start(small_case("output.passages=false", "particles.number=4000"), tmp_path / "run")
    loop.start(small_case("solver.method.kind=langevin"), tmp_path / "stochastic")
    for name in ("run", "stochastic"):
        assert kjko("export", tmp_path / name).exit_code == 0
        np.testing.assert_array_equal(check_file(tmp_path / name / PATHS["group"]), [0, 0])
    assert viewed(tmp_path / "stochastic" / PATHS["group"]).avail_fields is None
    f, on = viewed(tmp_path / "run" / PATHS["group"]).get_field("f", t=0.0)
    assert on.field_attrs["comment"].endswith("interpolated between particles, zero beyond them")
    exact = closed_form(open_run(tmp_path / "run").experiment().problem)
    assert exact is not None
    x, v = np.meshgrid(on.x, on.vx, indexing="ij")
    law = np.exp(exact.log_f(0.0, x.reshape(-1, 1), v.reshape(-1, 1))).reshape(f.shape)
    assert np.abs(f - law).max() < 0.05 * law.max()


def test_a_snapshot_that_a_killed_run_has_to_reach_again(well, tmp_path):
    """Its series goes on from an earlier checkpoint: what the steps until then did is known, and f
    later is interpolated between its particles.
    """
    folder = shutil.copytree(well, tmp_path / "run")
    lines = (folder / "series.jsonl").read_text().splitlines(keepends=True)
    (folder / "series.jsonl").write_text("".join(lines[:5]))  # until step 4
    assert kjko("export", folder).exit_code == 0
    series = viewed(folder / PATHS["group"])
    assert series.iterations.tolist() == [0, 3, 6] and series.avail_fields == ["f"]
    with h5py.File(folder / PATHS["group"]) as file:
        comments = [file[f"data/{step}/meshes/f"].attrs["comment"] for step in (0, 3, 6)]
    assert ["interpolated" in comment.decode() for comment in comments] == [False, False, True]


def test_a_damaged_run_leaves_the_earlier_export(tmp_path):
    folder = tmp_path / "run"
    loop.start(small_case("output.passages=false"), folder)
    kjko("export", folder)
    last = open_run(folder).snapshot_files[-1]
    last.write_bytes(last.read_bytes()[:-1])
    before = contents(folder)
    for encoding in ("group", "file"):
        said = line(kjko("export", folder, "--encoding", encoding), 4)
        assert said == f"{last}: cannot be read: its checksum is that of other content"
        assert contents(folder) == before


def test_a_full_disk_leaves_the_earlier_export(tmp_path, monkeypatch):
    """At any write: one export or the other, and nothing beside it."""
    fsync, room = os.fsync, 1000

    def fsync_or_fail(descriptor):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_or_fail)
    folder = tmp_path / "run"
    loop.start(small_case("output.passages=false"), folder)
    kjko("export", folder)
    before = names(folder)
    kept = 0
    for writes in range(100):
        room = writes
        result = kjko("export", folder, "--encoding", "file")
        assert names(folder) == before
        if result.exit_code == 0:
            break
        assert line(result, 4).startswith("[Errno 28]")
        kept += names(folder / "openpmd") == ["data.h5"]
    assert kept >= 3
    assert names(folder / "openpmd") == [f"data_00000{step}.h5" for step in (0, 3, 6)]


def test_a_rename_that_fails_is_taken_back(well, tmp_path, monkeypatch):
    """That of the new folder, after that of the old one."""
    folder = shutil.copytree(well, tmp_path / "run")
    before, rename = contents(folder), Path.rename

    def refuse(path, target):
        if target == folder / "openpmd" and path.name.startswith(".openpmd.a."):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert line(kjko("export", folder), 4).startswith("[Errno 5]")
    assert contents(folder) == before


def test_what_a_killed_export_left_is_removed(tmp_path):
    """When the folder is next claimed; not what another process is at."""
    gone, there = (tmp_path / f".openpmd.a.{number}.tmp" for number in (2**22 + 1, os.getppid()))
    for folder in (gone, there):
        folder.mkdir()
        (folder / "data.h5").touch()
    with claimed(tmp_path):
        assert not gone.exists() and names(there) == ["data.h5"]


def test_what_cannot_be_exported(well, tmp_path):
    assert line(kjko("export", tmp_path), 2).startswith(f"{tmp_path}: not a run folder")
    said = line(kjko("export", well, "--encoding", "adios"), 2)
    assert said == "--encoding: expected group or file, got adios"
    for name in ("case.toml", "series.jsonl"):
        (tmp_path / name).write_bytes((well / name).read_bytes())
    assert line(kjko("export", tmp_path), 2) == (
        f"{tmp_path}: no snapshots to export; set output.snapshot_times"
    )
