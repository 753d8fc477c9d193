"""The law without collisions against closed forms, derivatives and quadrature."""

import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm

import kjko
from kjko.reference.closed_form import closed_form
from kjko.reference.collisionless import ExactImage, exact_image
from kjko.reference.gaussian import ExactGaussian, exact_gaussian
from kjko.reference.known import known_law

TIME = 1.3


def image(flow, law, box=None, mass=1.0) -> ExactImage:
    found = exact_image(kjko.Problem(flow, kjko.NoCollisions(1.3), law, box, mass))
    assert found is not None
    return found


def points_of(law, number, seed=0):
    return law.points(np.random.default_rng(seed).random((number, sum(law.dimensions))))


def ring(x):
    """Coupled, with its minima on a ring."""
    return (x @ x - 1) ** 2 + 0.3 * x[0] * x[1]


BEAM = kjko.Product(
    kjko.GaussianPosition(np.array([1.0, 0.2]), np.diag([0.3, 0.4])),
    np.array([[0.0, 1.0], [0.5, -0.3]]),
    np.stack([0.5 * np.eye(2)] * 2),
    np.array([0.6, 0.4]),
)
BEAM_MEAN = np.array([1.0, 0.2, 0.0, 1.0])


@pytest.mark.parametrize("frequency", [None, 0.8])
def test_a_quadratic_well(frequency, double):
    """Against the matrix exponential, all that there is; the image knows no φ but its slope."""
    well = asymmetric_problem(2)
    flow = well.flow
    if frequency is not None:
        flow = kjko.Sum(flow, kjko.Magnetic(np.array(frequency)))
    problem = kjko.Problem(flow, kjko.NoCollisions(1.3), well.law, mass=2.0)
    found, exact = exact_image(problem), exact_gaussian(problem)
    x, v = points_of(well.law, 300)
    at = exact.log_f(TIME, x, v), exact.score(TIME, x, v)
    np.testing.assert_allclose(found.log_f(TIME, x, v), at[0], atol=2e-8)
    np.testing.assert_allclose(found.score(TIME, x, v), at[1], atol=2e-8)
    assert found.kl(TIME) == pytest.approx(exact.kl(TIME), abs=3e-4)
    assert found.free_energy(TIME) == pytest.approx(exact.free_energy(TIME), abs=6e-4)
    mean, covariance = exact.at(TIME)
    for i in range(4):
        values = mean[i] + np.sqrt(covariance[i, i]) * np.linspace(-4, 4, 41)
        expected = exact.distribution(TIME, i, values)
        np.testing.assert_allclose(found.distribution(TIME, i, values), expected, atol=1e-3)


def test_an_oscillator_by_hand(double):
    """x = X cos ωt + (V/ω) sin ωt: no part of the library but the image itself."""
    omega, law = 1.7, kjko.Gaussian(np.array([0.4, -0.2]), np.array([[0.5, 0.1], [0.1, 0.3]]))
    found = image(kjko.External(lambda x: 0.5 * omega**2 * x[0] ** 2), law)
    x, v = points_of(law, 200)
    c, s = np.cos(omega * TIME), np.sin(omega * TIME)
    start = np.concatenate([c * x - s * v / omega, omega * s * x + c * v], axis=1)
    expected = multivariate_normal(law.mean, law.covariance).logpdf(start)
    np.testing.assert_allclose(found.log_f(TIME, x, v), expected, atol=1e-8)


