"""The density at any point and time of a run: against its particles and against exact laws."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_folders import SMALL, contents, names, resume

import kjko
from kjko.case import load
from kjko.reference.closed_form import closed_form
from kjko.run import loop
from kjko.run.checkpoints import NoCheckpoint
from kjko.run.passages import PASSAGES

SETTINGS = ["particles.number=400", "output.snapshot_times=[0.3]", "solver.end_time=0.6"]
BY_VALUES = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]
POINTS = 50  # that a map is taken at, where any number will do: it is compiled for each
RUNS = {
    "network": ("gaussian-1d", ["solver.control.widths=[4]", "solver.fit.steps=3"]),
    "splines": ("multiwell-1d", ["problem.collision_rate=6.0"]),  # in parts
    "ridges": ("rotated-well-2d", ["solver.control={kind='ridges', size=8}"]),
    "plasma": ("landau-1d-collisional", ["particles.sampling=random"]),
    "lie": ("gaussian-1d", [*BY_VALUES, "solver.integrator={kind='lie', map='symplectic-euler'}"]),
    "free": ("landau-1d", ["solver.control={kind='quadratic'}"]),
}


ALIKE = ("lie", "network")  # by the same way as another one
EACH = [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in RUNS]


@pytest.fixture(scope="module", params=EACH)
def run(request, tmp_path_factory):
    case, settings = RUNS[request.param]
    folder = tmp_path_factory.mktemp("history") / "run"
    loop.start(load(case, [*SETTINGS, *settings]), folder)
    return kjko.open_run(folder)


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    """The default fit on a law that is known in closed form, 3,000 particles."""
    folder = tmp_path_factory.mktemp("history") / "gaussian"
    settings = ["particles.number=3000", "solver.time_step=0.05", "solver.end_time=1.0"]
    loop.start(load("gaussian-1d", [*settings, *BY_VALUES]), folder)
    return kjko.open_run(folder)


def points_of(run, t):
    """Particles of a snapshot, with their log f."""
    snapshot = run.particles(t)
    return tuple(snapshot[name][:POINTS] for name in ("x", "v", "log_f"))


def test_it_is_the_density_of_the_particles(run):
    """Which float32 has rounded on their way."""
    for t in (0.3, 0.6):
        x, v, log_f = points_of(run, t)
        np.testing.assert_allclose(kjko.log_density(run, t, x, v), log_f, atol=2e-4)


def test_there_and_back(run):
    """New particles have the density that is found where they arrive, and come from the law."""
    history = run.history
    new = run.resample(POINTS, 0.5, seed=9)
    found = history.log_density(0.5, new.x, new.v)
    np.testing.assert_allclose(found, new.log_f, atol=1e-4)
    with jax.enable_x64(True):
        first = kjko.sample(history.law, POINTS, 9)
        end = history._push(0.6, kjko.Particles(first.x, first.v, first.log_f))
        start, is_found = history._pull(0.6, end)
        assert bool(is_found.all())
        np.testing.assert_allclose(start.x, first.x, atol=1e-5)
        np.testing.assert_allclose(start.v, first.v, atol=1e-5)


def test_mass_is_kept(gaussian):
    """∫∫ f dx dv = 1 by a grid, at a time within a step."""
    x = v = np.linspace(-9, 9, 121)
    grid = np.stack(np.meshgrid(x, v, indexing="ij"), axis=-1).reshape(-1, 2)
    log_f = kjko.log_density(gaussian, 0.37, grid[:, :1], grid[:, 1:])
    mass = np.nansum(np.exp(log_f)) * (x[1] - x[0]) * (v[1] - v[0])
    assert mass == pytest.approx(1.0, abs=0.01)


def test_against_the_exact_law(gaussian):
    """log f and score at points that are no particles, at times of steps and within."""
    law = closed_form(gaussian.history.problem)
    assert law is not None
    for t in (0.02, 0.5, 0.53, 1.0):
        new = gaussian.resample(500, t, seed=4)
        x, v = (np.asarray(a, dtype=float) for a in (new.x, new.v))
        error = kjko.log_density(gaussian, t, x, v) - law.log_f(t, x, v)
        assert np.sqrt(np.mean(error**2)) < 0.02, t
        score, exact = kjko.score(gaussian, t, x, v), law.score(t, x, v)
        assert np.mean((score - exact) ** 2) < 2e-3 * np.mean(exact**2), t


def test_the_score_without_collisions_is_that_of_the_map(tmp_path):
    """By differences of log f."""
    case = load("landau-1d", [*SETTINGS, "solver.control={kind='quadratic'}"])
    loop.start(case, tmp_path / "run")
    run = kjko.open_run(tmp_path / "run")
    x, v, _ = points_of(run, 0.6)
    ends = [kjko.log_density(run, 0.6, x, np.asarray(v, float) + h) for h in (1e-4, -1e-4)]
    found = kjko.score(run, 0.6, x, v)
    np.testing.assert_allclose(found[:, 0], (ends[0] - ends[1]) / 2e-4, rtol=1e-4, atol=1e-5)


def test_of_a_run_in_double_precision(tmp_path):
    """Without it: the history takes the run's own; the state cannot, and says why."""
    case = load("gaussian-1d", [*SMALL, "solver.precision=double"])
    with jax.enable_x64(True):
        loop.start(case, tmp_path / "run")
    run = kjko.open_run(tmp_path / "run")
    t = float(run.columns["time"][-1])
    last = run.particles(t)
    found = kjko.log_density(run, t, last["x"], last["v"])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, last["log_f"], atol=1e-9)
    with pytest.raises(NoCheckpoint, match=r"float64 where jax has float32.*x64\", True\)"):
        run.state()


