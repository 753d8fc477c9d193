"""The errors that methods are held to, and the laws that they are held against."""

import jax
import numpy as np
import pytest
from problems import asymmetric_problem

import kjko
from kjko.reference import known
from kjko.reference.errors import density_error, marginal_error, score_error, sliced_wasserstein
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.grid import grid_solution
from kjko.reference.grid_splitting import Unresolved
from kjko.reference.known import GridLaw, known_law
from kjko.reference.stationary import stationary

TIME = 0.4


def exact_points(d, number=500, seed=0):
    """A problem, its exact law, and points of the law at TIME."""
    problem = asymmetric_problem(d)
    exact = exact_gaussian(problem)
    assert exact is not None
    z = exact.sample(TIME, number, seed)
    return problem, exact, z[:, :d], z[:, d:]


@pytest.mark.parametrize("d", [1, 2])
def test_score_and_density_of_the_exact_law(d, double):
    _, exact, x, v = exact_points(d, 20)
    law = kjko.Gaussian(*exact.at(TIME))
    score = jax.vmap(jax.grad(law.log_density, argnums=1))(x, v)
    np.testing.assert_allclose(exact.score(TIME, x, v), score, atol=1e-10)
    np.testing.assert_allclose(exact.log_f(TIME, x, v), jax.vmap(law.log_density)(x, v), atol=1e-10)


@pytest.mark.parametrize("d", [1, 2])
def test_integrals_of_the_exact_law(d):
    """Free energy and relative entropy against means over a sample, within five standard errors."""
    number = 40_000
    problem, exact, x, v = exact_points(d, number)
    potential = np.asarray(jax.vmap(problem.flow.potential)(x), dtype=float)
    energy = 0.5 * np.sum(v**2, axis=1) + potential
    temperature = float(problem.temperature)
    each = energy + temperature * exact.log_f(TIME, x, v)
    assert abs(each.mean() - exact.free_energy(TIME)) < 5 * each.std() / np.sqrt(number)
    normaliser = stationary(problem, d).log_normaliser
    expected = exact.free_energy(TIME) / temperature + normaliser
    assert exact.kl(TIME) == pytest.approx(expected, abs=1e-6)
    assert exact.kl(200.0) == pytest.approx(0, abs=1e-9)
    assert exact.temperature == pytest.approx(1.3)


def test_the_mass_of_a_problem_with_a_given_force(grid):
    """Free energy and entropy are of all of it, the relative entropy is not."""
    problem, exact, law = grid
    many = kjko.Problem(problem.flow, problem.collisions, problem.law, mass=2.5)
    heavy = exact_gaussian(many)
    solution = grid_solution(many, [TIME], cells=(128, 128), time_step=0.02)
    assert heavy.entropy(TIME) == pytest.approx(2.5 * (exact.entropy(TIME) + np.log(2.5)))
    for by, one in ((heavy, exact), (GridLaw(solution, 2.5), law)):
        of_all = 2.5 * (one.free_energy(TIME) + exact.temperature * np.log(2.5))
        assert by.free_energy(TIME) == pytest.approx(of_all, rel=1e-9)
        assert by.kl(TIME) == pytest.approx(one.kl(TIME), abs=1e-9)
        x, v = np.array([[0.3]]), np.array([[-0.4]])
        np.testing.assert_allclose(by.log_f(TIME, x, v), one.log_f(TIME, x, v), atol=1e-9)
        np.testing.assert_allclose(by.score(TIME, x, v), one.score(TIME, x, v), atol=1e-9)


def test_score_error_is_zero_at_the_exact_control():
    problem, exact, x, v = exact_points(2)
    bath = (0.7, 0.0, 1.3)
    u = -0.7 * (v + 1.3 * exact.score(TIME, x, v))
    assert score_error(exact, TIME, x, v, u, *bath) == pytest.approx(0, abs=1e-20)
    offset = np.array([0.3, -0.4])
    assert score_error(exact, TIME, x, v, u + offset, *bath) == pytest.approx(0.25)


