"""Stationary laws of coupled potentials by other quadratures, and what is held to them."""

import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem
from scipy.integrate import nquad, quad
from scipy.special import erfc
from scipy.stats import norm

import kjko
from kjko.flow.potentials import Expression
from kjko.reference.errors import marginal_error
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.gibbs import gibbs_law

TEMPERATURE = 0.7
RING = "(x1**2 + x2**2 - 1)**2"
HENON_HEILES = "0.5*(x1**2 + x2**2) + x1**2*x2 - x2**3/3 + 0.1*(x1**2 + x2**2)**2"
WELLS = "(x1**2-1)**2 + (x2**2-1)**2 + (x3**2-1)**2 + 0.6*x1*x2 - 0.9*x2*x3 + 0.2*x2"
SHELL = "(x1**2 + x2**2 + x3**2 - 1)**2"
RIBBON = "0.5*(x1**2 + x2**2 + x3**2) + x1**2*x2 - x2**3/3 + x2*x3**2 + 0.1*(x1**2+x2**2+x3**2)**2"


def law_in(potential, d, mass=1.0, velocities=None):
    """The law of f∞ in a potential, or in a formula."""
    if isinstance(potential, str):
        potential = Expression(potential, d)
    m = velocities or d
    start = kjko.Product(
        kjko.GaussianPosition(np.zeros(d), np.eye(d)), np.zeros((1, m)), np.eye(m)[None], np.ones(1)
    )
    collisions = kjko.FokkerPlanck(1.0, np.array(TEMPERATURE))
    return gibbs_law(kjko.Problem(kjko.External(potential), collisions, start, mass=mass))


def log_in_x(law, d):
    """log Z without the factor of v."""
    return law.at_rest.log_normaliser - 0.5 * d * np.log(2 * np.pi * TEMPERATURE)


def value(formula, *x):
    names = {f"x{i + 1}": each for i, each in enumerate(x)}
    return eval(formula, {"__builtins__": {}}, names)  # a formula of this file


def below(weight, low, value, total):
    return quad(weight, low, value, epsabs=1e-12)[0] / total


def test_a_ring(double):
    """Z in closed form; the marginal by quad of quad."""
    law = law_in(RING, 2)
    root = np.sqrt(TEMPERATURE)
    normaliser = 0.5 * np.pi * np.sqrt(np.pi) * root * erfc(-1 / root)
    assert log_in_x(law, 2) == pytest.approx(np.log(normaliser), abs=1e-10)

    def across(x):
        return quad(lambda y: np.exp(-value(RING, x, y) / TEMPERATURE), -4, 4, epsabs=1e-11)[0]

    for point in (-1.1, 0.3):
        expected = below(across, -4, point, normaliser)
        for i in range(2):
            assert law.distribution(0.0, i, np.array([point]))[0] == pytest.approx(
                expected, abs=1e-8
            )
    expected = norm.cdf([0.4], scale=root)
    np.testing.assert_allclose(law.distribution(0.0, 3, np.array([0.4])), expected)


def test_henon_and_heiles(double):
    """Confined by r⁴: nquad."""
    law = law_in(HENON_HEILES, 2)

    def weight(y, x):
        return np.exp(-value(HENON_HEILES, x, y) / TEMPERATURE)

    ends = [[-5, 5], [-5, 5]]
    normaliser = nquad(weight, ends, opts={"epsabs": 1e-9})[0]
    assert log_in_x(law, 2) == pytest.approx(np.log(normaliser), abs=1e-8)
    part = nquad(weight, [[-5, 0.5], [-5, 5]], opts={"epsabs": 1e-9})[0]
    at = law.distribution(0.0, 1, np.array([0.5]))[0]
    assert at == pytest.approx(part / normaliser, abs=1e-8)


@pytest.mark.parametrize("formula", [SHELL, RIBBON])
def test_three_dimensions(formula, double):
    """Gauss and Legendre's nodes, 90 a side."""
    law = law_in(formula, 3)
    nodes, weights = np.polynomial.legendre.leggauss(90)
    x, w = 3.8 * nodes, 3.8 * weights
    mesh = np.meshgrid(x, x, x, indexing="ij", sparse=True)
    f = np.exp(-value(formula, *mesh) / TEMPERATURE)
    normaliser = np.einsum("ijk,i,j,k->", f, w, w, w)
    assert log_in_x(law, 3) == pytest.approx(np.log(normaliser), abs=1e-8)
    density = np.einsum("ijk,i,k->j", f, w, w) / normaliser
    mean = np.sum(w * density * x)
    assert law.at_rest.mean[1] == pytest.approx(mean, abs=1e-8)
    nodes, marginal = law.at_rest.nodes[1], law.at_rest.marginals[1]
    inside = np.abs(x) < np.abs(nodes).max()
    np.testing.assert_allclose(np.interp(x[inside], nodes, marginal), density[inside], atol=1e-3)


