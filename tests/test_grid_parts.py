"""The collision step, the field and the interpolation of the grid solution, each alone."""

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from kjko.reference.collision import collision_operator, relaxation
from kjko.reference.grid_density import grid_density
from kjko.reference.splitting import electric_field, phase_grid


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
