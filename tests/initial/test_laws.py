"""Initial laws: densities against scipy, samples against their moments."""

import jax
import numpy as np
import pytest
from problems import asymmetric_problem
from scipy import stats
from scipy.stats import qmc

import kjko

N = 20_000


def product_law(d):
    position = kjko.GaussianPosition(np.arange(1.0, d + 1), np.eye(d) + 0.4)
    means = np.array([np.full(d, -1.5), np.linspace(0.5, 2.0, d)])
    covariances = np.array([0.3 * np.eye(d) + 0.1, 0.8 * np.eye(d)])
    return kjko.Product(position, means, covariances, np.array([0.3, 0.7]))


def periodic_law(d):
    length, amplitude, mode = np.arange(1.0, d + 1), np.full(d, 0.6), np.arange(1, d + 1)
    position = kjko.CosinePosition(length, amplitude, mode)
    return kjko.Product(position, np.zeros((1, d)), np.eye(d)[None], np.ones(1))


def cut_law(d):
    """A wave that does not fit its box, and more velocities than positions."""
    position = kjko.CosinePosition([3.0], [0.9], [1.3], literal=True)
    return kjko.Product(position, np.zeros((1, d)), np.eye(d)[None], np.ones(1))


LAWS = (lambda d: asymmetric_problem(d).law, product_law, periodic_law, cut_law)


@pytest.mark.parametrize("sampling", ["random", "low-discrepancy", "lattice"])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("make", LAWS, ids=["gaussian", "product", "periodic", "cut"])
def test_samples_have_the_law(make, d, sampling, double):
    """E[g/f] over the sample is ∫g for test densities g: sampler and density must agree."""
    law = make(d)
    particles = kjko.sample(law, N, 3, sampling)
    x, v = np.asarray(particles.x), np.asarray(particles.v)
    center = np.concatenate([x, v], axis=1).mean(axis=0)
    width = 0.5 * np.concatenate([x, v], axis=1).std(axis=0)
    if law.periodic:  # g is uniform in x
        center, width = center[-d:], width[-d:]
        log_g = -np.sum(np.log(law.position.length)) * np.ones(N)
        z = v
    else:
        log_g, z = np.zeros(N), np.concatenate([x, v], axis=1)
    log_g = log_g + stats.norm.logpdf(z, center, width).sum(axis=1)
    ratio = np.exp(log_g - np.asarray(particles.log_f))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(N)


def test_gaussian_density_and_moments(double):
    law = asymmetric_problem(2).law
    particles = kjko.sample(law, N, 0)
    z = np.concatenate([particles.x, particles.v], axis=1)
    expected = stats.multivariate_normal(law.mean, law.covariance)
    np.testing.assert_allclose(particles.log_f, expected.logpdf(z), atol=1e-10)
    errors = (z.mean(axis=0) - law.mean) / np.sqrt(np.diag(law.covariance) / N)
    assert np.abs(errors).max() < 5
    np.testing.assert_allclose(np.cov(z.T), law.covariance, atol=5 * np.sqrt(2 / N) * 3)


def test_mixture_density(double):
    law = product_law(2)
    particles = kjko.sample(law, 50, 1)
    density = stats.multivariate_normal(law.position.mean, law.position.covariance)
    mixture = sum(
        w * stats.multivariate_normal(m, c).pdf(particles.v)
        for w, m, c in zip(law.weights, law.means, law.covariances, strict=True)
    )
    expected = density.logpdf(particles.x) + np.log(mixture)
    np.testing.assert_allclose(particles.log_f, expected, atol=1e-10)


def test_periodic_position_inverts_its_distribution(double):
    length, a, mode = 3.0, 0.9, 2
    position = kjko.CosinePosition(np.array([length]), np.array([a]), np.array([mode]))
    u = np.linspace(0, 1, 101)[1:-1, None]
    x = position.points(u)
    k = 2 * np.pi * mode / length
    np.testing.assert_allclose((x + a * np.sin(k * x) / k) / length, u, atol=1e-12)
    density = np.exp(jax.vmap(position.log_density)(x))
    np.testing.assert_allclose(density, (1 + a * np.cos(k * x[:, 0])) / length, rtol=1e-12)


