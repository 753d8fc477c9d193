"""The references against independent computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import anharmonic_potential, asymmetric_problem
from scipy import stats
from scipy.integrate import dblquad, quad, solve_ivp

import kjko
from kjko.flow.potentials import AbstractSeparable
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.stationary import stationary


@pytest.mark.parametrize("d", [1, 2, 3])
def test_exact_gaussian_solves_its_equation(d, double):
    """(33) integrated as printed: μ' = −(D+J)K⁻¹(μ−μ̃), C' = 2D T₀ − 2 Sym((D+J)K⁻¹C)."""
    problem = asymmetric_problem(d)
    exact = exact_gaussian(problem)
    identity, zero = np.eye(d), np.zeros((d, d))
    rate, temperature = float(problem.collisions.rate), float(problem.temperature)
    dissipative = np.block([[zero, zero], [zero, rate * identity]])
    conservative = np.block([[zero, -identity], [identity, zero]])
    stiffness = np.asarray(problem.flow.potential.stiffness)
    inverse_k = np.block([[stiffness, zero], [zero, identity]])
    matrix = (dissipative + conservative) @ inverse_k
    center = np.concatenate([problem.flow.potential.center, np.zeros(d)])

    def derivative(t, y):
        mean, covariance = y[: 2 * d], y[2 * d :].reshape(2 * d, 2 * d)
        product = matrix @ covariance
        change = 2 * temperature * dissipative - product - product.T
        return np.concatenate([-matrix @ (mean - center), change.ravel()])

    start = np.concatenate([problem.law.mean, np.ravel(problem.law.covariance)])
    end = solve_ivp(derivative, (0, 1.7), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    mean, covariance = exact.at(1.7)
    np.testing.assert_allclose(mean, end[: 2 * d], atol=1e-9)
    np.testing.assert_allclose(covariance.ravel(), end[2 * d :], atol=1e-9)


@pytest.mark.parametrize("collisions", [kjko.FokkerPlanck(0.7, 1.3), kjko.NoCollisions(1.3)])
@pytest.mark.parametrize(("d", "frequency"), [(2, 0.8), (3, [0.5, -0.4, 0.8])])
def test_exact_gaussian_in_a_magnetic_field(d, frequency, collisions, double):
    """μ̇ = g(μ) and Ċ = 2 diag(0, εT₀I) + G C + C Gᵀ by an ODE solver, G the matrix of g.

    g(x, v) = (v, −K (x − c) + v × Ω − ε v), with numpy's cross product.
    """
    well = asymmetric_problem(d)
    flow = kjko.Sum(well.flow, kjko.Magnetic(frequency))
    problem = kjko.Problem(flow, collisions, well.law)
    stiffness, center = (np.asarray(a) for a in jax.tree.leaves(well.flow.potential))
    rate = 0.7 if isinstance(collisions, kjko.FokkerPlanck) else 0.0
    omega = np.array([0.0, 0.0, frequency]) if d == 2 else np.array(frequency)

    def one(z):
        x, v = z[:d], z[d:]
        turning = np.cross(np.pad(v, (0, 3 - d)), omega)[:d]
        return np.concatenate([v, -stiffness @ (x - center) + turning - rate * v])

    at_rest = one(np.zeros(2 * d))
    matrix = np.stack([one(e) - at_rest for e in np.eye(2 * d)], axis=1)
    noise = np.diag([0.0] * d + [2 * rate * 1.3] * d)

    def derivative(t, y):
        mean, covariance = y[: 2 * d], y[2 * d :].reshape(2 * d, 2 * d)
        change = noise + matrix @ covariance + covariance @ matrix.T
        return np.concatenate([one(mean), change.ravel()])

    start = np.concatenate([well.law.mean, np.ravel(well.law.covariance)])
    end = solve_ivp(derivative, (0, 1.7), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    mean, covariance = exact_gaussian(problem).at(1.7)
    np.testing.assert_allclose(mean, end[: 2 * d], atol=1e-9)
    np.testing.assert_allclose(covariance.ravel(), end[2 * d :], atol=1e-9)
    without = exact_gaussian(kjko.Problem(well.flow, collisions, well.law)).at(1.7)[0]
    assert np.abs(mean - without).max() > 0.1  # the field acts


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
    other = kjko.Problem(kjko.External(kjko.DoubleWell()), law=problem.law)
    assert exact_gaussian(other) is None
    both = kjko.Sum(problem.flow, kjko.Uniform([0.5]))
    assert exact_gaussian(kjko.Problem(both, law=problem.law)) is None
    assert exact_gaussian(kjko.Problem(problem.flow, kjko.Dougherty(), problem.law)) is None
    assert exact_gaussian(kjko.Problem(problem.flow)) is None


def problem_with(potential, d, temperature=1.3):
    law = kjko.Gaussian(np.zeros(2 * d), np.eye(2 * d))
    return kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(1.0, temperature), law)


def assert_normal(law, mean, covariance, temperature=1.3):
    """The law in x is normal; covariance is of x."""
    d = len(mean)
    log_x = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    expected = log_x + 0.5 * d * np.log(2 * np.pi * temperature)
    assert law.log_normaliser == pytest.approx(expected, abs=1e-8)
    for nodes, marginal, m, variance in zip(
        law.nodes, law.marginals, mean, np.diag(covariance), strict=True
    ):
        width = np.sqrt(variance)
        np.testing.assert_allclose(marginal * width, stats.norm.pdf((nodes - m) / width), atol=1e-6)
        assert np.trapezoid(marginal, nodes) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("grid", [False, True], ids=["closed form", "grid"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_stationary_of_a_coupled_quadratic(d, grid, double):
    problem = asymmetric_problem(d)
    potential = problem.flow.potential
    law = stationary(problem_with((lambda x: potential(x)) if grid else potential, d), d)
    assert_normal(law, potential.center, 1.3 * np.linalg.inv(potential.stiffness))


STIFF, FAR_OFF = np.diag([0.01, 1.0, 100.0]), np.full(2, 150.0)


@pytest.mark.parametrize("grid", [False, True], ids=["closed form", "grid"])
@pytest.mark.parametrize(
    ("stiffness", "center"),
    [(STIFF, np.zeros(3)), (2 * np.eye(2), FAR_OFF), (np.diag([0.1, 40.0]), -FAR_OFF)],
    ids=["stiff", "off-centre", "both"],
)
def test_stationary_of_a_stiff_or_off_centre_quadratic(stiffness, center, grid, double):
    potential = kjko.Quadratic(stiffness, center)
    d = len(center)
    law = stationary(problem_with((lambda x: potential(x)) if grid else potential, d), d)
    assert_normal(law, center, 1.3 * np.linalg.inv(stiffness))


def test_a_magnetic_field_leaves_the_stationary_law_as_it_is(double):
    """It does no work; a force without a potential does, and particles alone have no bath."""
    problem = asymmetric_problem(2)
    with_field = kjko.Sum(problem.flow, kjko.Magnetic(0.8))
    expected, found = (
        stationary(kjko.Problem(flow, problem.collisions, problem.law), 2)
        for flow in (problem.flow, with_field)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    pushed = kjko.Sum(problem.flow, kjko.Uniform([0.1, 0.0]))
    assert stationary(kjko.Problem(pushed, problem.collisions, problem.law), 2) is None
    assert stationary(kjko.Problem(problem.flow, kjko.Dougherty(), problem.law), 2) is None


def test_stationary_of_two_potentials_at_once(double):
    """φ₁ + φ₂, as of one that is the sum."""
    problem = asymmetric_problem(2)
    first, second = problem.flow.potential, kjko.DoubleWell(0.5, 1.5)
    both = kjko.Sum(kjko.External(first), kjko.External(second))
    found = stationary(kjko.Problem(both, problem.collisions, problem.law), 2)
    expected = stationary(problem_with(lambda x: first(x) + second(x), 2), 2)
    assert found.log_normaliser == pytest.approx(expected.log_normaliser, abs=1e-10)
    np.testing.assert_allclose(found.marginals, expected.marginals, atol=1e-10)


def test_stationary_of_a_quadratic_in_five_dimensions(double):
    potential = asymmetric_problem(5).flow.potential
    law = stationary(asymmetric_problem(5), 5)
    assert_normal(law, potential.center, 1.3 * np.linalg.inv(potential.stiffness))


class Moved(AbstractSeparable):
    """Another separable potential, each coordinate scaled and then moved."""

    potential: AbstractSeparable
    scale: np.ndarray
    center: np.ndarray

    def terms(self, x):
        return self.potential.terms((x - self.center) / self.scale)


@pytest.mark.parametrize("potential", [kjko.Multiwell(), kjko.DoubleWell(2.0, 1.5)], ids=repr)
@pytest.mark.parametrize("d", [1, 3, 6])
def test_stationary_of_a_separable_potential(potential, d, double):
    law = stationary(problem_with(potential, d), d)
    one = quad(lambda x: np.exp(-potential(jnp.array([x])) / 1.3), -12, 12, limit=400)[0]
    expected = d * (np.log(one) + 0.5 * np.log(2 * np.pi * 1.3))
    assert law.log_normaliser == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("potential", [kjko.Multiwell(), kjko.DoubleWell(2.0, 1.5)], ids=repr)
def test_stationary_of_an_off_centre_separable_potential(potential, double):
    scale, center = np.array([0.01, 1.0, 30.0, 2.0]), np.array([5.0, -150.0, 700.0, 0.0])
    at_origin = stationary(problem_with(potential, 4), 4)
    law = stationary(problem_with(Moved(potential, scale, center), 4), 4)
    expected = at_origin.log_normaliser + np.log(scale).sum()
    assert law.log_normaliser == pytest.approx(expected, abs=1e-7)
    mean = np.trapezoid(law.nodes * law.marginals, law.nodes, axis=1)
    np.testing.assert_allclose(mean, center, atol=1e-6)


def test_stationary_looks_beyond_high_barriers(double):
    """Wells that are 80 T₀ apart in energy all count."""
    potential = kjko.Multiwell(stiffness=1.0, amplitude=50.0)
    law = stationary(problem_with(potential, 1), 1)
    x = np.linspace(-14, 14, 40_001)
    weight = np.exp(-(0.5 * x**2 + 50 * np.cos(2 * np.pi * x) + 50) / 1.3)
    expected = np.log(np.trapezoid(weight, x)) + 50 / 1.3 + 0.5 * np.log(2 * np.pi * 1.3)
    assert law.log_normaliser == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("center", [(0.0, 0.0), (20.0, -170.0)], ids=["centred", "off-centre"])
def test_stationary_of_a_callable(center, double):
    def potential(x):
        return anharmonic_potential(x) + 0.1 * jnp.sum(x**4)

    law = stationary(problem_with(lambda x: potential(x - jnp.array(center)), 2), 2)
    x, w = np.polynomial.legendre.leggauss(200)
    mesh = 6 * np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    x_part = 36 * np.outer(w, w).ravel() @ np.exp(-jax.vmap(potential)(jnp.asarray(mesh)) / 1.3)
    assert law.log_normaliser == pytest.approx(np.log(x_part * 2 * np.pi * 1.3), abs=1e-7)


@pytest.mark.parametrize("angle", [np.pi / 4, 0.3], ids=["along the diagonal", "across the grid"])
def test_no_stationary_law_that_is_not_resolved(angle, double):
    """A valley narrower than the grid."""
    along = jnp.array([np.cos(angle), np.sin(angle)])
    across = jnp.array([-np.sin(angle), np.cos(angle)])

    def valley(x):
        return 0.5 * (along @ x) ** 2 + 0.5e6 * (across @ x) ** 2

    assert stationary(problem_with(valley, 2), 2) is None


def test_no_stationary_law_with_a_spike_that_is_not_resolved(double):
    class Spike(AbstractSeparable):
        def terms(self, x):
            return 0.5 * x**2 - 20 * jnp.exp(-((1e4 * x) ** 2))

    assert stationary(problem_with(Spike(), 1), 1) is None


def test_no_stationary_law_of_a_saddle():
    assert stationary(problem_with(kjko.Quadratic(np.diag([1.0, -1.0]), np.zeros(2)), 2), 2) is None


def test_stationary_of_a_periodic_potential(double):
    box = kjko.Box(np.array([2.0]))
    position = kjko.CosinePosition(box.length, np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    potential = kjko.Sine(box.length, amplitude=0.8)
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(1.0, 0.9), law, box)
    expected = np.log(2.0 * np.i0(0.8 / 0.9)) + 0.5 * np.log(2 * np.pi * 0.9)
    assert stationary(problem, 1).log_normaliser == pytest.approx(expected, abs=1e-8)


def test_no_stationary_law_without_confinement():
    assert stationary(problem_with(lambda x: -jnp.sum(x), 1), 1) is None
    assert stationary(problem_with(kjko.Multiwell(), 4), 4) is not None
    assert stationary(problem_with(anharmonic_potential, 4), 4) is None


@pytest.mark.parametrize(
    ("stiffness", "center", "message"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], [0.0, 0.0], "stiffness: must be symmetric"),
        ([[1.0, 0.0], [0.0, 1.0]], [0.0], "need shapes"),
        ([[1.0, 0.0]], [0.0, 0.0], "need shapes"),
        (2.0, 0.0, "need shapes"),
    ],
)
def test_a_quadratic_that_is_refused(stiffness, center, message):
    with pytest.raises(ValueError, match=message):
        kjko.Quadratic(jnp.array(stiffness), jnp.array(center))


def test_a_law_and_a_box_that_do_not_go_together():
    law, box = asymmetric_problem(1).law, kjko.Box(np.ones(1))
    with pytest.raises(ValueError, match="law: this law is not periodic in x and the box is"):
        kjko.Problem(kjko.External(kjko.Sine(box.length)), law=law, box=box)
