"""Determinants against the full Jacobian of the whole step map, by automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import DT, SPLITTINGS, anharmonic_potential, strong_control

import kjko
from kjko.splitting.transport import determinant, log_determinant, move, response

PROBLEM = kjko.Problem(kjko.External(anharmonic_potential))
ZERO = jnp.zeros(())


def whole_step(splitting, control, z, log_f):
    """(x, v) -> (x', v') and log f' for one particle, through the method's own parts."""
    d = z.size // 2
    particles = kjko.Particles(z[None, :d], z[None, d:], log_f[None])
    stage, field = splitting.prepare(PROBLEM, None, particles, ZERO, DT)
    by = response(control, stage)
    moved = move(stage, by, DT, log_determinant(by, DT))
    end, _ = splitting.finish(PROBLEM, field, moved, ZERO, DT)
    return jnp.concatenate([end.x[0], end.v[0]]), end.log_f[0]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_log_determinant_is_that_of_the_whole_map(splitting, d, tolerance):
    control = strong_control(d)
    points = 0.7 * jax.random.normal(jax.random.key(1), (5, 2 * d))

    @jax.jit
    @jax.vmap
    def step_and_jacobian(z):
        _, log_f = whole_step(splitting, control, z, jnp.asarray(-1.0))
        return log_f, jax.jacfwd(lambda z: whole_step(splitting, control, z, log_f)[0])(z)

    log_f, jacobian = step_and_jacobian(points)
    signs, expected = np.linalg.slogdet(np.asarray(jacobian, dtype=float))
    assert np.all(signs > 0)
    assert np.abs(expected).max() > 0.1  # the control is not volume preserving
    np.testing.assert_allclose(log_f, -1.0 - expected, atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("symplectic", [kjko.DriftKick(), kjko.StormerVerlet()], ids=repr)
def test_maps_are_symplectic(symplectic, d, tolerance):
    def apply(z):
        particles = kjko.Particles(z[None, :d], z[None, d:], jnp.zeros(1))
        end, _ = symplectic(particles, PROBLEM.flow, None, ZERO, DT)
        return jnp.concatenate([end.x[0], end.v[0]])

    @jax.jit
    def jacobian_and_response(z):
        particles = kjko.Particles(z[None, :d], z[None, d:], jnp.zeros(1))
        return jax.jacrev(apply)(z), symplectic.response(particles, PROBLEM.flow, None, ZERO, DT)

    jacobian, response_x = jacobian_and_response(jax.random.normal(jax.random.key(2), (2 * d,)))
    jacobian = np.asarray(jacobian, dtype=float)
    omega = np.block([[np.zeros((d, d)), np.eye(d)], [-np.eye(d), np.zeros((d, d))]])
    np.testing.assert_allclose(jacobian.T @ omega @ jacobian, omega, atol=tolerance)
    expected = np.eye(d) if response_x is None else response_x[0]
    np.testing.assert_allclose(jacobian[:d, :d], expected, atol=tolerance)
    np.testing.assert_allclose(jacobian[:d, d:], DT * np.eye(d), atol=tolerance)


@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_linear_log_determinant_is_the_divergence_in_v(splitting, tolerance):
    """Remark 2, for every scheme: log det ≈ Δt ∇ᵥ·u."""
    d, control = 2, strong_control(2)
    z = jax.random.normal(jax.random.key(3), (6, 2 * d))
    method = kjko.JKO(control, kjko.Adam(), splitting, "linear")

    @jax.jit
    def log_f_and_slopes(z):
        particles = kjko.Particles(z[:, :d], z[:, d:], jnp.zeros(6))
        stage, _ = splitting.prepare(PROBLEM, None, particles, ZERO, DT)
        by = response(control, stage)
        moved = move(stage, by, DT, method.log_determinant(by, DT))
        return moved.log_f, jax.vmap(jax.jacrev(control, argnums=1))(stage.x, stage.v)

    log_f, slopes = log_f_and_slopes(z)
    divergence = np.trace(np.asarray(slopes), axis1=1, axis2=2)
    np.testing.assert_allclose(log_f, -DT * divergence, atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_determinant(d, tolerance):
    matrix = jax.random.normal(jax.random.key(d), (4, d, d))
    expected = [np.linalg.det(np.eye(d) + DT * np.asarray(m, dtype=float)) for m in matrix]
    np.testing.assert_allclose(determinant(matrix, DT), expected, atol=tolerance)