def test_a_drive_and_a_uniform_force_in_a_magnetic_field(double):
    """v̇ = g + h cos(νt) + v × Ω is linear: by the matrix exponential of (z, cos, sin, 1)."""
    nu, omega, g, h = 2.1, np.array([0.4, -0.7, 1.1]), [0.3, 0.0, -0.2], [0.1, 0.6, 0.0]
    position = kjko.GaussianPosition(np.zeros(1), np.eye(1))
    law = kjko.Product(position, np.zeros((1, 3)), 0.5 * np.eye(3)[None], np.ones(1))
    drive = kjko.Driven(lambda t, x: jnp.asarray(h) * jnp.cos(nu * t))
    flow = kjko.Sum(kjko.Uniform(np.array(g)), drive, kjko.Magnetic(omega))
    matrix = np.zeros((7, 7))  # x, v1, v2, v3, cos, sin, 1
    matrix[0, 1] = 1.0
    matrix[1:4, 1:4] = np.cross(np.eye(3), omega).T
    matrix[1:4, 4], matrix[1:4, 6] = h, g
    matrix[4, 5], matrix[5, 4] = -nu, nu
    forth = expm(matrix * TIME)
    found = image(flow, law)
    x, v = points_of(law, 50)
    there = np.concatenate([x, v, np.tile([1.0, 0.0, 1.0], (50, 1))], axis=1) @ forth.T
    expected = norm.logpdf(x[:, 0]) + norm.logpdf(v, scale=np.sqrt(0.5)).sum(axis=1)
    at = there[:, :1], there[:, 1:4]
    np.testing.assert_allclose(found.log_f(TIME, *at), expected, atol=1e-8)
    assert np.isnan(found.free_energy(TIME)) and np.isnan(found.kl(TIME))  # work is done


def test_the_score_is_the_slope_of_log_f(double):
    """By differences of the sixth order, in a coupled well."""
    found, step = image(kjko.External(ring), BEAM), 1e-2
    x, v = points_of(BEAM, 40)
    weights = np.array([-1, 9, -45, 45, -9, 1]) / (60 * step)
    offsets = step * np.array([-3, -2, -1, 1, 2, 3])
    slope = [
        weights @ np.stack([found.log_f(TIME, x, v + o * e) for o in offsets]) for e in np.eye(2)
    ]
    score = found.score(TIME, x, v)
    np.testing.assert_allclose(np.stack(slope, axis=1), score, atol=1e-5 * np.abs(score).max())


def test_points_that_were_moved_come_back(double):
    """With the density that they left with: by an integrator of another kind, with steps of 1e-3.

    Yoshida's of order four, of kicks by the slope of φ written out.
    """
    x, v = points_of(BEAM, 100)
    here, speed = x.copy(), v.copy()
    cube = 2 ** (1 / 3)
    parts = np.array([1.0, -cube, 1.0]) / (2 - cube)
    for _ in range(1300):
        for part in parts * 1e-3:
            here = here + 0.5 * part * speed
            radial = 4 * (np.sum(here**2, axis=1, keepdims=True) - 1) * here
            speed = speed - part * (radial + 0.3 * here[:, ::-1])
            here = here + 0.5 * part * speed
    found = image(kjko.External(ring), BEAM)
    start = found.log_f(0.0, x, v)
    np.testing.assert_allclose(found.log_f(TIME, here, speed), start, atol=1e-6)


def test_mass_and_marginals_on_a_grid(double):
    """∫f = 1 by the trapezoidal rule in 1D1V, and the distribution functions that it gives."""
    law = kjko.Gaussian(np.array([0.5, 0.3]), np.diag([0.2, 0.4]))
    found = image(kjko.External(lambda x: 0.25 * x[0] ** 4 - 0.3 * x[0]), law)
    x, v = np.linspace(-4, 4, 241), np.linspace(-6, 6, 241)
    at = np.stack(np.meshgrid(x, v, indexing="ij"), axis=-1).reshape(-1, 2)
    f = np.exp(found.log_f(TIME, at[:, :1], at[:, 1:])).reshape(241, 241)
    assert np.trapezoid(np.trapezoid(f, v), x) == pytest.approx(1, abs=1e-8)
    for i, nodes in enumerate((x, v)):
        density = np.trapezoid(f, (v, x)[i], axis=1 - i)
        below = np.cumsum(density) * (nodes[1] - nodes[0]) - 0.5 * density * (nodes[1] - nodes[0])
        np.testing.assert_allclose(found.distribution(TIME, i, nodes), below, atol=2e-3)
    log_f = np.log(np.maximum(f, 1e-300))
    entropy = np.trapezoid(np.trapezoid(f * log_f, v), x)
    start = -0.5 * np.log(0.2 * 0.4) - 1 - np.log(2 * np.pi)
    assert entropy == pytest.approx(start, abs=1e-7)  # Liouville


