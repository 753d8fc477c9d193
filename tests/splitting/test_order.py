"""Order of every splitting, in double precision, against the exact Gaussian law.

A sample's mean and covariance under an affine control follow the scheme for Gaussian laws exactly,
so the law that starts from the sample's own moments is the exact answer without sampling error. The
best affine control of a step is found from those moments alone (`best_affine` below), which shares
no code with the fits.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem

import kjko
from kjko.reference.gaussian import exact_gaussian
from kjko.splitting.transport import log_determinant, move, response

ORDER = {
    kjko.SymplecticEuler(): 1,
    kjko.Unsplit(kjko.DriftKick()): 1,
    kjko.Unsplit(kjko.StormerVerlet()): 1,
    kjko.Lie(kjko.DriftKick()): 1,
    kjko.Lie(kjko.StormerVerlet()): 1,
    kjko.StrangMidpoint(): 2,
}
TIME_STEPS = (0.1, 0.05, 0.025)


def best_affine(stage, problem, h):
    """u with u = −ε (v' + T₀ ∇ᵥ log f'(x', v')) where log f' is the Gaussian of the moved sample.

    Solved by fixed-point iteration on the coefficients; the Gaussian score is linear in (x', v').
    """
    d = stage.v.shape[1]
    z = np.concatenate([stage.x, stage.v], axis=1)
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    coefficients = np.zeros((2 * d + 1, d))
    for _ in range(400):
        u = design @ coefficients
        drift = 0.0 if stage.drift is None else stage.drift[:, None]
        v, x = stage.v_free + h * u, stage.x_free + drift * h * u
        moved = np.concatenate([x, v], axis=1)
        deviation = moved - moved.mean(axis=0)
        score = -deviation @ np.linalg.inv(np.cov(moved.T, bias=True))[:, d:]
        target = -problem.collisions.rate * (v + problem.temperature * score)
        step = np.linalg.lstsq(design, target, rcond=None)[0] - coefficients
        coefficients = coefficients + 0.5 * step
        if np.abs(step).max() < 1e-13:
            break
    control = kjko.Affine(d)
    return eqx.tree_at(
        lambda c: (c.weight, c.bias),
        control,
        (jnp.asarray(coefficients[:-1].T), jnp.asarray(coefficients[-1])),
    )


def errors(splitting, dt, end_time=1.0):
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 400, 0)
    z = np.concatenate([particles.x, particles.v], axis=1)
    exact = exact_gaussian(problem, z.mean(axis=0), np.cov(z.T, bias=True))
    entropy_start = float(jnp.mean(particles.log_f))
    for step in range(round(end_time / dt)):
        t = jnp.asarray(step * dt)
        stage, field = splitting.prepare(problem, None, particles, t, dt)
        control = best_affine(stage, problem, splitting.fraction * dt)
        by = response(control, stage)
        moved = move(stage, by, dt, log_determinant(by, dt))
        particles, _ = splitting.finish(problem, field, moved, t, dt)
    mean, covariance = exact.at(end_time)
    z = np.concatenate([particles.x, particles.v], axis=1)
    entropy = float(jnp.mean(particles.log_f)) - entropy_start
    return np.array(
        [
            np.linalg.norm(z.mean(axis=0) - mean),
            np.linalg.norm(np.cov(z.T, bias=True) - covariance),
            abs(entropy - exact.entropy(end_time) + exact.entropy(0.0)),
        ]
    )


@pytest.mark.parametrize("splitting", ORDER, ids=repr)
def test_order(splitting, double):
    table = np.array([errors(splitting, dt) for dt in TIME_STEPS])
    slopes = np.polyfit(np.log(TIME_STEPS), np.log(table), 1)[0]
    for name, column, slope in zip(("mean", "covariance", "entropy"), table.T, slopes, strict=True):
        assert slope >= ORDER[splitting] - 0.25, f"{name}: errors {column}, order {slope:.2f}"
