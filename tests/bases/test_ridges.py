"""Ridge functions and their derivatives, by points and by their own parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import free_stage

from kjko.bases import Ridges


def stage_of(d_x, d, number=40):
    rng = np.random.default_rng(d)
    x, v = rng.normal(size=(number, d_x)), 2 + 3 * rng.normal(size=(number, d))
    return free_stage(jnp.asarray(x), jnp.asarray(v))


def parameters_of(basis):
    """How many the functions have of their own."""
    return basis.bias.size + basis.weight.size + basis.bias_x.size + basis.weight_x.size


@pytest.mark.parametrize("d_x, d, length", [(2, 2, None), (3, 3, None), (1, 3, (4.0,))])
def test_the_tangent_is_the_derivative_of_the_operator(d_x, d, length, double):
    """(1 + a·∇ᵥ − B:∇ᵥ²) Φ·c by full Jacobians, and its derivative along all parameters."""
    stage, rng = stage_of(d_x, d), np.random.default_rng(1)
    basis = Ridges(d_x, 5, length, d, key=jax.random.key(2)).adapt(stage)
    number = len(stage.v)
    slope = jnp.asarray(rng.normal(size=(number, d)))
    curvature = jnp.asarray(rng.normal(size=(number, d, d)))
    curvature = curvature + curvature.transpose(0, 2, 1)
    c = jnp.asarray(rng.normal(size=basis.size))

    own = jnp.asarray(rng.normal(size=parameters_of(basis)))
    of_c = jnp.asarray(rng.normal(size=basis.size))

    def operator(basis, c):
        def at_one(x, v, a, b):
            def potential(v):
                return basis.potential(x, v, c)

            return (
                potential(v) + a @ jax.grad(potential)(v) - jnp.sum(b * jax.hessian(potential)(v))
            )

        return jax.vmap(at_one)(stage.x, stage.v, slope, curvature)

    @jax.jit
    def ours():
        matrix = basis.design(stage, slope, curvature).matrix
        return matrix, basis.tangent(stage, slope, curvature, c)

    @jax.jit
    def value_and_derivative():
        def along(t):
            return operator(basis.trained(t * own), c + t * of_c)

        return jax.jvp(along, (0.0,), (1.0,))

    matrix, tangent = map(np.asarray, ours())
    value, derivative = value_and_derivative()
    np.testing.assert_allclose(tangent[:, : basis.size] @ c, value, rtol=1e-9)
    np.testing.assert_allclose(matrix, tangent[:, : basis.size], rtol=1e-12)
    step = np.concatenate([of_c, own])
    np.testing.assert_allclose(tangent @ step, derivative, rtol=1e-8, atol=1e-8)


def test_scales_stay_once_trained(double):
    first, other = stage_of(2, 2), stage_of(2, 2, 60)
    basis = Ridges(2, 4, key=jax.random.key(0)).adapt(first)
    trained = basis.trained(jnp.zeros(parameters_of(basis)))
    assert not eqx.tree_equal(basis.adapt(other), basis)
    assert eqx.tree_equal(trained.adapt(other), trained)
