"""What of the density is resolved: the projection, and the voids that are filled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, collision_stage

import kjko
from kjko.bases import Quadratics
from kjko.bases.dense import Dense
from kjko.fit.newton import RIDGES
from kjko.methods.resolution import Equilibrium, filling, projection, resolution


def gaussian_pair(number=20_000, d=2):
    """Particles of one normal law, with the logarithm of their density over another."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(number, d)) @ np.array([[1.1, 0.2], [0.0, 0.9]]) + 0.1
    functions = np.column_stack([np.ones(number), z, z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2])
    return z, jnp.asarray(functions)


def test_the_projection_keeps_moments_and_lowers_the_entropy(double):
    """E_f[(e^{ĝ − g} − 1) Φ] = 0, and mean(g − ĝ) > 0, with detail that Φ does not have."""
    z, functions = gaussian_pair()
    smooth = functions @ jnp.asarray([0.3, 0.1, -0.2, 0.2, 0.1, -0.1])
    g = smooth + 0.3 * jnp.sin(25 * z[:, 0] + 3 * z[:, 1])
    design = Dense.of(functions, jnp.ones(6))
    fitted = design.apply(projection(design, g, jnp.asarray(1e-5)))
    kept = functions.T @ (jnp.exp(fitted - g) - 1) / g.size
    np.testing.assert_allclose(kept, 0, atol=1e-4)
    assert jnp.mean(g - fitted) > 0.01
    again = design.apply(projection(design, smooth, jnp.asarray(1e-5)))
    np.testing.assert_allclose(again, smooth, atol=1e-3)


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_projection_by_any_ridge_that_a_fit_may_choose(ridge):
    """With more of it less of g is kept; the mean always is, but for the ridge's pull on it."""
    z, functions = gaussian_pair()
    g = functions @ jnp.asarray([0.3, 0.1, -0.2, 0.2, 0.1, -0.1])
    design = Dense.of(functions, jnp.ones(6))
    c = projection(design, g, jnp.asarray(ridge, g.dtype))
    assert jnp.all(jnp.isfinite(c))
    assert 0 < jnp.mean(design.apply(c) ** 2) <= 1.01 * jnp.mean(g**2)


def test_voids_are_filled():
    """Particles that have a part of phase space to themselves: log f is lower by its share there.

    f∞ is N(0, 1) in v. The particles are drawn from it, but for a comb of empty gaps that is wider
    on one side; log f is that of the teeth, which is what a map carries.
    """
    rng = np.random.default_rng(0)
    v = rng.normal(size=200_000)
    share = 0.8 + 0.15 * np.tanh(v)  # of each period of the comb that is not empty
    period = 0.02
    v = v[(v / period) % 1 < share]
    normaliser = np.mean(0.8 + 0.15 * np.tanh(rng.normal(size=400_000)))
    g = jnp.full(v.size, -np.log(normaliser))  # log f − log f∞ on a tooth
    functions = jnp.asarray(np.column_stack([np.ones(v.size), v, v**2]), jnp.float32)
    c = filling(functions, jnp.exp(-g).astype(jnp.float32), jnp.asarray([1.0, 0.0, 1.0]), 1.0)
    expected = np.log(0.8 + 0.15 * np.tanh(v))  # what is missing of a smooth density
    error = np.asarray(functions @ c) - expected
    assert np.sqrt(np.mean(error**2)) < 0.25 * np.std(expected) + 0.01


def test_noise_is_left_alone():
    """Particles of f∞ itself, of which nothing is missing."""
    moved = []
    for seed in range(8):
        z = np.random.default_rng(seed).normal(size=(4000, 2))
        basis = Quadratics(1)
        values = jax.vmap(basis.values)(jnp.asarray(z[:, :1]), jnp.asarray(z[:, 1:]))
        means = jnp.asarray([1.0, 0.0, 0.0, 1.0, 0.0, 1.0])
        c = filling(values, jnp.ones(4000), means, 1.0)
        moved.append(float(jnp.std(values @ c)))
    assert np.median(moved) < 0.005  # noise alone would make it √(6/4000) = 0.04


WELLS = {  # two of them, left and right of 0, or of 1 in the box; and the dimension
    "confined": (kjko.DoubleWell(), None, 1),
    "uneven, coupled": (kjko.Expression("(x1**2 - 1)**2 + 0.05*x1 + 0.5*(x2 - x1)**2", 2), None, 2),
    "in a box": (kjko.Cosine(np.array([2.0]), 1.0, mode=2), kjko.Box(np.array([2.0])), 1),
}


