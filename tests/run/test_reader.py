"""The one reader: series, particles, fields, control and state; what a resumed run refuses."""

import numpy as np
import pytest
from run_folders import SMALL, resume, series, small_case

import kjko
from kjko.case import BadInput, load
from kjko.run import loop
from kjko.run.checkpoints import NoCheckpoint


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    """A small run of a Gaussian problem."""
    folder = tmp_path_factory.mktemp("read") / "gaussian"
    loop.start(small_case("output.snapshot_every=2"), folder)
    return folder


@pytest.fixture(scope="module")
def plasma(tmp_path_factory):
    """Without collisions: a wave with a ripple, in one dimension with two velocities."""
    settings = [
        "problem.velocity_dimension=2",
        "problem.law.velocity={means=[[0.0, 0.3]], temperatures=[[1.0, 2.0]]}",
        "problem.potential={kind='expression', formula='0.01*cos(x1)'}",
        "particles.number=200",
        "solver.end_time=0.2",
    ]
    folder = tmp_path_factory.mktemp("read") / "plasma"
    loop.start(load("landau-1d", settings), folder)
    return folder


def test_the_series_is_labelled(gaussian):
    run = kjko.open_run(gaussian)
    told = series(gaussian)
    np.testing.assert_array_equal(run.series["time"], [record["time"] for record in told])
    np.testing.assert_array_equal(run.series["entropy"], [record["entropy"] for record in told])
    assert run.series["momentum"].dims == ("time", "velocity")
    assert run.series["marginal_kl_x"].dims == ("time", "position")
    assert np.isnan(run.series["loss"][0]) and "field_energy" not in run.series
    assert len(run.series[["entropy", "loss"]].to_dataframe()) == 7


def test_particles_of_the_nearest_snapshot(gaussian):
    run = kjko.open_run(gaussian)
    np.testing.assert_allclose(run.times, [0.0, 0.2, 0.3, 0.4, 0.6])
    particles = run.particles(0.27)
    assert particles["time"] == pytest.approx(0.3) and particles["x"].shape == (200, 1)
    assert (particles["mass"], particles["temperature"]) == (1, 1)
    assert particles["particles_kept"] == particles["particles"] == 200
    assert run.fields(0.3) == {} and run.manifest["seed"] == 0


def test_a_run_goes_on_from_its_state(gaussian):
    """In Python, as one that was never stopped; and its control is a function."""
    run = kjko.open_run(gaussian)
    problem, method, particles, *_ = run.experiment()
    state = run.state()
    assert int(state.step) == 6
    *_, (there, _) = kjko.simulate(problem, method, state=state, end_time=0.8)
    *_, (whole, _) = kjko.simulate(problem, method, particles, time_step=0.1, end_time=0.8)
    np.testing.assert_array_equal(there.particles.log_f, whole.particles.log_f)
    assert run.control()(particles.x[0], particles.v[0]).shape == (1,)


def test_fields_and_turns_of_a_sum(plasma):
    """Those of the self-consistent member, whatever stands before it."""
    run = kjko.open_run(plasma)
    fields, particles = run.fields(0.2), run.particles(0.2)
    assert fields["density"].shape == (128,) and fields["electric"].shape == (128, 1)
    length = float(particles["length"][0])
    assert fields["density"].mean() * length == pytest.approx(float(particles["mass"]), rel=1e-5)
    assert particles["turns"].shape == (200, 1) and particles["weight"] * 200 == pytest.approx(
        float(particles["mass"])
    )
    names = set(run.columns)
    assert {"energy_external", "energy_field", "energy_potential"} <= names
    both = run.columns["energy_external"] + run.columns["energy_field"]
    np.testing.assert_allclose(run.columns["energy_potential"], both, rtol=1e-12)


def test_a_sum_of_one(tmp_path):
    """Its fields are those of its only part."""
    problem, method, particles, *_ = load("landau-1d", ["particles.number=20"]).build()
    alone = kjko.Problem(kjko.Sum(problem.flow), problem.collisions, problem.law, problem.box, 4.0)
    state = method.init(alone, particles, 0.1)
    assert set(alone.flow.fields(state.field)) == {"density", "electric", "potential"}


def test_no_run_folder_and_no_checkpoint(gaussian, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a run folder, it has no case.toml"):
        kjko.open_run(tmp_path)
    for name in ("case.toml", "series.jsonl"):
        (tmp_path / name).write_bytes((gaussian / name).read_bytes())
    with pytest.raises(NoCheckpoint, match="there is none"):
        kjko.open_run(tmp_path).state()
    with pytest.raises(ValueError, match="no snapshots"):
        kjko.open_run(tmp_path).particles(0.0)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("time_step = 0.1", "time_step = 0.2", "solver.time_step"),
        ("collision_rate = 1.0", "collision_rate = 2.0", "problem.collision_rate"),
        ("seed = 0", "seed = 1", "particles.seed"),
    ],
)
def test_a_resumed_run_refuses_what_is_new(old, new, key, tmp_path):
    folder = tmp_path / "run"
    loop.start(small_case(), folder)
    text = (folder / "case.toml").read_text()
    assert text.count(old) == 1
    (folder / "case.toml").write_text(text.replace(old, new))
    before = series(folder)
    with pytest.raises(BadInput, match=f"case.toml: {key}: expected .* was begun with, got"):
        resume(folder)
    assert series(folder) == before


def test_a_later_end_is_no_change(tmp_path):
    """Nor is other output; the clock goes on."""
    folder = tmp_path / "run"
    loop.start(small_case(), folder)
    text = (folder / "case.toml").read_text()
    text = text.replace("end_time = 0.6", "end_time = 0.8")
    (folder / "case.toml").write_text(text.replace("checkpoint_every = 2", "checkpoint_every = 3"))
    resume(folder)
    np.testing.assert_allclose([r["time"] for r in series(folder)], 0.1 * np.arange(9))


def test_a_snapshot_in_another_format(tmp_path):
    loop.start(load("gaussian-1d", [*SMALL, "output.format=npz"]), tmp_path / "run")
    run = kjko.open_run(tmp_path / "run")
    assert {path.suffix for path in run.snapshot_files} == {".npz"}
    assert run.particles(0.3)["log_f"].shape == (200,)
