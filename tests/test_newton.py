"""Newton's fit: the JKO step in closed form, its parts against dense algebra, what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import asymmetric_problem

import kjko
from kjko.controls import Gradient
from kjko.features import FourierHermite, Quadratics, Splines
from kjko.fit import Newton
from kjko.fit.optimality import Optimality
from kjko.interfaces import Stage
from kjko.subproblem import Subproblem


def stage_at(particles):
    x, v = particles.x, particles.v
    return Stage(x, v, x, v, particles.log_f)


def gaussian_step(d, h, dt, number=600, collision_rate=0.7):
    """A Gaussian law before a collision, its log f exact."""
    problem = asymmetric_problem(d, collision_rate)
    stage = stage_at(kjko.sample(problem.law, number, 3))
    return problem, stage, Subproblem(kjko.JKO(), problem, None, h, dt)


@eqx.filter_jit
def run(fit, subproblem, control, previous, stage, key):
    return fit(subproblem, control, previous, stage, key)


def newton(basis, subproblem, stage, seed=0, **settings):
    control = Gradient(basis)
    return run(Newton(**settings), subproblem, control, control, stage, jax.random.key(seed))


def values(control, stage):
    return jax.jit(jax.vmap(control))(stage.x, stage.v)


@eqx.filter_jit
def residual_of(control, subproblem, stage):
    return Optimality.at(subproblem, control, stage).residual(
        control.coefficients / (-subproblem.problem.collision_rate * subproblem.problem.temperature)
    )


@pytest.mark.parametrize(
    ("basis", "tolerance", "error"),
    [
        (Quadratics(1), 1e-3, 1e-4),
        (Quadratics(1), 1e-8, 1e-9),
        (Quadratics(2), 1e-8, 1e-9),
        (FourierHermite(1, 60), 1e-8, 5e-5),
        (Splines(1, (6, 3)), 1e-8, 1e-9),
        (Splines(2, (6, 3)), 1e-8, 1e-9),
    ],
    ids=[
        "quadratic-1-default",
        "quadratic-1",
        "quadratic-2",
        "fourier-hermite-1",
        "splines-1",
        "splines-2",
    ],
)
def test_newton_is_the_implicit_euler_step(basis, tolerance, error, double):
    """u = −ε (v' + T₀ ∇ᵥ log f'(x', v')), f' the Gaussian that the step itself makes of f.

    z' = J z + k by a control read off as an affine map, so f' has the precision J⁻ᵀ P J⁻¹.
    """
    h = 0.05
    d = int(basis.adapt.__self__ is None)
    problem, stage, subproblem = gaussian_step(d, h, 2 * h)
    result = newton(basis, subproblem, stage, tolerance=tolerance)
    u = np.asarray(values(result.control, stage))
    z = np.concatenate([stage.x, stage.v], axis=1)
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    weight = np.linalg.lstsq(design, u, rcond=None)[0]
    np.testing.assert_allclose(design @ weight, u, atol=error)
    jacobian = np.eye(2 * d)
    jacobian[d:] += h * weight[:-1].T
    precision = np.linalg.inv(problem.law.covariance)
    score = -(z - np.asarray(problem.law.mean)) @ precision @ np.linalg.inv(jacobian)
    moved = np.asarray(stage.v) + h * u
    expected = -problem.collision_rate * (moved + problem.temperature * score[:, d:])
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(u, expected, atol=error)
    np.testing.assert_allclose(residual_of(result.control, subproblem, stage), 0, atol=5 * error)
    zero = eqx.tree_at(lambda u: u.coefficients, result.control, replace_fn=jnp.zeros_like)
    assert np.abs(residual_of(zero, subproblem, stage)).max() > 1
    assert float(result.loss) < 0 and float(result.loss_heldout) < 0