def test_low_discrepancy_points_are_quieter(double):
    law = product_law(1)
    spread = {
        sampling: np.std([kjko.sample(law, 1024, s, sampling).v.mean() for s in range(8)])
        for sampling in ("random", "low-discrepancy", "lattice")
    }
    assert spread["low-discrepancy"] < 0.3 * spread["random"]
    assert spread["lattice"] < 0.3 * spread["random"]


def test_a_lattice_in_two_dimensions_is_the_quietest(double):
    """In the first waves of a plasma's box once the particles have flown for a while."""
    position = kjko.CosinePosition([4 * np.pi], [0.01], [1])
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))

    def noise(sampling):
        particles = kjko.sample(law, 10_000, 1, sampling)
        x = np.asarray(particles.x + 5 * particles.v)
        waves = np.exp(0.5j * np.arange(1, 9)[None] * x).mean(axis=0)
        return np.sqrt(np.mean(np.abs(waves[4:]) ** 2))

    assert noise("lattice") < 0.3 * noise("low-discrepancy")
    assert noise("low-discrepancy") < 0.5 * noise("random")


def test_more_velocities_leave_a_lattice_as_quiet(double):
    """x and the velocity along it are as without them; all together fill the space evenly."""
    position = kjko.CosinePosition([4 * np.pi], [0.01], [1])
    one, three = (
        kjko.sample(
            kjko.Product(position, np.zeros((1, d)), np.eye(d)[None], np.ones(1)),
            2000,
            1,
            "lattice",
        )
        for d in (1, 3)
    )
    np.testing.assert_array_equal(three.x, one.x)
    np.testing.assert_array_equal(three.v[:, :1], one.v)
    cube = np.hstack([three.x / (4 * np.pi), stats.norm.cdf(three.v)])
    random = np.random.default_rng(0).random(cube.shape)
    assert qmc.discrepancy(cube) < 0.2 * qmc.discrepancy(random)


def test_a_cut_wave_has_mass_one(double):
    position = cut_law(1).position
    x = np.linspace(0, 3, 20_001)
    density = np.exp(jax.vmap(position.log_density)(x[:, None]))
    assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-8)
    u = np.linspace(0.01, 0.99, 50)[:, None]
    at = position.points(u)[:, 0]
    cumulative = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
    np.testing.assert_allclose(np.interp(at, x, cumulative), u[:, 0], atol=1e-7)


def test_cell_jitter_is_the_papers_recipe(double):
    """Cells by the density at their centres, uniform within; log f of the law itself."""
    position = kjko.CosinePosition([4.0], [0.8], [1])
    jittered = kjko.initial.CellJitter(position, (8,))
    x = jittered.points(np.random.default_rng(0).random((N, 1)))[:, 0]
    counts = np.histogram(x, 8, (0, 4))[0]
    centres = (np.arange(8) + 0.5) / 2
    p = 1 + 0.8 * np.cos(np.pi * centres / 2)
    p = p / p.sum()
    assert np.abs(counts - N * p).max() < 5 * np.sqrt(N * p.max())
    within = x * 2 % 1
    assert stats.kstest(within, "uniform").pvalue > 1e-3
    point = np.array([0.3])
    assert jittered.log_density(point) == position.log_density(point)


def test_the_seed_decides(double):
    law = product_law(1)
    first, same, other = (kjko.sample(law, 10, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.x, same.x)
    assert np.abs(first.x - other.x).min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kjko.Gaussian(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])), "covariance"),
        (lambda: kjko.Gaussian(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: kjko.Gaussian(np.zeros(4), np.eye(2)), "shapes"),
        (lambda: kjko.CosinePosition(np.ones(1), np.array([1.5]), np.ones(1)), "amplitude"),
        (lambda: kjko.CosinePosition(np.ones(1), np.array([0.5]), np.array([0.8])), "mode"),
        (lambda: kjko.sample(product_law(1), 1), "number"),
        (
            lambda: kjko.Product(
                product_law(2).position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1)
            ),
            "as many velocities as positions",
        ),
        (
            lambda: kjko.Product(
                product_law(1).position, np.zeros((2, 1)), np.ones((2, 1, 1)), np.array([0.5, 0.6])
            ),
            "weights",
        ),
    ],
)
def test_bad_laws_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
