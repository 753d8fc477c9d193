"""The fit that trains its functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, collision_stage, jko_step

import kjko
from kjko.fit import LevenbergMarquardt
from kjko.fit.levenberg_marquardt import _Unknowns, _Values


@jax.jit
@jax.vmap
def log_f_and_score(x, v):
    """A law that is no product in any frame."""

    def log_f(v):
        turned = jnp.sin(x[0] + 2 * x[1]) * (v[0] - v[1]) + jnp.tanh(v[0] + 2 * v[1] - x[0])
        return -0.5 * x @ x - 0.5 * v @ v + 0.5 * turned

    return jax.value_and_grad(log_f)(v)


def well(x):
    return 0.5 * x @ x


def ring(number, seed=0):
    """Particles of that law's values, with its score."""
    rng = np.random.default_rng(seed)
    x, v = map(jnp.asarray, rng.normal(size=(2, number, 2)))
    log_f, score = log_f_and_score(x, v)
    return kjko.Particles(x, v, log_f), np.asarray(score)


stage_of = eqx.filter_jit(collision_stage)


@eqx.filter_jit
def run(fit, subproblem, control, previous, stage, key):
    return fit(subproblem, control, previous, stage, key)


@eqx.filter_jit
def values(control, stage):
    return jax.vmap(control)(stage.x, stage.v)


@eqx.filter_jit
def residual_of(control, subproblem, stage):
    """What the control leaves of the condition, and what no control leaves."""
    condition = subproblem.condition(control, stage)
    return condition.residual(-control.coefficients / condition.strength), condition.right


def test_values_give_the_score():
    """u → −ε(v + T ∇ᵥ log f) for h → 0, where the density is no product; better than splines."""
    problem = kjko.Problem(kjko.External(well), kjko.FokkerPlanck(1.0, 1.0))
    particles, score = ring(4000)
    stage = stage_of(problem, particles)
    subproblem = jko_step(problem, 1e-3, 2e-3)
    exact = -(np.asarray(stage.v) + score)
    errors = {}
    for control, fit in (
        (kjko.Gradient(kjko.Ridges(2, 48, key=jax.random.key(1))), LevenbergMarquardt(most=60)),
        (kjko.Gradient(kjko.Splines(2)), kjko.Newton()),
    ):
        found, _ = run(fit, subproblem, control, control, stage, jax.random.key(2))
        u = np.asarray(values(found, stage))
        errors[type(fit).__name__] = np.mean((u - exact) ** 2) / np.mean(exact**2)
    assert errors["LevenbergMarquardt"] < 0.1
    assert errors["LevenbergMarquardt"] < 0.2 * errors["Newton"]


def test_a_gaussian_is_the_implicit_step(double):
    """Its quadratics have the solution: the residual vanishes, up to a(x) = c + c₁ φ."""
    problem = asymmetric_problem(2)
    stage = stage_of(problem, kjko.sample(problem.law, 800))
    subproblem = jko_step(problem, 0.1, 0.2)
    control = kjko.Gradient(kjko.Ridges(2, 6, key=jax.random.key(0)))
    key = jax.random.key(3)
    found, info = run(LevenbergMarquardt(), subproblem, control, control, stage, key)
    residual, right = map(np.asarray, residual_of(found, subproblem, stage))
    free = np.stack([np.ones_like(residual), stage.potential], axis=1)
    residual = residual - free @ np.linalg.lstsq(free, residual, rcond=None)[0]
    assert np.std(residual) / np.std(right) < 1e-3
    assert info.explained > 0.999


@pytest.mark.parametrize("seed", range(3))
def test_it_goes_on_from_the_last_step(seed):
    problem = kjko.Problem(kjko.External(well))
    particles, _ = ring(2000)
    stage = stage_of(problem, particles)
    control = kjko.Gradient(kjko.Ridges(2, 16, key=jax.random.key(seed)))
    subproblem, key = jko_step(problem, 0.05, 0.1), jax.random.key(2)
    fit = LevenbergMarquardt(iterations=2, most=2)
    first, begun = run(fit, subproblem, control, control, stage, key)
    _, again = run(fit, subproblem, control, first, stage, key)
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


def some_unknowns():
    """A fit in the middle of its iterations, and where it is."""
    problem = asymmetric_problem(2)
    stage = stage_of(problem, kjko.sample(problem.law, 60))
    control = kjko.Gradient(kjko.Ridges(2, 4, key=jax.random.key(0)))
    control = eqx.tree_at(lambda u: u.basis, control, control.basis.adapt(stage))
    values = _Values.of(jko_step(problem, 0.1, 0.2).condition(control, stage), 40)
    c = 0.1 * jax.random.normal(jax.random.key(1), (control.basis.size,))
    return values, _Unknowns(control.basis, c, jnp.asarray(0.3))


def test_how_a_solution_bends(double):
    """Its derivatives by the unknowns, in closed form, are those of automatic differentiation."""
    values, at = some_unknowns()
    found = values.bend_rows(at)
    bend = jax.jacfwd(lambda step: values.bend(values.moved(at, step)))
    np.testing.assert_allclose(found, bend(jnp.zeros(found.shape[1])), atol=1e-10)


def test_an_iteration_goes_down_its_objective(double):
    """The normal equations' right side is minus half the objective's gradient."""
    values, at = some_unknowns()
    system = values.system(at, values.residual(at))

    def objective(step):
        there = values.moved(at, step / system.size)
        return system.objective(values.residual(there), values.bend(there))

    gradient = jax.grad(objective)(jnp.zeros_like(system.right))
    np.testing.assert_allclose(system.right, -0.5 * gradient, atol=1e-10)
    assert system.smoothing > 1e-5
