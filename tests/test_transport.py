"""Determinants against the full Jacobian of the whole step map, by automatic differentiation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import anharmonic_potential

import kjko
from kjko.transport import determinant, move, response

INTEGRATORS = (
    kjko.SymplecticEuler(),
    kjko.Unsplit(kjko.DriftKick()),
    kjko.Unsplit(kjko.StormerVerlet()),
    kjko.Lie(kjko.DriftKick()),
    kjko.Lie(kjko.StormerVerlet()),
    kjko.StrangMidpoint(),
)
DT = 0.3  # large, so that a wrong term shows


def strong_control(d, d_x=None):
    """A network whose Jacobian is of order one."""
    control = kjko.MLP(d, (8, 8), inputs=d_x, key=jax.random.key(d))
    weight = jax.random.normal(jax.random.key(7), (d, 8))
    return eqx.tree_at(lambda c: c.layers[-1].weight, control, 2.0 * weight)


def whole_step(integrator, control, z, log_f):
    """(x, v) -> (x', v') and log f' for one particle, through the solver's own parts."""
    d = z.size // 2
    force = kjko.External(anharmonic_potential)
    particles = kjko.Particles(z[None, :d], z[None, d:], log_f[None])
    stage, state = integrator.prepare(particles, force, None, DT)
    by = response(control, stage)
    moved, _ = move(kjko.JKO(), stage, by, DT)
    end, _ = integrator.finish(moved, force, state, DT)
    return jnp.concatenate([end.x[0], end.v[0]]), end.log_f[0]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("integrator", INTEGRATORS, ids=repr)
def test_log_determinant_is_that_of_the_whole_map(integrator, d, tolerance):
    control = strong_control(d)
    points = 0.7 * jax.random.normal(jax.random.key(1), (5, 2 * d))

    @jax.jit
    @jax.vmap
    def step_and_jacobian(z):
        _, log_f = whole_step(integrator, control, z, jnp.asarray(-1.0))
        return log_f, jax.jacfwd(lambda z: whole_step(integrator, control, z, log_f)[0])(z)

    log_f, jacobian = step_and_jacobian(points)
    signs, expected = np.linalg.slogdet(np.asarray(jacobian, dtype=float))
    assert np.all(signs > 0)
    assert np.abs(expected).max() > 0.1  # the control is not volume preserving
    np.testing.assert_allclose(log_f, -1.0 - expected, atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("symplectic", [kjko.DriftKick(), kjko.StormerVerlet()], ids=repr)
def test_maps_are_symplectic(symplectic, d, tolerance):
    force = kjko.External(anharmonic_potential)

    def apply(z):
        particles = kjko.Particles(z[None, :d], z[None, d:], jnp.zeros(1))
        end, _ = symplectic(particles, force, None, DT)
        return jnp.concatenate([end.x[0], end.v[0]])

    z = jax.random.normal(jax.random.key(2), (2 * d,))
    jacobian = np.asarray(jax.jacrev(apply)(z), dtype=float)
    omega = np.block([[np.zeros((d, d)), np.eye(d)], [-np.eye(d), np.zeros((d, d))]])
    np.testing.assert_allclose(jacobian.T @ omega @ jacobian, omega, atol=tolerance)
    particles = kjko.Particles(z[None, :d], z[None, d:], jnp.zeros(1))
    response_x = symplectic.response(particles, force, None, DT)
    expected = np.eye(d) if response_x is None else response_x[0]
    np.testing.assert_allclose(jacobian[:d, :d], expected, atol=tolerance)
    np.testing.assert_allclose(jacobian[:d, d:], DT * np.eye(d), atol=tolerance)


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=repr)
def test_linear_log_determinant_is_the_divergence_in_v(integrator, tolerance):
    """Remark 2, for every scheme: log det ≈ Δt ∇ᵥ·u."""
    d, control = 2, strong_control(2)
    z = jax.random.normal(jax.random.key(3), (6, 2 * d))
    particles = kjko.Particles(z[:, :d], z[:, d:], jnp.zeros(6))
    force = kjko.External(anharmonic_potential)
    stage, _ = integrator.prepare(particles, force, None, DT)
    by = response(control, stage)
    moved, _ = move(kjko.JKO("linear"), stage, by, DT)
    divergence = [
        jnp.trace(jax.jacrev(control, argnums=1)(x, v))
        for x, v in zip(stage.x, stage.v, strict=True)
    ]
    np.testing.assert_allclose(moved.log_f, -DT * np.array(divergence), atol=tolerance)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_determinant(d, tolerance):
    matrix = jax.random.normal(jax.random.key(d), (4, d, d))
    expected = [np.linalg.det(np.eye(d) + DT * np.asarray(m, dtype=float)) for m in matrix]
    np.testing.assert_allclose(determinant(matrix, DT), expected, atol=tolerance)
