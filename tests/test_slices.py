"""Slices and marginals of f: against closed forms, where coordinates are coupled."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import kjko
from kjko.case import load
from kjko.history import History
from kjko.reference.closed_form import closed_form
from kjko.run import loop
from kjko.slices import marginal_of, slice_of, stationary_slice

X, V = np.linspace(-2.0, 3.0, 7), np.linspace(-1.5, 2.0, 5)


def at_the_start(law, box=None):
    """The density of a run that has not begun: its law, without anything learned."""
    flow = kjko.External(lambda x: 0.5 * x @ x) if box is None else kjko.Uniform([0.0])
    problem = kjko.Problem(flow, kjko.FokkerPlanck(0.5), law, box)
    state = kjko.Langevin().init(problem, kjko.sample(law, 10), 0.1)
    return History(problem, law, state, [])


@pytest.fixture(scope="module")
def mixture():
    """Two Gaussians in (x₁, x₂, v₁, v₂), all of whose coordinates are coupled."""
    draw = np.random.default_rng(3)
    means, roots = draw.normal(size=(2, 4)), draw.normal(size=(2, 4, 4)) / 2
    covariances = roots @ np.moveaxis(roots, 1, 2) + 0.4 * np.eye(4)
    law = kjko.GaussianMixture(means, covariances, np.array([0.3, 0.7]))
    return at_the_start(law), means, covariances


def density(mixture, rows, points):
    """Of some of the coordinates, the others integrated out."""
    _, means, covariances = mixture
    parts = [
        multivariate_normal(m[rows], c[np.ix_(rows, rows)]).pdf(points)
        for m, c in zip(means, covariances, strict=True)
    ]
    return 0.3 * parts[0] + 0.7 * parts[1]


def test_a_slice(mixture):
    """By name in any order; what is not named is at zero."""
    found = slice_of(mixture[0], 0.0, {"v2": V, "x1": X, "x2": 0.4})
    assert found.dims == ("v2", "x1") and float(found.x2) == 0.4
    v2, x1 = np.meshgrid(V, X, indexing="ij")
    points = np.stack([x1, np.full_like(x1, 0.4), np.zeros_like(x1), v2], axis=-1)
    np.testing.assert_allclose(found, density(mixture, [0, 1, 2, 3], points), rtol=1e-4)


def test_a_slice_of_the_stationary_law(mixture):
    """A product of normal laws in a quadratic well; none is known without a well."""
    found = stationary_slice(mixture[0], {"x2": X, "v1": V, "x1": 0.3})
    exact = norm.pdf(0.3) * np.outer(norm.pdf(X), norm.pdf(V)) * norm.pdf(0.0)
    assert found is not None
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    law = kjko.Gaussian(np.zeros(2), np.eye(2))
    free = kjko.Problem(kjko.External(lambda x: 0.0 * x[0]), kjko.FokkerPlanck(0.5), law)
    state = kjko.Langevin().init(free, kjko.sample(law, 10), 0.1)
    assert stationary_slice(History(free, law, state, []), {"x1": X}) is None


@pytest.mark.parametrize("names", ["x2", "v1", "x1 v2", "v2 x1", "x1 x2 v1"])
def test_a_marginal(mixture, names):
    """Within its own error, of some per cent, which is no larger than it has to be."""
    order, names = ["x1", "x2", "v1", "v2"], tuple(names.split())
    given = {name: X if name[0] == "x" else V for name in names}
    found = marginal_of(mixture[0], 0.0, given)
    points = np.stack(np.meshgrid(*given.values(), indexing="ij"), axis=-1)
    exact = density(mixture, [order.index(name) for name in names], points)
    assert found.density.dims == names
    off = (found.density - exact) / found.error
    assert 0.3 < float(np.sqrt(np.mean(off**2))) < 2.5
    assert float(found.error.max()) < 0.1 * exact.max()


@pytest.mark.parametrize("width, known", [(0.15, False), (1.0, True)])
def test_narrow_modes_in_other_coordinates(width, known):
    """A marginal that its draws miss is not given: 16 modes at (±2)⁴."""
    means = np.array(np.meshgrid(*4 * [[-2.0, 2.0]])).reshape(4, 16).T
    law = kjko.GaussianMixture(means, np.tile(width**2 * np.eye(4), (16, 1, 1)))
    found = marginal_of(at_the_start(law), 0.0, {"x1": [2.0]})
    exact = 0.5 * norm.pdf(0.0, scale=width) + 0.5 * norm.pdf(4.0, scale=width)
    if known:
        assert abs(float(found.density[0]) - exact) < 4 * float(found.error[0]) < exact
    else:
        assert np.isnan(found.density[0]) and np.isnan(found.error[0])


def test_in_a_periodic_box():
    """Of x ~ 1 + A cos kx, whose marginals are known, whatever the box's length."""
    law = kjko.Product(
        kjko.CosinePosition([4.0], [0.5], [1]),
        np.array([[0.5], [-1.0]]),
        np.array([[[0.3]], [[0.6]]]),
        np.array([0.4, 0.6]),
    )
    history = at_the_start(law, kjko.Box([4.0]))
    exact = 0.4 * norm.pdf(V, 0.5, 0.3**0.5) + 0.6 * norm.pdf(V, -1.0, 0.6**0.5)
    np.testing.assert_allclose(marginal_of(history, 0.0, {"v1": V}).density, exact, rtol=1e-3)
    x = np.linspace(0, 4, 9)
    exact = (1 + 0.5 * np.cos(np.pi * x / 2)) / 4
    np.testing.assert_allclose(marginal_of(history, 0.0, {"x1": x}).density, exact, rtol=0.05)


