"""Laws that are known where coordinates do not separate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kjko
from kjko.reference.known import known_law
from kjko.reference.stationary import stationary


def kinetic_operator(problem, log_f):
    """∂ₜf/f of (1) by derivatives of log f at a point, from nothing but the equation."""

    def at(t, x, v):
        rate, temperature = problem.collisions.rate, problem.collisions.temperature
        parts = len(problem.flow.members)
        own = (None,) * parts if parts > 1 else None
        acceleration = problem.flow.acceleration(own, t, x, v)
        omega = problem.flow.gyrofrequency(t, x)
        if omega is not None:
            wide = jnp.pad(v, (0, 3 - v.size))
            acceleration = acceleration + jnp.cross(wide, omega)[: v.size]
        score_x = jax.grad(log_f, argnums=1)(t, x, v)
        score_v = jax.grad(log_f, argnums=2)(t, x, v)
        hessian = jax.hessian(log_f, argnums=2)(t, x, v)
        friction = v.size + v @ score_v
        diffusion = temperature * (jnp.trace(hessian) + score_v @ score_v)
        return -v @ score_x - acceleration @ score_v + rate * (friction + diffusion)

    return at


@eqx.filter_jit
def score_of(law, x, v):
    return jax.vmap(jax.grad(law.log_density, argnums=1))(x, v)


def mixture_problem(d, turning):
    rng = np.random.default_rng(d)
    factor = rng.normal(size=(d, d))
    well = kjko.External(kjko.Quadratic(factor @ factor.T + np.eye(d), rng.normal(size=d)))
    flow = kjko.Sum(well, kjko.Magnetic(turning)) if turning is not None else well
    covariances = [np.diag(rng.uniform(0.3, 0.8, 2 * d)) for _ in range(3)]
    means, weights = rng.normal(size=(3, 2 * d)), [0.5, 0.3, 0.2]
    law = kjko.GaussianMixture(means, covariances, weights)
    return kjko.Problem(flow, kjko.FokkerPlanck(0.8, 1.2), law)


@pytest.mark.parametrize("d, turning", [(2, None), (2, 1.5), (3, [0.3, -1.0, 0.7])])
def test_a_mixture_solves_the_equation(d, turning, double):
    """∂ₜ log f by differences of the reference in time, all else by automatic differentiation."""
    problem = mixture_problem(d, turning)
    law, time, step = known_law(problem, [0.7]), 0.7, 1e-4
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 20, d))
    later, earlier = (law.log_f(time + s, x, v) for s in (step, -step))
    change = (later - earlier) / (2 * step)
    means, covariances = zip(*(part.at(time) for part in law.parts), strict=True)
    frozen = kjko.GaussianMixture(np.stack(means), np.stack(covariances), law.weights)
    operator = kinetic_operator(problem, lambda t, x, v: frozen.log_density(x, v))
    right = jax.jit(jax.vmap(operator, (None, 0, 0)))(jnp.asarray(time), x, v)
    np.testing.assert_allclose(change, right, rtol=1e-5, atol=1e-5)
    score = score_of(frozen, x, v)
    np.testing.assert_allclose(law.score(time, x, v), score, rtol=1e-8)


def test_integrals_of_a_mixture(double):
    """The relative entropy against points of the initial law, whose density is the law's own."""
    problem = mixture_problem(2, None)
    law = known_law(problem, [0.0])
    particles = kjko.sample(problem.law, 2**16, sampling="low-discrepancy")
    potential = jax.jit(jax.vmap(problem.flow.potential))(particles.x)
    energy = 0.5 * np.sum(np.asarray(particles.v) ** 2, axis=1) + potential
    log_z = float(stationary(problem, 2).log_normaliser)
    kl = float(np.mean(particles.log_f + energy / 1.2)) + log_z
    assert law.kl(0.0) == pytest.approx(kl, abs=5e-3)
    assert law.free_energy(0.0) == pytest.approx(1.2 * (kl - log_z), abs=6e-3)
    x, v = (np.asarray(a) for a in (particles.x, particles.v))
    np.testing.assert_allclose(law.log_f(0.0, x, v), particles.log_f, atol=1e-9)
    for coordinate in range(4):
        z = np.sort(np.concatenate([x, v], axis=1)[:, coordinate])
        at = law.distribution(0.0, coordinate, z)
        np.testing.assert_allclose(at, (np.arange(z.size) + 0.5) / z.size, atol=2e-3)


