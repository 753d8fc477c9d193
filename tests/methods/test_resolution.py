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
    c = filling(functions, g.astype(jnp.float32), jnp.asarray([1.0, 0.0, 1.0]))
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
        c = filling(values, jnp.zeros(4000), means)
        moved.append(float(jnp.std(values @ c)))
    assert np.median(moved) < 0.005  # noise alone would make it √(6/4000) = 0.04


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
