"""The run folder: what is in it, and that damage, a full disk or a stop never costs a run."""

import errno
import json
import os
import resource
from pathlib import Path

import equinox as eqx
import h5py
import jax
import numpy as np
import pytest
from run_folders import (
    SMALL,
    STEPS,
    TRAINED_HARD,
    assert_same_run,
    contents,
    names,
    resume,
    series,
    small_case,
)

import kjko
from kjko.case import load, parse_toml
from kjko.observe import NumericalFailure, Start
from kjko.run import loop
from kjko.run.atomic import write_atomically
from kjko.run.checkpoints import NoCheckpoint, read_checkpoint, write_checkpoint
from kjko.run.claim import LOCK
from kjko.run.formats import HDF5
from kjko.run.manifest import manifest as make_manifest
from kjko.run.manifest import read_manifest
from kjko.run.writer import Writer

OF_A_STATE = {
    "step",
    "time",
    "energy_kinetic",
    "energy_potential",
    "entropy",
    "free_energy",
    "kl_stationary",
}
OF_A_STEP = {"drift_error", "loss", "loss_heldout", "fit_iterations", "det_min", "seconds"}


class Stop(BaseException):
    """As sudden as a power cut: no handler of the package catches it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    loop.start(small_case(), folder)
    return folder


@pytest.fixture
def stopped(tmp_path, monkeypatch) -> Path:
    """A run cut off after step 5, with checkpoints of steps 2 and 4."""
    folder = tmp_path / "stopped"
    stop_after(5, monkeypatch)
    with pytest.raises(Stop):
        loop.start(small_case(), folder)
    monkeypatch.undo()
    assert names(folder / "checkpoints") == ["step_000002.npz", "step_000004.npz"]
    return folder


LONG = small_case("solver.end_time=1e6").model_dump(mode="json")


def stop_after(step: int, monkeypatch) -> None:
    append = Writer.record

    def append_and_stop(self, record):
        append(self, record)
        if record["step"] == step:
            raise Stop

    monkeypatch.setattr(Writer, "record", append_and_stop)


def writer_of(folder: Path, experiment) -> Writer:
    problem, method, particles, *_ = experiment
    return Writer(folder, Start(problem, method, particles), HDF5(), {})


def at_step(state, step: int):
    return eqx.tree_at(lambda s: s.step, state, np.asarray(step, dtype=np.int32))


def test_from_python(tmp_path):
    """As by the command, in the precision of the case; what is taken is refused in one line."""
    case = load("gaussian-1d", [*SMALL, "solver.precision=double"])
    run = kjko.run_case(case, str(tmp_path / "run"))
    assert run.columns["step"][-1] == STEPS and run.particles(0.0)["x"].dtype == np.float64
    with pytest.raises(ValueError, match="holds another run"):
        kjko.run_case(case, tmp_path / "run")


def test_the_folder_holds_what_is_promised(whole):
    files = ["case.toml", "checkpoints", "manifest.json", "passages.bin"]
    files += [LOCK, "series.jsonl", "snapshots"]
    assert names(whole) == files  # and figures, drawn by the command
    assert names(whole / "checkpoints") == ["step_000004.npz", "step_000006.npz"]
    assert names(whole / "snapshots") == [
        "stationary.h5",
        "step_000000.h5",
        "step_000003.h5",
        "step_000006.h5",
    ]
    assert parse_toml((whole / "case.toml").read_text(), "case.toml") == small_case()


def test_the_manifest(whole):
    manifest = read_manifest(whole)
    expected = {
        "versions",
        "device",
        "devices",
        "threads",
        "precision",
        "seed",
        "git_commit",
        "case",
    }
    assert set(manifest) == expected
    assert manifest["case"] == small_case().model_dump(mode="json")
    assert manifest["versions"]["jax"] == jax.__version__
    assert (manifest["precision"], manifest["seed"]) == ("single", 0)
    assert manifest["threads"] >= 1


def test_no_git_is_no_failure(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert make_manifest(small_case().model_dump())["git_commit"] is None


def test_the_series(whole):
    records = [json.loads(line) for line in (whole / "series.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(STEPS + 1))
    np.testing.assert_allclose([record["time"] for record in records], np.arange(STEPS + 1) / 10)
    first, *later = records
    assert {key for key in OF_A_STATE | OF_A_STEP if first[key] is None} == OF_A_STEP
    assert all(record[key] is not None for record in later for key in OF_A_STATE | OF_A_STEP)


def test_null_where_there_is_no_meaning(tmp_path):
    case = load("multiwell-1d", [*SMALL, "solver.end_time=0.1", "solver.fit.held_out=0.0"])
    loop.start(case, tmp_path / "run")
    last = series(tmp_path / "run")[-1]
    assert last["drift_error"] is None and last["loss_heldout"] is None
    assert last["loss"] is not None


def test_snapshots(whole):
    with h5py.File(whole / "snapshots" / "step_000003.h5") as file:
        assert file.attrs["step"] == 3 and file.attrs["time"] == pytest.approx(0.3)
        assert file["x"].shape == file["v"].shape == (200, 1)
        assert file["log_f"].shape == (200,)
        assert np.sum(file["histogram_x"]) == pytest.approx(1)
        assert file["edges_x"].shape == (1, file["histogram_x"].shape[1] + 1)


def test_histograms_are_of_all_particles(tmp_path):
    """The end bins hold what has gone beyond them, in one coordinate or in two."""
    experiment = small_case().build()
    state = experiment.init()
    far = eqx.tree_at(lambda s: (s.particles.x, s.particles.v), state, replace_fn=lambda a: 50 * a)
    writer_of(tmp_path, experiment).snapshot(far)
    with h5py.File(tmp_path / "snapshots" / "step_000000.h5") as file:
        plane = np.asarray(file["histogram_x1_v1"])
        np.testing.assert_allclose(plane.sum(axis=1), file["histogram_x"][0], atol=1e-6)
        np.testing.assert_allclose(plane.sum(axis=0), file["histogram_v"][0], atol=1e-6)
    assert plane[[0, -1]].sum() > 0.5


def test_an_existing_run_is_not_touched(whole):
    before = contents(whole)
    with pytest.raises(ValueError, match="holds another run"):
        loop.start(small_case(), whole)
    assert contents(whole) == before


def test_an_empty_folder_will_do(tmp_path, whole):
    loop.start(small_case(), tmp_path)
    assert_same_run(tmp_path, whole)


def test_resume_after_a_sudden_stop(stopped, whole):
    resume(stopped)
    assert_same_run(stopped, whole)


def test_resume_of_a_finished_run_changes_nothing(tmp_path, whole):
    loop.start(small_case(), tmp_path)
    before = contents(tmp_path)
    resume(tmp_path)
    assert contents(tmp_path) == before


def flip(data: bytes, byte: int) -> bytes:
    return data[:byte] + bytes([data[byte] ^ 4]) + data[byte + 1 :]


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "garbage": lambda data: bytes(range(256)) * 10,
    "one bit": lambda data: flip(data, len(data) // 2),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_costs_only_its_steps(damage, stopped, whole, caplog):
    path = stopped / "checkpoints" / "step_000004.npz"
    path.write_bytes(damage(path.read_bytes()))
    resume(stopped)
    assert [record.getMessage() for record in caplog.records] == [
        "step_000004.npz is damaged; going on from step 2"
    ]
    assert_same_run(stopped, whole)
    assert names(stopped / "checkpoints") == ["step_000004.npz", "step_000006.npz"]


WRONG = {  # states that are none of the run's, each in a file that is in order
    "shape": lambda s: eqx.tree_at(lambda s: s.particles.v, s, s.particles.v[:-1]),
    "dtype": lambda s: eqx.tree_at(lambda s: s.step, s, np.asarray(4.0)),
    "nan": lambda s: eqx.tree_at(lambda s: s.particles.x, s, s.particles.x * np.nan),
    "inf": lambda s: eqx.tree_at(lambda s: s.time_step, s, s.time_step + np.inf),
    "before the start": lambda s: at_step(s, -1),
    "after the end": lambda s: at_step(s, STEPS + 1),
    "far after the end": lambda s: at_step(s, 2**31 - 1),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_state_that_is_none_of_the_run_is_not_taken(change, stopped, whole, caplog):
    state, _ = read_checkpoint(stopped, small_case().build().init())
    wrong, case = change(state), small_case().model_dump(mode="json")
    write_checkpoint(stopped / "other", wrong, case)
    (path,) = (stopped / "other" / "checkpoints").iterdir()
    path.replace(stopped / "checkpoints" / "step_000005.npz")
    resume(stopped)
    assert "step_000005.npz is damaged; going on from step 4" in caplog.text
    assert_same_run(stopped, whole)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_arrays_without_their_checksum_are_not_taken(write, stopped, whole, caplog):
    """As another program would write them, or compressed, of any size."""
    path = stopped / "checkpoints" / "step_000004.npz"
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files if name != "sha256"}
    write(path, **kept)
    resume(stopped)
    assert "step_000004.npz is damaged" in caplog.text
    assert_same_run(stopped, whole)


def test_no_flipped_bit_goes_unnoticed(whole, tmp_path):
    """Any bit of a checkpoint is without effect on the state, or makes it damaged."""
    experiment = small_case().build()
    like = experiment.init()
    name = f"step_{STEPS:06d}.npz"
    data = (whole / "checkpoints" / name).read_bytes()
    expected = jax.tree.leaves(read_checkpoint(whole, like))
    (tmp_path / "checkpoints").mkdir()
    damaged = 0
    for bit in np.random.default_rng(0).choice(8 * len(data), 300, replace=False):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "checkpoints" / name).write_bytes(flipped)
        try:
            state = read_checkpoint(tmp_path, like)
        except NoCheckpoint:
            damaged += 1
        else:
            for a, b in zip(jax.tree.leaves(state), expected, strict=True):
                np.testing.assert_array_equal(a, b)
    assert damaged > 200  # most of the file is the state


@pytest.mark.parametrize("missing", [False, True])
def test_without_a_checkpoint_nothing_is_deleted(missing, stopped):
    for path in (stopped / "checkpoints").iterdir():
        path.unlink() if missing else path.write_bytes(b"")
    (stopped / LOCK).touch()
    before = contents(stopped)
    with pytest.raises(NoCheckpoint, match="there is none" if missing else "damaged: step_"):
        resume(stopped)
    assert contents(stopped) == before


def test_checkpoints_are_in_order_beyond_a_million_steps(tmp_path):
    experiment = small_case().build()
    like = experiment.init()
    for step in (999_998, 999_999, 1_000_000):
        write_checkpoint(tmp_path, at_step(like, step), LONG)
    assert names(tmp_path / "checkpoints") == ["step_1000000.npz", "step_999999.npz"]
    state, _ = read_checkpoint(tmp_path, like)
    assert int(state.step) == 1_000_000


def test_a_damaged_checkpoint_is_not_kept_in_place_of_a_good_one(tmp_path):
    """After a resume from step 2, what is left of step 6 does not count as the newest."""
    experiment = small_case().build()
    like = experiment.init()
    for step in (2, 6, 3, 4):
        write_checkpoint(tmp_path, at_step(like, step), LONG)
    assert names(tmp_path / "checkpoints") == ["step_000003.npz", "step_000004.npz"]


def test_a_cut_last_line_is_made_again(stopped, whole):
    path = stopped / "series.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    resume(stopped)
    assert_same_run(stopped, whole)


def test_a_last_line_without_its_end_is_not_glued(stopped, whole):
    path = stopped / "series.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:5]))  # up to step 4, where the checkpoint is
    resume(stopped)
    assert_same_run(stopped, whole)


@pytest.mark.parametrize(
    ("damage", "lines", "lost"),
    [
        (lambda lines: [*lines[:2], b'{"step": 2, "ti\xff', *lines[3:]], 1, [2]),
        (lambda lines: [*lines[:2], b"17", b"[]", b"{}", *lines[3:]], 3, [2]),
        (lambda lines: [*lines[:2], b"[" * 200_000, b"9" * 5_000, *lines[3:]], 2, [2]),
        (lambda lines: [*lines[:2], lines[2].replace(b"0.", b"1.", 1), *lines[3:]], 1, [2]),
        (lambda lines: lines[:3], 0, [3, 4]),
        (lambda lines: [], 1, [0, 1, 2, 3, 4]),
    ],
)
def test_a_damaged_series_keeps_what_can_be_read(damage, lines, lost, stopped, whole, caplog):
    path = stopped / "series.jsonl"
    path.write_bytes(b"\n".join(damage(path.read_bytes().splitlines())) + b"\n")
    resume(stopped)
    told = [f"{path}: {lines} damaged or unfinished line(s) are left out"] if lines else []
    assert caplog.messages == [*told, f"series.jsonl has lost the records of {len(lost)} steps"]
    assert series(stopped) == [r for r in series(whole) if r["step"] not in lost]


def test_a_lost_series_is_begun_anew(stopped, whole):
    (stopped / "series.jsonl").unlink()
    resume(stopped)
    assert series(stopped) == series(whole)[5:]


def test_a_full_disk_at_any_write(tmp_path, monkeypatch, whole):
    """Whichever write it is: no temporary file stays, and the run goes on once there is room."""
    fsync = os.fsync
    room = None

    def fsync_or_fail(descriptor):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_or_fail)
    resumed = 0
    for writes in range(100):
        folder, room = tmp_path / str(writes), writes
        try:
            loop.start(small_case(), folder)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert error.filename.startswith(str(folder))
        else:
            break
        assert not [name for name in contents(folder) if name.endswith(".tmp")]
        room = 1000
        if (folder / "case.toml").exists():
            resume(folder)
            assert_same_run(folder, whole)
            resumed += 1
        else:
            loop.start(small_case(), folder)
    assert resumed > STEPS
    assert_same_run(folder, whole)


@pytest.mark.parametrize("file", ["series", "snapshot"])
def test_a_file_that_may_not_grow(file, tmp_path, monkeypatch, whole):
    """The operating system's own refusal, in the middle of a line or of a snapshot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    append = Writer.record

    def append_and_limit(self, record):
        append(self, record)
        if record["step"] == 3:
            size = (self.folder / "series.jsonl").stat().st_size
            limit = size + 50 if file == "series" else 100_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    monkeypatch.setattr(Writer, "record", append_and_limit)
    times = "[]" if file == "series" else "[0.3]"
    try:
        with pytest.raises(OSError, match="File too large"):
            loop.start(small_case(f"output.snapshot_times={times}"), tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        monkeypatch.undo()
    assert [r["step"] for r in series(tmp_path / "run")] == [0, 1, 2, 3]
    assert not list((tmp_path / "run").rglob("*.tmp"))
    resume(tmp_path / "run")
    assert series(tmp_path / "run") == series(whole)


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> tuple[Path, str]:
    """The printed scheme, trained hard: it folds or overflows within a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "failed"
    with pytest.raises(NumericalFailure) as caught:
        loop.start(load("gaussian-1d-paper", TRAINED_HARD), folder)
    return folder, str(caught.value)


def test_a_numerical_failure_names_quantity_and_step(failed):
    folder, message = failed
    last = series(folder)[-1]["step"]
    assert 0 < last < 99
    quantity, at_step = message.split(f" at step {last + 1} (t = ")
    assert quantity.split()[0] in ("loss", "det_min", "entropy", "energy_kinetic")
    assert "try a smaller" in at_step
    assert [r["step"] for r in series(folder)] == list(range(last + 1))
    assert names(folder / "checkpoints")[-1] == f"step_{last:06d}.npz"


def test_resume_after_a_numerical_failure_fails_alike(failed):
    folder, message = failed
    before = contents(folder)
    with pytest.raises(NumericalFailure) as caught:
        resume(folder)
    assert str(caught.value) == message
    after = contents(folder)
    assert set(after) == set(before)
    assert after["series.jsonl"] == before["series.jsonl"]


def test_a_start_that_is_not_finite_touches_nothing(tmp_path):
    with pytest.raises(NumericalFailure, match="energy_potential is not finite at step 0"):
        loop.start(small_case("problem.potential.stiffness=3e38"), tmp_path / "run")
    assert names(tmp_path) == []


def test_numpy_has_no_say_in_a_failure(tmp_path):
    """Its warnings would be more lines than the one that `check` gives."""
    slow = "problem.collision_rate=1e-20"
    case = small_case("solver.time_step=1e20", "solver.end_time=1e20", slow)
    with pytest.raises(NumericalFailure):
        loop.start(case, tmp_path / "run")


def test_snapshots_after_the_end_are_not_taken():
    times = "output.snapshot_times=[0.0, 0.04, 0.3, 0.8, 1e308]"
    assert loop._snapshot_steps(small_case("solver.precision=double", times), 6) == {0, 3, 6}