def test_a_chain_of_double_wells(double):
    """Its neighbours alone are coupled: products of matrices over Gauss and Legendre's nodes."""
    law = law_in(WELLS, 3, mass=2.0)
    nodes, weights = np.polynomial.legendre.leggauss(120)
    x, w = 3.2 * nodes, 3.2 * weights
    own = np.exp(-((x**2 - 1) ** 2) / TEMPERATURE)
    left, right = (np.exp(-c * np.outer(x, x) / TEMPERATURE) for c in (0.6, -0.9))
    tilt = np.exp(-0.2 * x / TEMPERATURE)
    middle = own * tilt * (left @ (w * own)) * (right @ (w * own))
    normaliser = np.sum(w * middle)
    first = own * (left @ (w * own * tilt * (right @ (w * own))))
    log_z = np.log(normaliser) + 1.5 * np.log(2 * np.pi * TEMPERATURE)
    assert law.at_rest.log_normaliser == pytest.approx(log_z, abs=1e-8)
    assert law.free_energy(3.0) == pytest.approx(2 * TEMPERATURE * (np.log(2) - log_z), abs=1e-8)
    for i, density in enumerate((first, middle)):
        mean = np.sum(w * x * density) / normaliser
        assert law.at_rest.mean[i] == pytest.approx(mean, abs=1e-8)
        known = np.polynomial.Legendre.fit(x, density, 110, domain=[-3.2, 3.2]).integ(lbnd=-3.2)
        at = law.distribution(0.0, i, np.zeros(1))[0]
        assert at == pytest.approx(known(0.0) / normaliser, abs=1e-7)


def test_a_gaussian_at_rest(double):
    """The law that the exact one has come to, with two more velocities or in other words."""
    problem = asymmetric_problem(2)
    law, exact = gibbs_law(problem), exact_gaussian(problem)
    x, v = np.random.default_rng(0).normal(size=(2, 50, 2))
    late = 60.0
    np.testing.assert_allclose(law.log_f(0.0, x, v), exact.log_f(late, x, v), atol=1e-7)
    np.testing.assert_allclose(law.score(0.0, x, v), exact.score(late, x, v), atol=1e-7)
    assert law.free_energy(0.0) == pytest.approx(exact.free_energy(late), abs=1e-7)
    assert law.kl(0.0) == 0.0 and np.isnan(law.field_energy(0.0)) and law.knows(1.0)
    for i in range(4):
        at = law.distribution(0.0, i, x[:, 0])
        np.testing.assert_allclose(at, exact.distribution(late, i, x[:, 0]), atol=1e-7)


def test_marginals_of_a_sample(double):
    """Points of f∞ on a ring, by rejection, are at the sampling floor; the initial ones are not."""
    law, rng = law_in(RING, 2, velocities=3), np.random.default_rng(3)
    tries = rng.uniform(-2.5, 2.5, size=(60000, 2))
    taken = rng.random(60000) < np.exp(-value(RING, *tries.T) / TEMPERATURE)
    x = tries[taken]
    v = np.sqrt(TEMPERATURE) * rng.normal(size=(len(x), 3))
    assert marginal_error(law, 0.0, x, v) < 1.6
    assert marginal_error(law, 0.0, x + 0.1, v) > 4
    log_f = law.log_f(0.0, x, v)
    here = -(value(RING, *x.T) + 0.5 * np.sum(v**2, axis=1)) / TEMPERATURE
    np.testing.assert_allclose(log_f, here - law.at_rest.log_normaliser, atol=1e-10)


def problem_of(flow, collisions=None, d=2, law=True):
    start = kjko.Gaussian(np.zeros(2 * d), np.eye(2 * d)) if law else None
    return kjko.Problem(flow, collisions or kjko.FokkerPlanck(), start)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda: problem_of(kjko.Uniform([1.0])), "flow: f tends to a known law only in a given"),
        (lambda: problem_of(WELL, kjko.NoCollisions()), "only by those with a bath"),
        (lambda: problem_of(WELL, kjko.Dougherty()), "only by those with a bath"),
        (lambda: problem_of(WELL, law=False), "law: expected that at t = 0"),
        (lambda: problem_of(kjko.External(lambda x: -jnp.sum(x))), "one that confines"),
        (lambda: problem_of(kjko.External(lambda x: 1e6 * (x @ x - 1) ** 2)), "801 points a side"),
        (lambda: problem_of(WELL, d=4), "at most 3 coupled coordinates"),
    ],
)
def test_where_there_is_none(problem, message):
    with pytest.raises(ValueError, match=message):
        gibbs_law(problem())


WELL = kjko.External(lambda x: (x @ x - 1) ** 2)