def rotated_problem(direction, mass=1.0, minimum=0.9):
    e = np.asarray(direction) / np.linalg.norm(direction)
    d = e.size
    position = kjko.GaussianPosition(0.3 * e, np.eye(d) + 0.5 * np.outer(e, e))
    means = np.stack([1.2 * e, -0.8 * e])
    law = kjko.Product(position, means, np.stack([np.eye(d)] * 2), [0.6, 0.4])
    well = kjko.RotatedWell(direction, 1.5, minimum, 2.0)
    return kjko.Problem(kjko.External(well), law=law, mass=mass)


def test_a_rotated_well():
    """At t = 0 the law is the initial one; later its relative entropy falls, at rest it is zero."""
    problem = rotated_problem([1.0, -0.5, 0.3], mass=2.0, minimum=2.0)
    law = known_law(problem, [0.0, 0.5])
    particles = kjko.sample(problem.law, 2000)
    x, v = (np.asarray(a, dtype=float) for a in (particles.x, particles.v))
    log_f = law.log_f(0.0, x, v)
    middle = np.abs(np.concatenate([x, v], axis=1)).max(axis=1) < 3
    np.testing.assert_allclose(log_f[middle], particles.log_f[middle], atol=0.01)
    score = np.asarray(score_of(problem.law, particles.x, particles.v))
    np.testing.assert_allclose(law.score(0.0, x, v)[middle], score[middle], atol=0.05)
    assert 0 < law.kl(0.5) < law.kl(0.0)
    many = kjko.sample(problem.law, 2**14, sampling="low-discrepancy")
    z = np.sort(np.concatenate([many.x, many.v], axis=1).astype(float), axis=0)
    for coordinate in range(6):
        at = law.distribution(0.0, coordinate, z[:, coordinate])
        np.testing.assert_allclose(at, (np.arange(len(z)) + 0.5) / len(z), atol=4e-3)
    log_z = float(stationary(problem, 3).log_normaliser)
    expected = 2 * (law.kl(0.5) - log_z + np.log(2.0))
    assert law.free_energy(0.5) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_the_equation_along_a_slanted_well(double):
    """∂ₜ log f of the two parts together, at points, against the equation in all coordinates."""
    problem = rotated_problem([1.0, 2.0])
    times = [0.39, 0.4, 0.41]
    law = known_law(problem, times)
    rng = np.random.default_rng(2)
    x, v = rng.uniform(-0.9, 0.9, size=(2, 12, 2))  # where the grid resolves log f
    change = (law.log_f(0.41, x, v) - law.log_f(0.39, x, v)) / 0.02
    step = 1e-2
    identity = step * np.eye(2)

    def log_f(x, v):
        return law.log_f(0.4, x, v)

    def slope(f, k):
        return (f(identity[k]) - f(-identity[k])) / (2 * step)

    by_x = np.stack([slope(lambda y: log_f(x + y, v), k) for k in range(2)], axis=1)
    by_v = np.stack([slope(lambda w: log_f(x, v + w), k) for k in range(2)], axis=1)
    here = log_f(x, v)
    twice = [(log_f(x, v + w) - 2 * here + log_f(x, v - w)) / step**2 for w in identity]
    force = jax.vmap(lambda x: problem.flow.acceleration(None, 0.0, x, x))(jnp.asarray(x))
    friction = 2 + np.sum(v * by_v, axis=1) + sum(twice) + np.sum(by_v**2, axis=1)
    right = -np.sum(v * by_x, axis=1) - np.sum(np.asarray(force) * by_v, axis=1) + friction
    np.testing.assert_allclose(change, right, atol=0.03 * np.abs(right).max())


def test_what_is_not_one_dimension_rotated():
    """A law whose axes are not those of the well has no such reference."""
    problem = rotated_problem([1.0, 2.0])
    covariance = jnp.asarray([[1.0, 0.3], [0.3, 2.0]])
    slanted = eqx.tree_at(lambda p: p.law.position.covariance, problem, covariance)
    with pytest.raises(ValueError):
        known_law(slanted, [0.5])
