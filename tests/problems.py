"""The problems, stages, splittings and controls that many parts are tested on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kjko
from kjko.core import Bath, Stage
from kjko.splitting.stage import stage_at

SPLITTINGS = (
    kjko.SymplecticEuler(),
    kjko.Unsplit(kjko.DriftKick()),
    kjko.Unsplit(kjko.StormerVerlet()),
    kjko.Lie(kjko.DriftKick()),
    kjko.Lie(kjko.StormerVerlet()),
    kjko.StrangMidpoint(),
)
DT = 0.3  # large, so that a wrong term shows


def asymmetric_problem(dimension: int, rate=0.7, temperature=1.3) -> kjko.Problem:
    """A Gaussian problem without symmetry: coupled coordinates, shifted centre, full covariance."""
    rng = np.random.default_rng(dimension)
    stiffness = 1.5 * np.eye(dimension) + 0.3
    factor = rng.normal(size=(2 * dimension, 2 * dimension))
    covariance = 0.5 * np.eye(2 * dimension) + 0.2 * factor @ factor.T
    return kjko.Problem(
        flow=kjko.External(kjko.Quadratic(stiffness, rng.normal(size=dimension))),
        collisions=kjko.FokkerPlanck(rate, temperature),
        law=kjko.Gaussian(rng.normal(size=2 * dimension), covariance),
    )


def anharmonic_potential(x):
    """Smooth, not separable, without symmetry."""
    return 0.5 * jnp.sum(x**2) + jnp.sin(jnp.sum(x)) + 0.1 * jnp.sum(x**3) + 0.05 * x @ x * x[0]


def free(x):
    """φ = 0."""
    return 0.0 * x[0]


def strong_control(d, d_x=None):
    """A network whose Jacobian is of order one."""
    control = kjko.MLP(d, (8, 8), inputs=d_x, key=jax.random.key(d))
    weight = jax.random.normal(jax.random.key(7), (d, 8))
    return eqx.tree_at(lambda c: c.layers[-1].weight, control, 2.0 * weight)


def free_stage(x, v, log_f=None, rate=1.0, temperature=1.0) -> Stage:
    """A stage of particles that do not move without a control, in a bath at rest."""
    one = jnp.ones_like(v[:, 0])
    bath = Bath(rate * one, jnp.zeros_like(v), temperature * one)
    return Stage(x, v, x, v, 0 * one if log_f is None else log_f, 0 * one, bath)


def collision_stage(problem: kjko.Problem, particles: kjko.Particles) -> Stage:
    """The stage of a collision at these particles, where the flow has nothing to do."""
    return stage_at(problem, problem.flow.init(particles, problem.mass), particles)


def jko_step(problem: kjko.Problem, h, dt):
    """The subproblem of a JKO step of size h, after which the control moves the particles by dt."""
    method = kjko.JKO(kjko.Gradient(kjko.Quadratics(1)))
    return method.subproblem(problem, None, jnp.asarray(h), jnp.asarray(dt))


def last(iterator):
    """The last (state, record) of a run."""
    *_, end = iterator
    return end
