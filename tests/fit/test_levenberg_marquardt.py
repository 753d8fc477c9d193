"""The fit that trains its functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, collision_stage, jko_step

import kjko
from kjko.fit import LevenbergMarquardt


def ring(number, seed=0):
    """Particles whose law is no product in any frame, with its score."""
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=(2, number, 2))

    def log_f(x, v):
        turned = jnp.sin(x[0] + 2 * x[1]) * (v[0] - v[1]) + jnp.tanh(v[0] + 2 * v[1] - x[0])
        return -0.5 * x @ x - 0.5 * v @ v + 0.5 * turned

    x, v = jnp.asarray(x), jnp.asarray(v)
    values = jax.vmap(log_f)(x, v)
    return kjko.Particles(x, v, values), jax.vmap(jax.grad(log_f, argnums=1))(x, v)


def test_values_give_the_score():
    """u → −ε(v + T ∇ᵥ log f) for h → 0, where the density is no product; better than splines."""
    problem = kjko.Problem(kjko.External(lambda x: 0.5 * x @ x), kjko.FokkerPlanck(1.0, 1.0))
    particles, score = ring(8000)
    stage = collision_stage(problem, particles)
    subproblem = jko_step(problem, 1e-3, 2e-3)
    exact = -(stage.v + score)
    errors = {}
    for control, fit in (
        (kjko.Gradient(kjko.Ridges(2, 48, key=jax.random.key(1))), LevenbergMarquardt(most=60)),
        (kjko.Gradient(kjko.Splines(2)), kjko.Newton()),
    ):
        run = eqx.filter_jit(lambda c, fit=fit: fit(subproblem, c, c, stage, jax.random.key(2)))
        found, info = run(control)
        u = jax.vmap(found)(stage.x, stage.v)
        errors[type(fit).__name__] = float(jnp.mean((u - exact) ** 2) / jnp.mean(exact**2))
    assert errors["LevenbergMarquardt"] < 0.1
    assert errors["LevenbergMarquardt"] < 0.2 * errors["Newton"]


def test_a_gaussian_is_the_implicit_step(double):
    """Its quadratics have the solution: the residual vanishes, up to a(x) = c + c₁ φ."""
    problem = asymmetric_problem(2)
    stage = collision_stage(problem, kjko.sample(problem.law, 800))
    subproblem = jko_step(problem, 0.1, 0.2)
    control = kjko.Gradient(kjko.Ridges(2, 6, key=jax.random.key(0)))
    found, info = LevenbergMarquardt()(subproblem, control, control, stage, jax.random.key(3))
    condition = subproblem.condition(found, stage)
    residual = condition.residual(-found.coefficients / condition.strength)
    free = jnp.stack([jnp.ones_like(residual), stage.potential], axis=1)
    residual -= free @ jnp.linalg.lstsq(free, residual)[0]
    assert float(jnp.std(residual) / jnp.std(condition.right)) < 1e-3
    assert info.explained > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_it_goes_on_from_the_last_step(seed):
    problem = kjko.Problem(kjko.External(lambda x: 0.5 * x @ x))
    particles, _ = ring(2000)
    stage = collision_stage(problem, particles)
    control = kjko.Gradient(kjko.Ridges(2, 16, key=jax.random.key(seed)))
    subproblem, key = jko_step(problem, 0.05, 0.1), jax.random.key(2)
    fit = LevenbergMarquardt(iterations=2, most=2)
    first, begun = fit(subproblem, control, control, stage, key)
    _, again = fit(subproblem, control, first, stage, key)
    assert again.explained > begun.explained + 0.05


@pytest.mark.parametrize(
    "control, message",
    [
        (kjko.Gradient(kjko.Splines(1)), "LevenbergMarquardt trains the basis"),
        (kjko.Affine(1), "LevenbergMarquardt trains the basis"),
    ],
)
def test_what_it_refuses(control, message):
    with pytest.raises(ValueError, match=message):
        kjko.JKO(control, LevenbergMarquardt())
