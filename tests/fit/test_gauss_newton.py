"""Gauss-Newton against the Hessian and the vanishing gradient; Adam's end by tolerance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import asymmetric_problem, collision_stage, jko_step

import kjko
from kjko.fit.gradient import value_and_gradient

KEY = jax.random.key(0)


stage_of = eqx.filter_jit(collision_stage)


def gaussian_step(d, number=512, h=0.1):
    """A Gaussian law before a collision."""
    problem = asymmetric_problem(d)
    stage = stage_of(problem, kjko.sample(problem.law, number, 3))
    return stage, jko_step(problem, h, h)


@eqx.filter_jit
def run(fit, subproblem, control, stage):
    return fit(subproblem, control, control, stage, KEY)


def flattened(control):
    params, static = eqx.partition(control, eqx.is_inexact_array)
    theta, unravel = ravel_pytree(params)
    return theta, lambda theta: eqx.combine(unravel(theta), static)


def random_control(control, size=0.3):
    theta, control_of = flattened(control)
    return control_of(jnp.asarray(size * np.random.default_rng(1).normal(size=theta.shape)))


def test_the_matrix_is_the_hessian(double):
    """In one dimension, for a control that is linear in its parameters; roughly from some."""
    stage, subproblem = gaussian_step(1)
    theta, control_of = flattened(random_control(kjko.Affine(1)))
    hessian = jax.jit(jax.hessian(lambda theta: subproblem(control_of(theta), stage)[0]))(theta)

    def matrix_of(fit):
        some = fit._some(stage)
        return jax.jit(lambda theta: fit._matrix(subproblem, control_of, theta, some))(theta)

    matrix = matrix_of(kjko.GaussNewton())
    np.testing.assert_allclose(matrix, hessian, atol=1e-10)
    some = matrix_of(kjko.GaussNewton(particles=256))
    np.testing.assert_allclose(some, hessian, atol=0.2 * np.abs(hessian).max())
    assert np.any(np.asarray(some) != np.asarray(matrix))


@pytest.mark.parametrize("d", [1, 2])
def test_the_gradient_vanishes(d, double):
    """At the minimum of a convex objective, in a few iterations."""
    stage, subproblem = gaussian_step(d)
    fit = kjko.GaussNewton(held_out=0.0, tolerance=0.0, steps=12)
    control, info = run(fit, subproblem, kjko.Affine(d), stage)
    theta, control_of = flattened(control)
    slope = jax.jit(jax.grad(lambda theta: subproblem(control_of(theta), stage)[0]))
    assert np.abs(slope(theta)).max() < 1e-8
    assert np.abs(slope(0 * theta)).max() > 1e-2
    assert float(info.loss) < 0 and np.isnan(info.loss_heldout)


def test_a_network_lowers_the_held_out_loss():
    stage, subproblem = gaussian_step(2, number=1000)
    network = kjko.MLP(2, (8, 8), key=KEY)
    _, by_newton = run(kjko.GaussNewton(), subproblem, network, stage)
    _, by_adam = run(kjko.Adam(), subproblem, network, stage)
    assert float(by_newton.loss_heldout) < 0.9 * float(by_adam.loss_heldout) < 0
    assert int(by_newton.iterations) < 30


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: kjko.Periodic(c, (1.0,))])
def test_only_the_last_layer(wrap):
    stage, subproblem = gaussian_step(1)
    inputs = 1 if wrap(0) == 0 else 2
    control = wrap(kjko.MLP(1, (8,), inputs=inputs, key=KEY))
    fitted, info = run(kjko.GaussNewton(layers="last"), subproblem, control, stage)
    before, after = (u.control if inputs == 2 else u for u in (control, fitted))
    np.testing.assert_array_equal(after.layers[0].weight, before.layers[0].weight)
    assert np.abs(after.layers[1].weight).max() > 0
    assert float(info.loss_heldout) < 0
    first = kjko.GaussNewton(layers="last", first=kjko.Adam(steps=5))
    trained, _ = run(first, subproblem, control, stage)
    layer = (trained.control if inputs == 2 else trained).layers[0]
    assert np.abs(np.asarray(layer.weight) - np.asarray(before.layers[0].weight)).max() > 0


def test_what_it_does_not_do():
    with pytest.raises(ValueError, match="needs a network"):
        kjko.JKO(kjko.Affine(1), kjko.GaussNewton(layers="last"))


def test_adam_ends_by_tolerance():
    """After a whole window of 20 steps, later for a smaller tolerance; with 0 never early."""
    stage, subproblem = gaussian_step(1)
    network = kjko.MLP(1, (8,), key=KEY)

    def iterations(tolerance):
        fit = kjko.Adam(200, 0.005, "constant", tolerance=tolerance)
        return int(run(fit, subproblem, network, stage)[1].iterations)

    loose, tight = iterations(0.3), iterations(1e-3)
    assert 20 < loose < tight <= 200
    assert loose % 20 == 0
    assert iterations(0.0) == 200


def test_the_gradient_in_blocks(double):
    """Two blocks and a rest: the gradient of the mean over all."""
    stage, subproblem = gaussian_step(2, number=4500)
    params, static = eqx.partition(random_control(kjko.Affine(2)), eqx.is_inexact_array)

    def value(params):
        return subproblem(eqx.combine(params, static), stage)

    expected = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
    found = jax.jit(lambda p: value_and_gradient(subproblem, p, static, stage))(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