def test_streaming_in_a_box(double):
    """f(t, x, v) = f₀(x − vt, v), with the period of the box; free energy of the start."""
    length, amplitude = np.array([3.0]), 0.4
    position = kjko.CosinePosition(length, np.array([amplitude]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    found = image(kjko.External(lambda x: 0.0 * x[0]), law, kjko.Box(length), mass=3.0)
    x, v = points_of(law, 100)
    wave = np.cos(2 * np.pi * (x - TIME * v) / 3)
    expected = np.log((1 + amplitude * wave) / 3) + norm.logpdf(v)
    np.testing.assert_allclose(found.log_f(TIME, x, v), expected[:, 0], atol=1e-8)
    slope = amplitude * np.sin(2 * np.pi * (x - TIME * v) / 3) / (1 + amplitude * wave)
    score = -v + TIME * (2 * np.pi / 3) * slope
    np.testing.assert_allclose(found.score(TIME, x, v), score, atol=1e-7)
    damped = amplitude * np.exp(-0.5 * (2 * np.pi / 3 * TIME) ** 2)
    nodes = np.linspace(0, 3, 31)
    below = nodes / 3 + damped * np.sin(2 * np.pi * nodes / 3) / (2 * np.pi)
    np.testing.assert_allclose(found.distribution(TIME, 0, nodes), below, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_in_other_units(unit, double):
    """In metres or microns: the same f, in those units."""
    small = kjko.Gaussian(unit * BEAM_MEAN, unit**2 * np.diag([0.3, 0.4, 0.5, 0.5]))
    one = kjko.Gaussian(BEAM_MEAN, np.diag([0.3, 0.4, 0.5, 0.5]))
    found = image(kjko.External(lambda x: unit**2 * ring(x / unit)), small)
    expected = image(kjko.External(ring), one)
    x, v = points_of(one, 50)
    log_f = found.log_f(TIME, unit * x, unit * v) + 4 * np.log(unit)
    np.testing.assert_allclose(log_f, expected.log_f(TIME, x, v), atol=1e-6)
    score = unit * found.score(TIME, unit * x, unit * v)
    np.testing.assert_allclose(score, expected.score(TIME, x, v), atol=1e-5)


def test_where_there_is_one():
    """A closed form comes first; none with collisions, a field of the particles', or no law."""
    well, free = asymmetric_problem(1), kjko.NoCollisions()
    quadratic = known_law(kjko.Problem(well.flow, free, well.law), [1.0])
    assert isinstance(quadratic, ExactGaussian)
    double_well = kjko.External(kjko.DoubleWell())
    assert isinstance(closed_form(kjko.Problem(double_well, free, well.law)), ExactImage)
    assert exact_image(kjko.Problem(double_well, law=well.law)) is None
    assert exact_image(kjko.Problem(double_well, free)) is None
    length = [4 * np.pi]
    position = kjko.CosinePosition(length, [0.1], [1])
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    plasma = kjko.Poisson(kjko.Mesh(length, [16]))
    both = kjko.Sum(plasma, kjko.External(kjko.Sine(length, 0.3)))
    for flow in (plasma, both):
        assert exact_image(kjko.Problem(flow, free, law, kjko.Box(length), 4 * np.pi)) is None


def test_a_point_that_runs_off(double):
    found = image(kjko.External(lambda x: -(x[0] ** 4)), asymmetric_problem(1).law)
    with pytest.raises(ValueError, match="flow: no characteristic beyond t = "):
        found.log_f(9.0, np.array([[3.0]]), np.array([[-2.0]]))