def test_what_was_resumed_has_all_of_its_steps(tmp_path):
    case = load("gaussian-1d", [*SMALL, "output.checkpoint_every=4"])
    loop.start(case, tmp_path / "whole")
    whole = (tmp_path / "whole" / PASSAGES).read_bytes()
    loop.start(case, tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "step_000006.npz").unlink()
    (tmp_path / "cut" / PASSAGES).write_bytes(whole[:-7])  # as a crash would leave it
    resume(tmp_path / "cut")
    assert (tmp_path / "cut" / PASSAGES).read_bytes() == whole


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history") / "undamaged"
    loop.start(load("gaussian-1d", SMALL), folder)
    return folder


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_damage_is_told(tmp_path, damage, undamaged):
    shutil.copytree(undamaged, tmp_path / "run")
    path = tmp_path / "run" / PASSAGES
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data[:-5] if damage == "cut" else data)
    before = contents(tmp_path / "run")
    with pytest.raises(OSError, match=r"passages.bin: cannot be read: expected what 6 steps did"):
        kjko.log_density(kjko.open_run(tmp_path / "run"), 0.1, [[0.0]], [[0.0]])
    assert contents(tmp_path / "run") == before


def test_of_a_simulation(gaussian):
    """The same as of the run in a folder, up to the step that was taken last."""
    case = gaussian.experiment()
    going = kjko.simulate(case.problem, case.method, state=case.init(), end_time=1.0, history=True)
    for _ in range(12):
        next(going)
    x, v, _ = points_of(gaussian, 1.0)
    assert going.history.end == pytest.approx(0.55)
    for t in (0.37, 0.55):
        found = going.history.log_density(t, x, v)
        np.testing.assert_array_equal(found, kjko.log_density(gaussian, t, x, v))
    assert going.history.slice(0.55, x1=[0.0, 1.0], v1=0.5).shape == (2,)


def test_a_simulation_without_a_history(gaussian):
    case = gaussian.experiment()
    given = {"problem": case.problem, "method": case.method, "end_time": 0.1}
    with pytest.raises(ValueError, match=r"^history: .* give simulate\(..., history=True\)"):
        _ = kjko.simulate(state=case.init(), **given).history
    with pytest.raises(ValueError, match=r"^history: expected a simulation from t = 0 on"):
        kjko.simulate(state=gaussian.state(), **given, history=True)
    method = kjko.Langevin()
    state = method.init(case.problem, case.particles, 0.05)
    with pytest.raises(ValueError, match=r"^the density is known at the particles only: Langevin"):
        kjko.simulate(case.problem, method, state=state, end_time=0.1, history=True)


def test_it_can_be_left_out(tmp_path):
    loop.start(load("gaussian-1d", [*SMALL, "output.passages=false"]), tmp_path / "run")
    assert PASSAGES not in names(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["solver.integrator.kind=symplectic-euler"], "in SymplecticEuler the control acts before"),
        (["solver.method.kind=langevin"], "Langevin keeps no map of its steps"),
        (["problem.collisions.kind=dougherty"], "Dougherty collisions depend on all particles"),
        (["solver.method.log_det=linear"], "its log-determinants are the linear ones"),
    ],
)
def test_what_has_no_map_says_so(tmp_path, settings, reason):
    loop.start(load("gaussian-1d", [*SMALL, *settings]), tmp_path / "run")
    with pytest.raises(ValueError, match=f"^the density is known at the particles only: {reason}"):
        kjko.score(kjko.open_run(tmp_path / "run"), 0.1, [[0.0]], [[0.0]])


def test_points_and_times_that_are_none(gaussian):
    with pytest.raises(ValueError, match=r"^t: expected a time of the run, 0 to 1, got 1.1"):
        kjko.log_density(gaussian, 1.1, [[0.0]], [[0.0]])
    for wrong in (np.zeros(3), np.zeros((0, 1)), 1.0, np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"^x, v: expected the shapes \(n, 1\) and \(n, 1\)"):
            kjko.log_density(gaussian, 1.0, wrong, wrong)


def test_new_particles_are_new(gaussian):
    first = np.asarray(gaussian.experiment().particles.x[:, 0])
    assert not np.isin(np.asarray(gaussian.resample(POINTS, 0.0).x[:, 0]), first).any()


def test_within_a_step_that_is_cut(tmp_path):
    """εΔt = 2 in a step: log f at a quarter of it is between those of its ends, as relaxed."""
    settings = ["particles.number=3000", "problem.collision_rate=20.0", "solver.end_time=0.1"]
    loop.start(load("gaussian-1d", [*settings, *BY_VALUES]), tmp_path / "run")
    run = kjko.open_run(tmp_path / "run")
    law = closed_form(run.history.problem)
    assert law is not None and int(run.history.passages[0].number) > 3
    for t in (0.025, 0.06):
        new = run.resample(500, t, seed=1)
        x, v = (np.asarray(a, dtype=float) for a in (new.x, new.v))
        error = kjko.log_density(run, t, x, v) - law.log_f(t, x, v)
        assert np.sqrt(np.mean(error**2)) < 0.1, t


def test_at_the_start_it_is_the_law(gaussian):
    law = gaussian.experiment().problem.law
    x, v = jnp.asarray([[0.3], [1.0]]), jnp.asarray([[-0.2], [2.0]])
    expected = jax.vmap(law.log_density)(x, v)
    np.testing.assert_allclose(kjko.log_density(gaussian, 0.0, x, v), expected, rtol=1e-5)
    slope = jax.vmap(jax.grad(law.log_density, argnums=1))(x, v)
    np.testing.assert_allclose(kjko.score(gaussian, 0.0, x, v), slope, rtol=1e-5)