def test_score_error_in_a_bath_that_is_not_the_same_everywhere():
    _, exact, x, v = exact_points(2)
    rate, velocity, temperature = 0.5 + x[:, 0] ** 2, np.sin(x), np.exp(x[:, 1])
    relative = v - velocity + temperature[:, None] * exact.score(TIME, x, v)
    u, bath = -rate[:, None] * relative, (rate, velocity, temperature)
    assert score_error(exact, TIME, x, v, u, *bath) == pytest.approx(0, abs=1e-20)
    offset = np.array([0.3, -0.4])
    assert score_error(exact, TIME, x, v, u + offset, *bath) == pytest.approx(0.25)


def test_density_error():
    _, exact, x, v = exact_points(2)
    assert density_error(exact, TIME, x, v, exact.log_f(TIME, x, v) + 0.2) == pytest.approx(0.2)


def test_marginal_error_of_exact_samples_is_one(monkeypatch):
    """Its mean square is one, whatever the number of particles; a shift is seen."""
    _, exact, x, v = exact_points(2)
    there = exact.at(TIME)  # found once, not three thousand times
    monkeypatch.setattr(type(exact), "at", lambda _, time: there)
    for number in (20, 500):
        samples = [exact.sample(TIME, number, seed) for seed in range(300)]
        squares = [marginal_error(exact, TIME, z[:, :2], z[:, 2:]) ** 2 for z in samples]
        assert abs(np.mean(squares) - 1) < 5 * np.std(squares) / np.sqrt(300)
    assert marginal_error(exact, TIME, x + 0.5, v) > 3
    assert marginal_error(exact, TIME, x, 1.5 * v) > 2


def test_sliced_wasserstein_of_a_shift():
    """A shift by a is seen as |a|/√(dimension) on average over directions."""
    points = np.random.default_rng(0).normal(size=(300, 6))
    assert sliced_wasserstein(points, points[::-1]) == 0
    shift = np.array([2.0, 0, 0, 0, 0, -1.0])
    distance = sliced_wasserstein(points, points + shift)
    assert distance == pytest.approx(np.sqrt(5 / 6), rel=0.2)


@pytest.fixture(scope="module")
def grid():
    """The Gaussian problem on a grid, with its exact law."""
    problem = asymmetric_problem(1)
    times = [TIME, 2 * TIME]
    solution = grid_solution(problem, times, cells=(128, 128), time_step=0.02)
    return problem, exact_gaussian(problem), GridLaw(solution)


def test_a_grid_law_is_that_of_the_exact_one(grid):
    _, exact, law = grid
    z = exact.sample(TIME, 300, 1)
    x, v = z[:, :1], z[:, 1:]
    assert law.knows(TIME) and law.knows(2 * TIME) and not law.knows(0.5)
    np.testing.assert_allclose(law.score(TIME, x, v), exact.score(TIME, x, v), atol=0.03)
    np.testing.assert_allclose(law.log_f(TIME, x, v), exact.log_f(TIME, x, v), atol=0.03)
    for coordinate in (0, 1):
        values = np.sort(z[:, coordinate])
        ours, theirs = (one.distribution(TIME, coordinate, values) for one in (law, exact))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    for time in (TIME, 0.5, 2 * TIME):
        assert law.kl(time) == pytest.approx(exact.kl(time), abs=2e-3)
        assert law.free_energy(time) == pytest.approx(exact.free_energy(time), abs=2e-3)


