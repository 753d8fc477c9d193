"""Parts from outside the package, as docs/add_your_own shows them, do what they say."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem

import kjko
from kjko.core import State
from kjko.observe import Start
from kjko.reference.gaussian import exact_gaussian
from kjko.run.reader import Run
from kjko.run.writer import Writer

FOLDER = Path(__file__).parents[1] / "docs" / "add_your_own"


def own(name: str):
    """The module of that file."""
    spec = importlib.util.spec_from_file_location(f"own_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def last(problem, method, particles, time_step=0.05, end_time=0.5, **options) -> tuple[State, dict]:
    steps = {"time_step": time_step, "end_time": end_time}
    *_, end = kjko.simulate(problem, method, particles, **steps, **options)
    return end


def quadratics(d):
    return kjko.JKO(kjko.Gradient(kjko.Quadratics(d)))


def test_a_force():
    """A saddle that turns fast holds, one that stands still does not; there is no free energy."""
    law = kjko.Gaussian(np.zeros(4), 0.01 * np.eye(4))
    spread = {}
    for frequency in (0.0, 4.0):
        saddle = own("force").RotatingSaddle(3.0, frequency)
        problem = kjko.Problem(saddle, kjko.NoCollisions(), law)
        state, record = last(problem, kjko.Langevin(), kjko.sample(law, 200), end_time=6.0)
        assert record["free_energy"] is None and record["kl_stationary"] is None
        spread[frequency] = float(jnp.std(state.particles.x))
    assert spread[4.0] < 1 < 100 < spread[0.0]


def test_collisions():
    """The local bath: where collisions are fast the variance of v at x is T(x), by two methods."""
    bath = own("collisions").HeatedWall(4.0, 1.0, 0.5)
    law = kjko.Gaussian(np.array([0.2, 0.5]), np.array([[1.0, 0.3], [0.3, 1.5]]))
    well = kjko.External(kjko.Quadratic(np.eye(1), np.zeros(1)))
    problem = kjko.Problem(well, bath, law)
    particles = kjko.sample(law, 4000, 0, "low-discrepancy")
    for method in (kjko.JKO(kjko.Gradient(kjko.Splines(1))), kjko.Langevin()):
        state, record = last(problem, method, particles, end_time=1.5)
        x, v = np.asarray(state.particles.x)[:, 0], np.asarray(state.particles.v)[:, 0]
        for side in (-1, 1):
            there = side * x > 0.8
            expected = np.mean(1 + 0.5 * np.tanh(x[there]))
            assert np.var(v[there]) == pytest.approx(expected, rel=0.12)
        assert record["free_energy"] is None


def test_a_basis(double):
    """It holds all quadratics, so a Gaussian stays exact but for the step."""
    problem = asymmetric_problem(1)
    method = kjko.JKO(kjko.Gradient(own("basis").Cubics(1)))
    state, _ = last(problem, method, kjko.sample(problem.law, 500))
    law = kjko.Gaussian(*exact_gaussian(problem).at(0.5))
    off = state.particles.log_f - jax.vmap(law.log_density)(state.particles.x, state.particles.v)
    assert np.sqrt(np.mean(off**2)) < 5e-3


def test_a_fit():
    """It needs a loss alone, so it goes with both methods that have one; Newton's need is told."""
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 2000, 0, "low-discrepancy")
    descent = own("fit").Descent()
    for method in (kjko.JKO(kjko.Affine(1), descent), kjko.Score(kjko.Affine(1), descent)):
        _, record = last(problem, method, particles)
        assert record["drift_error"] < 0.02
    with pytest.raises(ValueError, match="Newton needs an optimality condition, and Score"):
        kjko.Score(kjko.Gradient(kjko.Splines(1)), kjko.Newton())


def test_a_method():
    """Mean, covariance and density of the exact law."""
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 4000, 0, "low-discrepancy")
    state, record = last(problem, own("method").Moments(), particles)
    exact = exact_gaussian(problem)
    mean, covariance = exact.at(0.5)
    z = np.concatenate([state.particles.x, state.particles.v], axis=1)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.03)
    assert record["entropy"] == pytest.approx(exact.entropy(0.5), abs=0.02)
    assert record["det_min"] is None and record["drift_error"] is None


def test_an_observable():
    """It alone is measured if it alone is asked for."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 20_000, 0, "low-discrepancy")
    observables = [own("observable").Kurtosis()]
    _, record = next(
        kjko.simulate(
            problem,
            quadratics(2),
            particles,
            time_step=0.1,
            end_time=0.1,
            observables=observables,
        )
    )
    assert set(record) == {"step", "time", "seconds", "kurtosis"}
    np.testing.assert_allclose(record["kurtosis"], 0, atol=0.05)


def test_a_format(tmp_path):
    """Written by the one writer, read by the one reader."""
    text = own("format").Text()
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 30)
    method = quadratics(1)
    start = Start(problem, method, particles)
    Writer(tmp_path, start, text, {}).snapshot(method.init(problem, particles, 0.1))
    (path,) = (tmp_path / "snapshots").iterdir()
    assert path.name == "step_000000.json"
    (tmp_path / "case.toml").write_text(
        "title = ''\n[problem]\ndimension = 1\n[particles]\nnumber = 30\n"
    )
    (tmp_path / "series.jsonl").touch()
    read = Run(tmp_path).particles(0.0)
    np.testing.assert_allclose(read["log_f"], particles.log_f, rtol=1e-6)
    assert read["mass"] == 1 and read["particles"] == 30
