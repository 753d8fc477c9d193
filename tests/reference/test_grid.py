"""The grid solution with a potential: against closed forms, recorded numbers and itself."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem
from scipy import stats

import kjko
import kjko.case
from kjko.interfaces import AbstractCollisions
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.grid import grid_solution


def dissipation(solution, time, temperature=1.0):
    """∫ f |v + T₀ ∂ᵥ log f|²."""
    density, grid = solution.at(time), solution.grid
    x, v = (m.reshape(-1, 1) for m in np.meshgrid(grid.x, grid.v, indexing="ij"))
    drift = v + temperature * density.score(x, v)
    return grid.cell * density.f.ravel() @ drift[:, 0] ** 2


# The closed form.


@pytest.fixture(scope="module", params=["asymmetric", "gaussian-1d"])
def gaussian(request):
    """Also Example 1, whose law is hot: its grid is coarse in v."""
    if request.param == "asymmetric":
        problem = asymmetric_problem(1)
    else:
        problem = kjko.case.load(request.param).build().problem
    return problem, grid_solution(problem, [0.5, 2.0], cells=(192, 256), time_step=0.02)


@pytest.mark.parametrize("time", [0.5, 2.0])
def test_the_exact_gaussian_law(gaussian, time):
    problem, solution = gaussian
    mean, covariance = exact_gaussian(problem).at(time)
    x, v = np.meshgrid(solution.grid.x, solution.grid.v, indexing="ij")
    exact = stats.multivariate_normal(mean, covariance).pdf(np.stack([x, v], axis=-1))
    f = solution.at(time).f
    assert np.abs(f - exact).max() < 1e-4
    weight = solution.grid.cell * f
    assert np.sum(weight * x) == pytest.approx(mean[0], abs=1e-4)
    assert np.sum(weight * v) == pytest.approx(mean[1], abs=1e-4)
    entropy = exact_gaussian(problem).entropy(time)
    assert solution.history.at(time).entropy == pytest.approx(entropy, abs=1e-4)


def test_the_exact_gaussian_marginals(gaussian):
    problem, solution = gaussian
    mean, covariance = exact_gaussian(problem).at(2.0)
    density = solution.at(2.0)
    width = np.sqrt(np.diag(covariance))
    in_x = stats.norm.pdf(solution.grid.x, mean[0], width[0])
    in_v = stats.norm.pdf(solution.grid.v, mean[1], width[1])
    np.testing.assert_allclose(density.marginal_x(), in_x, atol=1e-4)
    np.testing.assert_allclose(density.marginal_v(), in_v, atol=1e-4)


def test_the_exact_gaussian_relative_entropy(gaussian):
    """KL of two normal laws, with the free energy that belongs to it."""
    problem, solution = gaussian
    exact = exact_gaussian(problem)
    inverse, end = np.linalg.inv(exact.covariance_stationary), exact.mean_stationary
    for i, time in enumerate(solution.times):
        mean, covariance = exact.at(time)
        ratio = inverse @ covariance
        away = (mean - end) @ inverse @ (mean - end)
        kl = 0.5 * (np.trace(ratio) - 2 - np.linalg.slogdet(ratio)[1] + away)
        assert solution.history.at(solution.times).kl_stationary[i] == pytest.approx(kl, abs=2e-4)


def test_log_f_and_score_at_particles(gaussian):
    """A sample of the exact law, and points as far out as 5.5 deviations."""
    problem, solution = gaussian
    mean, covariance = exact_gaussian(problem).at(0.5)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(2000, 2))
    direction *= 5.5 / np.linalg.norm(direction, axis=1, keepdims=True)
    for z, tolerance in ((rng.normal(size=(20_000, 2)), 1e-3), (direction, 5e-3)):
        points = mean + z @ np.linalg.cholesky(covariance).T
        x, v = points[:, :1], points[:, 1:]
        density = solution.at(0.5)
        exact = stats.multivariate_normal(mean, covariance).logpdf(points)
        score = -((points - mean) @ np.linalg.inv(covariance))[:, 1:]
        assert np.sqrt(np.mean((density.log_f(x, v) - exact) ** 2)) < tolerance
        assert np.sqrt(np.mean((density.score(x, v) - score) ** 2)) < tolerance


# The scheme.


def external_run(time_step):
    problem = asymmetric_problem(1)
    return grid_solution(problem, [0.8], cells=(96, 96), time_step=time_step)


def test_second_order_in_time():
    fine = external_run(0.0125).f
    steps = np.array([0.2, 0.1, 0.05])
    errors = [np.abs(external_run(step).f - fine).max() for step in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope > 1.75, errors


def test_mass_is_kept():
    mass = external_run(0.02).history.mass
    assert np.abs(mass / mass[0] - 1).max() < 1e-12


def test_times_that_are_no_multiples_of_the_step():
    solution = grid_solution(
        asymmetric_problem(1), [0.0, 0.13, 0.8], cells=(96, 96), time_step=0.05
    )
    assert np.diff(solution.history.time).max() < 0.05 + 1e-12
    np.testing.assert_allclose(solution.f[2], external_run(0.05).f[0], atol=1e-4)
    start = solution.at(0.0)
    law = asymmetric_problem(1).law
    x, v = np.array([[0.3]]), np.array([[-0.4]])
    exact = law.log_density(jnp.array([0.3]), jnp.array([-0.4]))
    assert start.log_f(x, v)[0] == pytest.approx(float(exact), abs=1e-5)


def test_a_maxwellian_stays_as_it_is():
    """To rounding: uniform, so that only the collisions do anything."""
    box = kjko.Box(np.ones(1))
    position = kjko.CosinePosition(box.length, np.zeros(1), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    problem = kjko.Problem(kjko.External(kjko.Sine(box.length, 0.0)), law=law, box=box)
    solution = grid_solution(problem, [0.0, 3.0], cells=(32, 96), time_step=0.05)
    np.testing.assert_allclose(solution.f[1], solution.f[0], atol=1e-12)
    assert np.abs(solution.history.kl_stationary).max() < 1e-12


# Other flows, and collisions of the particles themselves.


def wave_problem(*flows, collisions=None):
    position = kjko.CosinePosition([3.0], [0.4], [1])
    law = kjko.Product(position, [[-1.0], [1.0]], [[[0.5]], [[1.0]]], [0.3, 0.7])
    return kjko.Problem(kjko.Sum(*flows), collisions or kjko.NoCollisions(), law, kjko.Box([3.0]))


def swing(t, x):
    return jnp.array([2.0 * jnp.sin(3.0 * t)])


@pytest.mark.parametrize(
    ("flow", "gained", "moved", "tolerance"),
    [
        (kjko.Uniform([0.8]), 0.8 * 1.5, 0.4 * 1.5**2, 1e-5),
        (kjko.Driven(swing), 2 / 3 * (1 - np.cos(4.5)), 2 / 3 * (1.5 - np.sin(4.5) / 3), 2e-3),
    ],
    ids=["uniform", "driven"],
)
def test_flight_in_a_force_without_a_potential(flow, gained, moved, tolerance, double):
    """f(t, x, v) = f(0, x − s − (v − w) t, v − w), with w the velocity and s the way gained."""
    problem = wave_problem(flow)
    solution = grid_solution(problem, [1.5], cells=(64, 192), time_step=0.02)
    points = np.random.default_rng(3).uniform([-20, -2.5], [40, 3.5], size=(2000, 2))
    x, v = points[:, :1], points[:, 1:]
    density = jax.jit(jax.vmap(problem.law.log_density))
    expected = density(jnp.asarray(x - moved - (v - gained) * 1.5), jnp.asarray(v - gained))
    np.testing.assert_allclose(solution.at(1.5).log_f(x, v), expected, atol=tolerance)


def test_several_flows_at_once():
    """Two potentials are as their sum, and a force that drives is of second order in time."""
    both = [kjko.External(kjko.Sine([3.0], 0.4)), kjko.External(kjko.Cosine([3.0], -0.3))]
    one = kjko.External(lambda x: both[0].potential(x) + both[1].potential(x))
    settings = {"cells": (32, 96), "time_step": 0.05}
    two, alone = (grid_solution(wave_problem(*fs), [0.5], **settings) for fs in (both, [one]))
    np.testing.assert_allclose(two.f, alone.f, atol=1e-6)

    def run(step):
        problem = wave_problem(*both, kjko.Driven(swing), collisions=kjko.FokkerPlanck(0.3))
        return grid_solution(problem, [0.8], cells=(32, 96), time_step=step).f

    fine, steps = run(0.0125), np.array([0.2, 0.1, 0.05])
    errors = [np.abs(run(step) - fine).max() for step in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope > 1.75, errors


def test_momentum_of_a_driven_plasma():
    """ṗ = 2 sin 3t − ε p."""
    solution = grid_solution(
        wave_problem(kjko.Driven(swing), collisions=kjko.FokkerPlanck(0.5)),
        *([3.0],),
        **{"cells": (32, 96), "time_step": 0.02},
    )
    start, t = solution.history.momentum[0], 3.0
    rate = 0.5 + 3.0j  # of e^{3it}: p = Im 2 (e^{3it} − e^{−εt}) / (ε + 3i)
    driven = (2 * (np.exp(3j * t) - np.exp(-0.5 * t)) / rate).imag
    expected = start * np.exp(-0.5 * t) + driven
    assert solution.history.momentum[-1] == pytest.approx(expected, abs=1e-3)


def test_particles_that_collide_with_each_other_in_a_well():
    """Mass and energy are kept, and entropy falls."""
    position = kjko.GaussianPosition([0.7], [[0.5]])
    law = kjko.Product(position, [[-1.0], [1.0]], [[[0.5]], [[1.0]]], [0.3, 0.7])
    problem = kjko.Problem(asymmetric_problem(1).flow, kjko.Dougherty(0.7), law)
    solution = grid_solution(problem, [2.0], cells=(96, 96), time_step=0.05)
    history = solution.history
    energy = history.energy_kinetic + history.energy_potential
    assert np.isfinite(solution.f).all()
    assert np.abs(history.mass - 1).max() < 1e-12
    assert np.ptp(energy) < 1e-3 * energy[0]
    assert np.diff(history.entropy).max() < 0


# The examples of the paper, with recorded numbers.


def assert_example(name, table, drift_table, **settings):
    """To one per cent and the rounding of the printed numbers."""
    problem = kjko.case.load(name).build().problem
    solution = grid_solution(problem, list(table), **settings)
    history = solution.history
    kl = history.at(solution.times).kl_stationary
    for found, printed in zip(kl, table.values(), strict=True):
        last_digit = 10.0 ** -len(printed.partition(".")[2])
        assert found == pytest.approx(float(printed), abs=0.01 * found + 0.5 * last_digit)
    assert np.diff(history.free_energy).max() < 1e-10
    assert np.abs(history.mass - 1).max() < 1e-12
    for time, value in drift_table.items():
        drift = dissipation(solution, time)
        assert drift == pytest.approx(value, rel=0.01)
        step = int(np.argmin(np.abs(history.time - time)))  # dF/dt = −ε E|v + T₀ s|², (10)
        ends = [step - 1, step + 1]
        slope = np.diff(history.free_energy[ends]) / np.diff(history.time[ends])
        assert slope[0] == pytest.approx(-drift, rel=0.01)


PERIODIC = {0.0: "0.6728", 0.5: "0.1292", 1.0: "0.0230", 1.5: "0.0038", 2.0: "0.00061"}
MULTIWELL = {0.0: "0.8341", 0.5: "0.3017", 1.0: "0.1189"}
MULTIWELL_LATER = {
    1.5: "0.0649",
    2.0: "0.0397",
    3.0: "0.0180",
    4.0: "0.0107",
    5.0: "0.00668",
    6.0: "0.00423",
    8.0: "0.00174",
    10.0: "0.00074",
}
MULTIWELL_DRIFT = {0.5: 0.5305, 1.0: 0.1806, 2.0: 0.0373, 3.0: 0.0112}


def test_example_3():
    assert_example("periodic-1d", PERIODIC, {}, cells=(64, 256), time_step=0.02)


def test_example_2():
    settings = {"cells": (512, 256), "time_step": 0.02}
    assert_example("multiwell-1d", MULTIWELL, {0.5: MULTIWELL_DRIFT[0.5]}, **settings)


@pytest.mark.slow
def test_example_2_in_full():
    assert_example("multiwell-1d", MULTIWELL | MULTIWELL_LATER, MULTIWELL_DRIFT)


@pytest.mark.slow
def test_example_3_in_full():
    assert_example("periodic-1d", PERIODIC | {3.0: "0.000015"}, {})


# What is refused.


def test_problems_that_are_refused():
    with pytest.raises(ValueError, match="one position and one velocity coordinate, got 2 and 2"):
        grid_solution(asymmetric_problem(2), [1.0])
    law = asymmetric_problem(1).law
    with pytest.raises(ValueError, match="potential: it does not confine"):
        grid_solution(kjko.Problem(kjko.External(lambda x: -jnp.sum(x)), law=law), [1.0])


def test_a_flow_that_is_refused():
    length = [2.0]
    position = kjko.CosinePosition(length, [0.1], [1])
    law, box = kjko.Product(position, [[0.0]], [[[1.0]]], [1.0]), kjko.Box(length)
    problem = kjko.Problem(kjko.Ampere(kjko.Mesh(length, [8])), law=law, box=box)
    with pytest.raises(ValueError, match="flow: a grid solution knows no Ampere; expected a given"):
        grid_solution(problem, [1.0])
    gaussian = asymmetric_problem(1).law
    with pytest.raises(ValueError, match="flow: a force without a potential needs a box"):
        grid_solution(kjko.Problem(kjko.Uniform([1.0]), law=gaussian), [1.0])


def test_collisions_that_are_refused():
    class Other(AbstractCollisions):
        temperature: ClassVar[None] = None

        def freeze(self, x, v):
            return None

    problem = asymmetric_problem(1)
    problem = kjko.Problem(problem.flow, Other(), problem.law)
    with pytest.raises(ValueError, match="collisions: must be FokkerPlanck, Dougherty or NoColl"):
        grid_solution(problem, [1.0])


def test_a_law_that_is_not_known():
    with pytest.raises(ValueError, match="law: must be known"):
        grid_solution(kjko.Problem(asymmetric_problem(1).flow), [1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"times": [1.0, 0.5]}, "times: must increase"),
        ({"times": [-1.0]}, "times: must increase"),
        ({"times": []}, "times: must increase"),
        ({"time_step": 0.0}, "time_step: must be > 0"),
        ({"cells": (4, 64)}, "cells: need at least 8"),
        ({"velocity_end": -1.0}, "velocity_end: must be > 0"),
        ({"velocity_end": 2.0}, "law: its mass on the grid is"),
    ],
)
def test_settings_that_are_refused(settings, message):
    settings = {"times": [0.1], "cells": (96, 96), "time_step": 0.05} | settings
    with pytest.raises(ValueError, match=message):
        grid_solution(asymmetric_problem(1), **settings)


def test_a_density_that_leaves_the_grid():
    """It falls into the well from x = 3 and gets to v = −3."""
    law = kjko.Gaussian(np.array([3.0, 0.0]), 0.05 * np.eye(2))
    problem = kjko.Problem(kjko.External(kjko.Quadratic(np.eye(1), np.zeros(1))), law=law)
    with pytest.raises(ValueError, match="velocity_end: the density has reached it"):
        grid_solution(problem, [1.2], cells=(96, 96), time_step=0.1, velocity_end=2.0)


def test_a_time_that_was_not_asked_for():
    solution = grid_solution(asymmetric_problem(1), [0.1], cells=(96, 96), time_step=0.1)
    with pytest.raises(ValueError, match="time: 0.2 is not one of the asked times"):
        solution.at(0.2)