def test_of_a_run(tmp_path):
    """At a time within a step, against the exact law."""
    settings = ["particles.number=3000", "solver.time_step=0.05", "solver.end_time=0.5"]
    by_values = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]
    loop.start(load("gaussian-1d", [*settings, *by_values]), tmp_path / "run")
    run = kjko.open_run(tmp_path / "run")
    law = closed_form(run.history.problem)
    mean, covariance = law.at(0.37)
    found = run.marginal(0.37, v1=V)
    exact = norm.pdf(V, mean[1], covariance[1, 1] ** 0.5)
    np.testing.assert_allclose(found.density, exact, atol=0.01)
    found = run.slice(0.37, x1=X, v1=0.2)
    exact = np.exp(law.log_f(0.37, X[:, None], np.full((len(X), 1), 0.2)))
    np.testing.assert_allclose(found, exact, atol=0.005)


def test_what_is_asked_wrongly(mixture, tmp_path):
    history = mixture[0]
    with pytest.raises(ValueError, match=r"^x3: expected one of the coordinates x1, x2, v1, v2"):
        slice_of(history, 0.0, {"x3": X})
    with pytest.raises(ValueError, match=r"^expected at least one coordinate as an array"):
        slice_of(history, 0.0, {"x1": 0.5})
    with pytest.raises(ValueError, match=r"^x2: expected a number or .* got the shape \(0,\)"):
        marginal_of(history, 0.0, {"x2": []})
    with pytest.raises(ValueError, match=r"^x1: expected a number or .* got the shape \(1, 7\)"):
        slice_of(history, 0.0, {"x1": X[None]})
    with pytest.raises(ValueError, match=r"^v1: expected an array to have the marginal on"):
        marginal_of(history, 0.0, {"x1": X, "v1": 0.3})
    with pytest.raises(ValueError, match=r"^expected a coordinate to be left to integrate over"):
        marginal_of(history, 0.0, {name: X for name in ("x1", "x2", "v1", "v2")})
    with pytest.raises(ValueError, match=r"^t: expected a time of the run"):
        marginal_of(history, 0.5, {"x1": X})
