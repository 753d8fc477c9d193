"""The score against the particles' own law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kjko
from kjko.interfaces import Applied
from kjko.observe import ScoreCheck
from kjko.observe.score_check import _least_error
from kjko.simulation import take_step

RATE, TEMPERATURE = 0.7, 1.3
SLANTED = kjko.GaussianMixture(
    np.array([[1.0, 0.0, 0.8, -0.5], [-1.0, 0.5, -0.8, 0.9]]),
    np.array([np.eye(4) + 0.6 * (np.ones((4, 4)) - np.eye(4)), 0.5 * np.eye(4)]),
)
WAVE = kjko.Product(
    kjko.CosinePosition(np.array([2.0]), np.array([0.5]), np.ones(1)),
    np.array([[1.0], [-1.0]]),
    0.3 * np.ones((2, 1, 1)),
    np.ones(2) / 2,
)


def check(law, score, n=20_000, seed=0):
    """Of particles of a law, for a score that is a function of the exact one, x and v."""
    particles = kjko.sample(law, n, seed)
    exact = jax.vmap(jax.grad(law.log_density, argnums=1))(particles.x, particles.v)
    s = score(exact, particles.x, particles.v)
    u = -RATE * (particles.v + TEMPERATURE * s)
    box = kjko.Box(law.position.length) if law is WAVE else None
    flow = kjko.External(lambda x: 0.0 * jnp.sum(x))
    problem = kjko.Problem(flow, kjko.FokkerPlanck(RATE, TEMPERATURE), law, box)
    return float(_least_error(problem, Applied(u, particles, jnp.asarray(0.5), True)))


@pytest.mark.parametrize("law", [SLANTED, WAVE], ids=["slanted", "wave"])
@pytest.mark.parametrize("seed", range(4))
def test_the_exact_score_is_not_told_to_be_wrong(law, seed):
    assert check(law, lambda s, x, v: s, seed=seed) < 0.01


@pytest.mark.parametrize("law", [SLANTED, WAVE], ids=["slanted", "wave"])
def test_it_is_a_lower_bound_that_sees_a_part_of_the_error(law):
    assert 0.05 < check(law, lambda s, x, v: 1.2 * s) < 0.2


def test_a_score_that_is_blind_to_what_couples():
    """That of a Gaussian with the velocities' own variances, each by itself."""
    wrong = check(SLANTED, lambda s, x, v: -(v - v.mean(0)[None]) / jnp.var(v, axis=0)[None])
    assert wrong > 0.1


def test_many_particles_of_a_low_discrepancy_sequence():
    """Of which not every second one may be taken."""
    particles = kjko.sample(SLANTED, 100_000, sampling="low-discrepancy")
    exact = jax.vmap(jax.grad(SLANTED.log_density, argnums=1))(particles.x, particles.v)
    u = -RATE * (particles.v + TEMPERATURE * exact)
    problem = kjko.Problem(
        kjko.External(lambda x: 0.5 * x @ x), kjko.FokkerPlanck(RATE, TEMPERATURE)
    )
    assert float(_least_error(problem, Applied(u, particles, jnp.asarray(0.5), True))) < 0.01


ADAM = kjko.Adam(steps=2)
IN_TIME = kjko.AffineInTime(2, 1.0)


@pytest.mark.parametrize(
    "method, is_known",
    [
        (kjko.JKO(kjko.Affine(2), ADAM), True),
        (kjko.JKO(kjko.Affine(2), ADAM, kjko.SymplecticEuler()), False),
        (kjko.JKO(kjko.Affine(2), ADAM, log_det="linear"), False),
        (kjko.Score(kjko.Affine(2), ADAM), True),
        (kjko.ScoreEndToEnd(IN_TIME), True),
        (kjko.ScoreEndToEnd(IN_TIME, splitting=kjko.SymplecticEuler()), False),
    ],
    ids=["jko", "jko before", "jko linear", "score", "end to end", "end to end before"],
)
def test_where_the_control_is_a_score(method, is_known):
    """Rate 8, so that a step is cut where it can be."""
    particles = kjko.sample(SLANTED, 200)
    well, collisions = kjko.External(lambda x: 0.5 * x @ x), kjko.FokkerPlanck(8.0)
    problem = kjko.Problem(well, collisions)
    state, info = take_step(problem, method, method.init(problem, particles, 0.1))
    assert (score_check(problem, state, info) is not None) == is_known
    few = jax.tree.map(lambda a: a[:50] if a.ndim else a, info.applied)
    info = eqx.tree_at(lambda i: i.applied, info, few)
    assert score_check(problem, state, info) is None


def score_check(problem, state, info):
    check = ScoreCheck()
    return check.record(problem, state, check.measure(problem, state, info))["score_check"]
