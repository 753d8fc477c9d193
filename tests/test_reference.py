"""The references against independent computations."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import anharmonic_potential, asymmetric_problem
from scipy.integrate import dblquad, quad, solve_ivp

import kjko
from kjko.reference import exact_gaussian, stationary


@pytest.mark.parametrize("d", [1, 2, 3])
def test_exact_gaussian_solves_its_equation(d, double):
    """(33) integrated as printed: μ' = −(D+J)K⁻¹(μ−μ̃), C' = 2D T₀ − 2 Sym((D+J)K⁻¹C)."""
    problem = asymmetric_problem(d)
    exact = exact_gaussian(problem)
    identity, zero = np.eye(d), np.zeros((d, d))
    dissipative = np.block([[zero, zero], [zero, problem.collision_rate * identity]])
    conservative = np.block([[zero, -identity], [identity, zero]])
    stiffness = np.asarray(problem.force.potential.stiffness)
    inverse_k = np.block([[stiffness, zero], [zero, identity]])
    rate = (dissipative + conservative) @ inverse_k
    center = np.concatenate([problem.force.potential.center, np.zeros(d)])

    def derivative(t, y):
        mean, covariance = y[: 2 * d], y[2 * d :].reshape(2 * d, 2 * d)
        product = rate @ covariance
        change = 2 * problem.temperature * dissipative - product - product.T
        return np.concatenate([-rate @ (mean - center), change.ravel()])

    start = np.concatenate([problem.law.mean, np.ravel(problem.law.covariance)])
    end = solve_ivp(derivative, (0, 1.7), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    mean, covariance = exact.at(1.7)
    np.testing.assert_allclose(mean, end[: 2 * d], atol=1e-9)
    np.testing.assert_allclose(covariance.ravel(), end[2 * d :], atol=1e-9)


def test_exact_gaussian_entropy(double):
    problem = asymmetric_problem(1)
    exact = exact_gaussian(problem)
    mean, covariance = exact.at(0.8)
    inverse, norm = np.linalg.inv(covariance), 2 * np.pi * np.sqrt(np.linalg.det(covariance))

    def f_log_f(v, x):
        z = np.array([x, v]) - mean
        f = np.exp(-0.5 * z @ inverse @ z) / norm
        return f * np.log(f) if f > 0 else 0.0

    ends = [(m - 9 * s, m + 9 * s) for m, s in zip(mean, np.sqrt(np.diag(covariance)), strict=True)]
    expected = dblquad(f_log_f, *ends[0], *ends[1], epsabs=1e-9)[0]
    assert exact.entropy(0.8) == pytest.approx(expected, abs=1e-7)


def test_no_exact_law_without_a_quadratic():
    problem = asymmetric_problem(1)
    other = kjko.Problem(kjko.External(kjko.DoubleWell()), problem.law)
    assert exact_gaussian(other) is None


def problem_with(potential, d, temperature=1.3):
    law = kjko.Gaussian(np.zeros(2 * d), np.eye(2 * d))
    return kjko.Problem(kjko.External(potential), law, temperature=temperature)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_stationary_of_a_coupled_quadratic(d, double):
    """Not separable: the tensor grid, against the closed form."""
    problem = asymmetric_problem(d)
    law = stationary(problem, d)
    covariance = exact_gaussian(problem).covariance_stationary
    expected = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert law.log_normaliser == pytest.approx(expected, abs=1e-8)
    for i in range(d):
        z = law.nodes[i] - problem.force.potential.center[i]
        density = np.exp(-0.5 * z**2 / covariance[i, i]) / np.sqrt(2 * np.pi * covariance[i, i])
        np.testing.assert_allclose(law.marginals[i], density, atol=1e-6)


@pytest.mark.parametrize("potential", [kjko.Multiwell(), kjko.DoubleWell(2.0, 1.5)], ids=repr)
@pytest.mark.parametrize("d", [1, 3, 6])
def test_stationary_of_a_separable_potential(potential, d, double):
    law = stationary(problem_with(potential, d), d)
    one = quad(lambda x: np.exp(-potential(jnp.array([x])) / 1.3), -12, 12, limit=400)[0]
    expected = d * (np.log(one) + 0.5 * np.log(2 * np.pi * 1.3))
    assert law.log_normaliser == pytest.approx(expected, abs=1e-8)


def test_stationary_of_a_callable(double):
    def potential(x):
        return anharmonic_potential(x) + 0.1 * jnp.sum(x**4)

    law = stationary(problem_with(potential, 2), 2)
    x_part = dblquad(lambda y, x: np.exp(-potential(jnp.array([x, y])) / 1.3), -6, 6, -6, 6)[0]
    assert law.log_normaliser == pytest.approx(np.log(x_part * 2 * np.pi * 1.3), abs=1e-7)


def test_stationary_of_a_periodic_potential(double):
    box = kjko.Box(np.array([2.0]))
    position = kjko.CosinePosition(box.length, np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    potential = kjko.Sine(box.length, amplitude=0.8)
    problem = kjko.Problem(kjko.External(potential), law, temperature=0.9, box=box)
    expected = np.log(2.0 * np.i0(0.8 / 0.9)) + 0.5 * np.log(2 * np.pi * 0.9)
    assert stationary(problem, 1).log_normaliser == pytest.approx(expected, abs=1e-8)


def test_no_stationary_law_without_confinement():
    assert stationary(problem_with(lambda x: -jnp.sum(x), 1), 1) is None
    assert stationary(problem_with(kjko.Multiwell(), 4), 4) is not None
    assert stationary(problem_with(anharmonic_potential, 4), 4) is None
