"""The collision step, the field and the interpolation of the grid solution, each alone."""

import numpy as np
import pytest
from scipy import special, stats
from scipy.linalg import expm

from kjko.reference.grid_collision import (
    collision_operator,
    exponential,
    own_moments,
    relax_rows,
    relaxation,
)
from kjko.reference.grid_density import grid_density
from kjko.reference.grid_splitting import electric_field, phase_grid


def velocities(cells, end=9.0):
    return phase_grid(0.0, 1.0, end, (8, cells)).v


@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_the_structure_of_the_collision_operator(temperature):
    v = velocities(160)
    operator = collision_operator(v, temperature).toarray()
    maxwellian = np.exp(-0.5 * v**2 / temperature)
    assert np.abs(operator @ maxwellian).max() < 1e-13 * np.abs(operator).max()
    assert np.abs(operator.sum(axis=0)).max() < 1e-13 * np.abs(operator).max()
    weighted = operator * maxwellian
    np.testing.assert_allclose(weighted, weighted.T, atol=1e-12)
    f = np.exp(-2 * (v - 1) ** 2) + 0.1 * (v < -3)
    mass, entropy = f.sum(), np.inf
    step = expm(0.1 * operator)
    for _ in range(20):
        f = step @ f
        assert f.min() > 0
        assert f.sum() == pytest.approx(mass, rel=1e-12)
        assert f @ np.log(f / maxwellian) < entropy
        entropy = f @ np.log(f / maxwellian)


@pytest.mark.parametrize("strength", [1e-6, 0.03, 0.8])
def test_the_exponential_of_an_operator(strength):
    """By SciPy's Padé approximation, of columns of both signs."""
    operator = strength * collision_operator(velocities(160), 0.5)
    f = np.random.default_rng(0).normal(size=(160, 3))
    found = exponential(operator, f)
    np.testing.assert_allclose(found, expm(operator.toarray()) @ f, atol=1e-13)


def relaxed_normal(v, mean, variance, temperature, strength):
    """The normal law after the exact Ornstein-Uhlenbeck step."""
    decay = np.exp(-strength)
    width = np.sqrt(temperature + (variance - temperature) * decay**2)
    return stats.norm.pdf(v, mean * decay, width)


def test_the_collision_operator_is_of_second_order():
    errors = []
    for cells in (160, 320):
        v = velocities(cells)
        step = expm(0.3 * collision_operator(v, 1.3).toarray())
        found = step @ stats.norm.pdf(v, 1.0, 0.7)
        errors.append(np.abs(found - relaxed_normal(v, 1.0, 0.49, 1.3, 0.3)).max())
    assert 3.8 < errors[0] / errors[1] < 4.2