def test_a_periodic_grid_law():
    """At the stationary law of a wave: distribution by a fine sum, score −v/T₀."""
    length = np.array([2.0])
    position = kjko.CosinePosition(length, np.array([0.5]), np.ones(1))
    normal = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    problem = kjko.Problem(kjko.External(kjko.Sine(length)), law=normal, box=kjko.Box(length))
    law = GridLaw(grid_solution(problem, [12.0], cells=(32, 64), time_step=0.1))
    nodes = np.linspace(0, 2, 4001)
    density = np.exp(-0.2 * np.sin(np.pi * nodes))
    cumulative = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    values = np.linspace(0, 2, 50)
    expected = np.interp(values, nodes, cumulative / cumulative[-1])
    np.testing.assert_allclose(law.distribution(12.0, 0, values), expected, atol=2e-3)
    v = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(law.score(12.0, np.full((9, 1), 1.9), v), -v, atol=0.01)


def test_the_law_of_a_plasma():
    """Of mass one as particles carry it; free energy and field energy of the problem's mass."""
    length, amplitude = [4 * np.pi], 0.2
    position = kjko.CosinePosition(length, [amplitude], [1])
    normal = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    flow, collisions = kjko.Poisson(kjko.Mesh(length, [16])), kjko.FokkerPlanck(0.1)
    problem = kjko.Problem(flow, collisions, normal, kjko.Box(length), 4 * np.pi)
    law = known_law(problem, [0.0, 0.01])
    particles = kjko.sample(normal, 200)
    x, v = np.asarray(particles.x, dtype=float), np.asarray(particles.v, dtype=float)
    np.testing.assert_allclose(law.log_f(0.0, x, v), particles.log_f, atol=1e-4)
    np.testing.assert_allclose(law.score(0.0, x, v), -v, atol=1e-4)
    assert law.field_energy(0.0) == pytest.approx((amplitude / 0.5) ** 2 * length[0] / 2)
    assert law.free_energy(0.01) < law.free_energy(0.0)
    given = kjko.Sum(flow, kjko.External(kjko.Sine(length, 0.3)))
    both = known_law(kjko.Problem(given, collisions, normal, kjko.Box(length), 4 * np.pi), [0.01])
    assert both.field_energy(0.0) == pytest.approx(law.field_energy(0.0))
    several = kjko.Product(position, np.zeros((1, 2)), np.eye(2)[None], np.ones(1))
    problem = kjko.Problem(flow, collisions, several, kjko.Box(length), 4 * np.pi)
    with pytest.raises(ValueError, match="one position and one velocity"):
        known_law(problem, [0.01])


def test_which_law_is_known(grid):
    problem, exact, _ = grid
    assert type(known_law(problem, [TIME])) is type(exact)
    free = kjko.Problem(kjko.External(lambda x: 0.0 * x[0]), law=problem.law)
    with pytest.raises(ValueError, match="does not confine"):
        known_law(free, [TIME])
    well = kjko.Problem(kjko.External(kjko.Multiwell()), law=asymmetric_problem(2).law)
    with pytest.raises(ValueError, match="one position and one velocity"):
        known_law(well, [TIME])


def test_a_grid_is_refined_until_it_resolves_the_law(monkeypatch):
    """Beams too cold for the coarser cells; and the reason, if they are for all."""
    position = kjko.GaussianPosition([0.3], [[0.5]])
    law = kjko.Product(position, [[-1.0], [1.5]], [[[0.02]], [[0.05]]], [0.4, 0.6])
    well = kjko.External(lambda x: 0.9 * (x[0] - 0.2) ** 2)  # not known to be quadratic
    problem = kjko.Problem(well, law=law)
    with pytest.raises(Unresolved, match="law: its mass on the grid is"):
        grid_solution(problem, [0.02], cells=(32, 16))
    monkeypatch.setattr(known, "REFINEMENTS", ((32, 16), (32, 192)))
    found = known_law(problem, [0.02])
    assert (len(found.solution.grid.x), len(found.solution.grid.v)) == (32, 192)
    monkeypatch.setattr(known, "REFINEMENTS", ((32, 8), (32, 16)))
    with pytest.raises(Unresolved):
        known_law(problem, [0.02])