def in_wells(kind, share, number=10_000):
    """A `share` of f in the left well, f∞'s own if None; the problem, particles, f/f∞ at them."""
    potential, box, d = WELLS[kind]
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(1.0, 0.1), box=box)
    rng = np.random.default_rng(5)
    nodes, middle = (
        (np.linspace(-2, 2, 8001), 0.0) if box is None else (np.linspace(0, 2, 4001), 1.0)
    )
    lowest = np.repeat(nodes[:, None], d, axis=1)  # φ is least at x₂ = x₁
    weights = np.exp(-10 * np.asarray(jax.vmap(potential)(jnp.asarray(lowest))))
    weights /= weights.sum()
    of_left = weights[nodes < middle].sum()
    share = of_left if share is None else share
    f_over = np.where(nodes < middle, share / of_left, (1 - share) / (1 - of_left))
    at = rng.choice(len(nodes), number, p=f_over * weights / (f_over * weights).sum())
    x = np.repeat(nodes[at, None], d, axis=1)
    x[:, 1:] += np.sqrt(0.1) * rng.normal(size=(number, d - 1))
    return problem, x, np.sqrt(0.1) * rng.normal(size=(number, d)), f_over[at]


@pytest.mark.parametrize("share", [0.0, 3e-4, 1e-2])
@pytest.mark.parametrize("kind", WELLS)
def test_a_well_that_nothing_has_reached_is_no_void(kind, share, double):
    """The relative entropy is that of the shares of the wells, and log f stays as it is."""
    problem, x, v, ratio = in_wells(kind, share)
    particles = kjko.Particles(x, v, np.zeros(len(x)))
    known = Equilibrium.of(problem, particles)
    potential = np.asarray(jax.vmap(problem.flow.given_potential)(particles.x))
    energy = 0.5 * np.sum(v**2, axis=1) + potential
    log_f = jnp.asarray(np.log(ratio) - energy / 0.1) - known.log_normaliser
    particles = kjko.Particles(x, v, log_f)
    _, weight = known.ratios(particles.x, jnp.log(ratio))
    assert float(weight) < 0.02
    stage = collision_stage(problem, particles)
    basis = kjko.Splines(x.shape[1], (12, 6)).adapt(stage)
    at = (stage, basis, jnp.asarray(1e-5), known, jnp.asarray(0.1), jax.random.key(1))
    _, moved = resolution(*at)
    assert abs(jnp.mean(moved - log_f)) < 5e-3  # 0.07 if what is missing were filled


@pytest.mark.parametrize("kind", WELLS)
def test_voids_among_particles_of_both_wells_are_seen(kind, double):
    """An eighth of the bins in v are empty."""
    problem, x, v, ratio = in_wells(kind, None)
    kept = (v[:, 0] / 0.002) % 1 > 1 / 8
    known = Equilibrium.of(problem, kjko.Particles(x, v, np.zeros(len(x))))
    found, weight = known.ratios(jnp.asarray(x[kept]), jnp.log(ratio[kept] * 8 / 7))
    assert float(jnp.mean(found)) == pytest.approx(7 / 8)
    assert float(weight) > 0.9


@pytest.mark.parametrize("far", [5.0, 25.0, 1e3])
def test_far_from_rest_nothing_is_said_to_be_missing(far):
    """Cold particles: all have the same f∞/f, and it is next to nothing."""
    problem, x, *_ = in_wells("confined", None)
    known = Equilibrium.of(problem, kjko.Particles(x, x, x[:, 0]))
    _, weight = known.ratios(jnp.asarray(x, jnp.float32), jnp.full(len(x), far, jnp.float32))
    assert float(weight) < 0.05


@pytest.mark.parametrize("d", [1, 2])
def test_moments_of_the_equilibrium(d, double):
    """∫Φ f∞ of the quadratics by closed form against a sample of the Gaussian law."""
    problem = asymmetric_problem(d)
    particles = kjko.sample(problem.law, 50)
    known = Equilibrium.of(problem, particles)
    basis = Quadratics(d).adapt(collision_stage(problem, particles))
    well = problem.flow.potential
    rng = np.random.default_rng(1)
    covariance = 1.3 * np.linalg.inv(np.asarray(well.stiffness))
    x = rng.multivariate_normal(np.asarray(well.center), covariance, size=400_000)
    v = np.sqrt(1.3) * rng.normal(size=x.shape)
    values = np.asarray(jax.vmap(basis.values)(jnp.asarray(x), jnp.asarray(v)))
    spread = values.std(axis=0) / np.sqrt(len(x))
    np.testing.assert_array_less(
        np.abs(values.mean(axis=0) - known.means(basis)), 5 * spread + 1e-12
    )


def test_a_gaussian_is_resolved_by_quadratics(double):
    """Where g is in the span nothing moves, whatever the share."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 3000)
    stage = collision_stage(problem, particles)
    basis = kjko.Ridges(2, 4, key=jax.random.key(0)).adapt(stage)
    at = (stage, basis, jnp.asarray(1e-5), None, jnp.asarray(5.0), jax.random.key(1))
    found, moved = resolution(*at)
    np.testing.assert_allclose(moved, particles.log_f, atol=1e-3)
    np.testing.assert_allclose(found(basis, stage), moved, atol=1e-12)