@pytest.mark.parametrize("strength", [1e-5, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_a_collision_step(temperature, strength):
    v = velocities(160)
    step = relaxation(v, temperature, strength)
    np.testing.assert_allclose(step.sum(axis=0), 1, atol=1e-14)
    maxwellian = stats.norm.pdf(v, 0.0, np.sqrt(temperature))
    np.testing.assert_allclose(step @ maxwellian, maxwellian, atol=1e-12)
    found = step @ stats.norm.pdf(v, 1.0, 0.7)
    expected = relaxed_normal(v, 1.0, 0.49, temperature, strength)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    dv = v[1] - v[0]
    assert dv * v @ found == pytest.approx(np.exp(-strength), abs=5e-5)
    assert dv * v**2 @ found == pytest.approx(dv * v**2 @ expected, abs=5e-5)


def test_a_maxwellian_that_is_not_resolved():
    with pytest.raises(ValueError, match="cells: their width in v is 0.112 and must be below 0.06"):
        relaxation(velocities(160), 0.01, 0.1)


def beams(v):
    """Rows that are not symmetric: two beams of different strength, width and place."""
    drifts = np.array([[1.0], [1.4], [0.3]])
    return 0.6 * stats.norm.pdf(v, drifts, 0.7) + 0.4 * stats.norm.pdf(v, -1.5, 0.5 + 0 * drifts)


def entropy(f):
    positive = np.maximum(f, 0)
    return special.xlogy(positive, positive).sum(axis=1)


@pytest.mark.parametrize("cells", [480, 481])
@pytest.mark.parametrize("strength", [1e-5, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_rows_in_one_bath_at_rest(temperature, strength, cells):
    """As the matrix of the Chang-Cooper operator, which shares nothing with it; Σf is kept."""
    v = velocities(cells)
    f = beams(v)
    found = relax_rows(f, v, np.zeros(3), np.full(3, temperature), strength)
    expected = f @ relaxation(v, temperature, strength).T
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    np.testing.assert_allclose(found.sum(axis=1), f.sum(axis=1), rtol=1e-14)
    assert found.min() > -1e-13


@pytest.mark.parametrize("strength", [1e-4, 0.3, 5.0])
def test_rows_in_baths_of_their_own(strength):
    """A normal law in a bath that moves stays one, as the Ornstein-Uhlenbeck process says."""
    v = velocities(240, 12.0)
    velocity, temperature = np.array([1.3, -0.7, 0.0]), np.array([0.6, 1.7, 1.0])
    f = np.stack([stats.norm.pdf(v, 1.0, 0.7)] * 3)
    found = relax_rows(f, v, velocity, temperature, strength)
    for row, u, t in zip(found, velocity, temperature, strict=True):
        expected = relaxed_normal(v - u, 1.0 - u, 0.49, t, strength)
        np.testing.assert_allclose(row, expected, atol=1e-13)


@pytest.mark.parametrize("strength", [1e-4, 0.03, 1.0])
def test_rows_that_relax_to_their_own_moments(strength):
    """Momentum and energy of each are kept, entropy falls, and the Maxwellian is where it ends."""
    v = velocities(240, 14.0)
    f = beams(v) * np.array([[2.0], [0.3], [1.0]])
    velocity, temperature = own_moments(f, v)
    for row, u, t in zip(f, velocity, temperature, strict=True):
        assert u == pytest.approx(np.average(v, weights=row), rel=1e-12)
        assert t == pytest.approx(np.average((v - u) ** 2, weights=row), rel=1e-12)
    maxwellian = stats.norm.pdf(v, velocity[:, None], np.sqrt(temperature)[:, None])
    maxwellian *= (v[1] - v[0]) * f.sum(axis=1, keepdims=True)
    away = [np.abs(f - maxwellian).max()]
    for _ in range(5):
        before, f = f, relax_rows(f, v, *own_moments(f, v), strength)
        for moment in (v, v**2):
            np.testing.assert_allclose(f @ moment, before @ moment, rtol=0, atol=1e-10)
        assert np.all(entropy(f) < entropy(before))
        away.append(np.abs(f - maxwellian).max())
    assert np.all(np.diff(away) < 0)
    end = relax_rows(f, v, velocity, temperature, 12.0)
    np.testing.assert_allclose(end, maxwellian, atol=1e-8)


def test_moments_where_there_is_next_to_nothing():
    """Rounding, of either sign, has those of all: nothing is divided by it."""
    v = velocities(160)
    f = np.concatenate([beams(v), 1e-17 * np.sin(np.arange(5.0)[:, None] + v), np.zeros((1, 160))])
    total = f.sum(axis=0)
    mean = np.average(v, weights=total)
    velocity, temperature = own_moments(f, v)
    np.testing.assert_allclose(velocity[3:], mean, atol=1e-12)
    np.testing.assert_allclose(temperature[3:], np.average((v - mean) ** 2, weights=total))
    assert np.ptp(velocity[:3]) > 0.1
    assert np.isfinite(relax_rows(f, v, velocity, temperature, 0.3)).all()


def test_the_electric_field_of_two_modes():
    x = np.arange(32) * 6.0 / 32
    k = 2 * np.pi / 6.0
    density = 2.0 + 0.3 * np.cos(k * x) - 0.7 * np.sin(3 * k * x)
    expected = 0.3 * np.sin(k * x) / k + 0.7 * np.cos(3 * k * x) / (3 * k)
    np.testing.assert_allclose(electric_field(density, 6.0), expected, atol=1e-13)


def test_the_interpolation_of_a_closed_form():
    """log f of a normal law is a quadratic, which the spline has exactly."""
    grid = phase_grid(-8.0, 16.0, 8.0, (64, 48))
    covariance = np.array([[1.0, 0.6], [0.6, 1.5]])
    law = stats.multivariate_normal([0.2, -0.3], covariance)
    f = law.pdf(np.stack(np.meshgrid(grid.x, grid.v, indexing="ij"), axis=-1))
    energy = np.broadcast_to(0.5 * grid.v**2, f.shape)
    density = grid_density(f, grid, energy, periodic=False)
    points = law.rvs(5000, random_state=1)
    inside = np.linalg.norm(points, axis=1) < 4
    x, v = points[inside, :1], points[inside, 1:]
    np.testing.assert_allclose(density.log_f(x, v), law.logpdf(points[inside]), atol=1e-4)
    slope = -((points[inside] - law.mean) @ np.linalg.inv(covariance))[:, 1:]
    np.testing.assert_allclose(density.score(x, v), slope, atol=1e-3)


def test_tails_that_are_rounding_are_those_of_a_maxwellian():
    grid = phase_grid(0.0, 2.0, 12.0, (16, 240))
    temperature = 1.3
    energy = np.broadcast_to(0.5 * grid.v**2 / temperature, (16, 240))
    noise = 1e-14 * np.random.default_rng(2).normal(size=energy.shape)
    density = grid_density(np.exp(-energy) + noise, grid, energy, periodic=True)
    x, v = np.full((41, 1), 1.1), np.linspace(-11, 11, 41)[:, None]
    np.testing.assert_allclose(density.log_f(x, v), -0.5 * v[:, 0] ** 2 / 1.3, atol=0.01)
    np.testing.assert_allclose(density.score(x, v), -v / 1.3, atol=0.05)
    assert 1e-12 < density.floor < 1e-10
    assert density.mass_below < 1e-9


def test_tails_stay_below_what_is_resolved():
    """f∞ falls much faster than f does: log(f/f∞) of the last node that is resolved is huge."""
    grid = phase_grid(-8.0, 16.0, 12.0, (160, 240))
    x, v = np.meshgrid(grid.x, grid.v, indexing="ij")
    shear = np.exp(-0.5 * (x**2 + (v - 1.5 * x) ** 2))
    density = grid_density(shear, grid, 20 * x**2 + 0.5 * v**2, periodic=False)
    points = np.random.default_rng(3).uniform([-7.5, -11], [7.5, 11], (5000, 2))
    log_f = density.log_f(points[:, :1], points[:, 1:])
    unresolved = (points[:, 0] ** 2 + (points[:, 1] - 1.5 * points[:, 0]) ** 2) > 100
    assert unresolved.sum() > 500
    assert log_f[unresolved].max() < np.log(density.floor) + 2  # the spline rings at a kink
