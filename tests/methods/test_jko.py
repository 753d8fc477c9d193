"""The objective against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import (
    SPLITTINGS,
    anharmonic_potential,
    asymmetric_problem,
    collision_stage,
    free,
    jko_step,
    strong_control,
)

import kjko
from kjko.core import Response
from kjko.fit.fractions import held_fraction
from kjko.methods.barrier import BARRIER, extended_log
from kjko.simulation import take_step
from kjko.splitting.transport import move, response

ZERO = jnp.zeros(())


def method_of(control, log_det="exact", splitting=None):
    return kjko.JKO(control, kjko.Adam(), splitting or kjko.Lie(), log_det)


@eqx.filter_jit
def outcome(method, problem, stage, h):
    """J(u) − J(0) of a step of size h, as the method has it; u, and where it leads."""
    by = response(method.control, stage)
    loss = method.subproblem(problem, None, h, h).loss(by, stage)
    return loss, by.u, move(stage, by, h, method.log_determinant(by, h))


def loss_of(control, problem, stage, h, log_det="exact"):
    return outcome(method_of(control, log_det), problem, stage, h)[0]


@eqx.filter_jit
def prepared(splitting, problem, particles, dt):
    return splitting.prepare(problem, None, particles, ZERO, dt)[0]


potentials = jax.jit(jax.vmap(anharmonic_potential))


@pytest.mark.parametrize("d", [2, 3])
def test_the_curvature_inverts_any_map(d, double):
    """(I + hM)⁻¹ of matrices that have no symmetry, and of a quarter turn."""
    h, problem = 0.05, asymmetric_problem(d)
    stage = prepared(kjko.Lie(), problem, kjko.sample(problem.law, 40, 2), h)
    moved = np.random.default_rng(0).normal(size=(40, d, d))
    moved[0] = np.roll(np.eye(d), 1, axis=0)
    by = response(strong_control(d), stage)
    by = eqx.tree_at(lambda by: by.matrix, by, jnp.asarray((moved - np.eye(d)) / h))
    subproblem = method_of(strong_control(d)).subproblem(problem, None, h, h)
    found = subproblem.curvature(by, stage)[1]
    scale = h * np.sqrt(np.asarray(stage.bath.rate * stage.bath.temperature))
    expected = scale[:, None, None] * np.linalg.inv(moved)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("log_det", ["exact", "linear"])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_loss_is_the_printed_objective(splitting, d, log_det, double):
    """(18) evaluated term by term from the moved particles, minus the same at u = 0."""
    law = asymmetric_problem(d).law
    flow = kjko.External(anharmonic_potential)
    problem = kjko.Problem(flow, kjko.FokkerPlanck(0.6, 1.4), law)
    particles = kjko.sample(law, 40, 2)
    h = 0.05
    stage = prepared(splitting, problem, particles, h)

    def loss_and_printed(control):
        method = method_of(control, log_det, splitting)
        loss, u, end = jax.tree.map(np.asarray, outcome(method, problem, stage, h))
        cost = 0.5 * h * np.mean(np.sum(u**2, axis=1))
        kinetic = 0.5 * np.mean(np.sum(end.v**2, axis=1))
        potential = np.mean(np.asarray(potentials(end.x)))
        return loss, cost + 0.6 * (kinetic + potential + 1.4 * np.mean(end.log_f))

    loss, printed = loss_and_printed(strong_control(d))
    _, at_rest = loss_and_printed(kjko.Affine(d))  # an affine control starts at zero
    assert float(loss) == pytest.approx(printed - at_rest, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_loss_in_a_bath_that_moves(d, double):
    """With the mean velocity and the temperature of the cell that a particle is in."""
    cells = kjko.Mesh([3.0] * d, [3] * d)
    box = kjko.Box(cells.length)
    problem = kjko.Problem(kjko.External(free), kjko.Dougherty(0.6, cells), box=box)
    rng = np.random.default_rng(0)
    x, v = jnp.asarray(3 * rng.random((90, d))), jnp.asarray(1 + rng.normal(size=(90, d)))
    particles = kjko.Particles(x, v, jnp.asarray(rng.normal(size=90)))
    stage = collision_stage(problem, particles)
    cell = np.floor(np.asarray(x)).astype(int) @ 3 ** np.arange(d)
    assert np.unique(cell).size == 3**d
    each = np.asarray(v)
    mean = np.array([np.mean(each[cell == own], axis=0) for own in cell])
    temperature = np.array([np.mean(np.var(each[cell == own], axis=0)) for own in cell])
    h = 0.05

    def loss_and_printed(control):
        method = method_of(control)
        loss, u, end = jax.tree.map(np.asarray, outcome(method, problem, stage, h))
        kinetic = 0.5 * np.sum((end.v - mean) ** 2, axis=1)
        cost = 0.5 * h * np.sum(u**2, axis=1)
        return loss, np.mean(cost + 0.6 * (kinetic + temperature * end.log_f))

    loss, printed = loss_and_printed(strong_control(d))
    _, at_rest = loss_and_printed(kjko.Affine(d))
    assert float(loss) == pytest.approx(printed - at_rest, abs=1e-12)


def test_minimiser_is_the_implicit_euler_step(double):
    """1D, Gaussian in v: the best affine control is known in closed form.

    With v of mean m and variance s², u = a (v − m) + b moves to mean m + h b and deviation
    (1 + h a) s. Setting the derivatives of J to zero gives b = −ε (m + h b) and
    a s² + ε (1 + h a) s² = ε T₀/(1 + h a).
    """
    m, s, eps, temperature, h = 0.8, 1.7, 0.6, 1.4, 0.3
    rng = np.random.default_rng(0)
    v = rng.normal(size=500)
    v = jnp.asarray(m + s * (v - v.mean()) / v.std())[:, None]
    particles = kjko.Particles(jnp.zeros_like(v), v, jnp.zeros(500))
    problem = kjko.Problem(kjko.External(free), kjko.FokkerPlanck(eps, temperature))
    stage = prepared(kjko.Lie(), problem, particles, h)
    growth = np.roots([s**2 * (1 / h + eps), -(s**2) / h, -eps * temperature]).max()  # 1 + h a
    a, b = (growth - 1) / h, -eps * m / (1 + eps * h)
    control = eqx.tree_at(
        lambda c: (c.weight, c.bias),
        kjko.Affine(1),
        (jnp.array([[0.0, a]]), jnp.array([b - a * m])),
    )

    def loss(control):
        return loss_of(control, problem, stage, h)

    gradient = jax.grad(loss)(control)
    np.testing.assert_allclose(gradient.weight[0, 1], 0, atol=1e-12)
    np.testing.assert_allclose(gradient.bias, 0, atol=1e-12)
    other = eqx.tree_at(lambda c: c.weight, control, control.weight + 0.01)
    assert loss(other) > loss(control)


def test_extended_log_is_smooth(double):
    value, slope, curvature = (
        jax.jit(jax.vmap(f))
        for f in (extended_log, jax.grad(extended_log), jax.grad(jax.grad(extended_log)))
    )
    around = jnp.array([BARRIER - 1e-9, BARRIER + 1e-9])
    for f, tolerance in ((value, 1e-6), (slope, 1e-5), (curvature, 1e-3)):
        low, high = f(around)
        assert float(low) == pytest.approx(float(high), rel=tolerance)
    np.testing.assert_allclose(value(jnp.array([0.1, 1.0, 3.0])), np.log([0.1, 1.0, 3.0]))
    assert np.isfinite(value(jnp.array([0.0, -5.0]))).all()
    assert np.isfinite(slope(jnp.array([0.0, -5.0]))).all()


def test_linear_log_determinant_has_no_minimum(double):
    """Why the exact one is the default: along a steep control the linear objective falls for ever.

    u = c sin(w v)/w has a divergence of order c at particles that sit where cos(w v) > 0 but a
    size of order c/w; the exact log-determinant grows only like log c.
    """
    w = 400.0
    v = jnp.asarray(2 * np.pi / w * np.arange(1, 9))[:, None]  # cos(w v) = 1
    particles = kjko.Particles(jnp.zeros_like(v), v, jnp.zeros(8))
    problem = kjko.Problem(kjko.External(free))
    stage = prepared(kjko.Lie(), problem, particles, 0.1)

    def loss(log_det, c):
        return float(loss_of(lambda x, v: c * jnp.sin(w * v) / w, problem, stage, 0.1, log_det))

    assert loss("linear", 1e6) < 0
    assert loss("linear", 1e6) / loss("linear", 1e5) == pytest.approx(10, rel=0.02)
    assert abs(loss("exact", 1e6)) < 1e-2 * abs(loss("linear", 1e6))


def test_no_control_is_cut_by_chance():
    """A sample that is colder than its law, whose exact control raises the sample's free energy."""
    law = kjko.Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.1]])
    problem = kjko.Problem(kjko.External(kjko.Quadratic([[1.0]], [0.0])), law=law)
    particles = kjko.sample(law, 100)
    v = 0.995 * (particles.v - jnp.mean(particles.v)) / jnp.std(particles.v)
    log_f = jax.vmap(law.log_density)(particles.x, v)
    method = kjko.JKO(kjko.Gradient(kjko.Quadratics(1)))
    state = method.init(problem, kjko.Particles(particles.x, v, log_f), 0.1)
    state, _ = take_step(problem, method, state)
    assert state.memory.fraction == 1


def test_a_control_that_heats_is_cut():
    """One that a fit has got wrong: it drives particles of the stationary law apart."""
    problem = kjko.Problem(kjko.External(kjko.Quadratic([[1.0]], [0.0])))
    particles = kjko.sample(kjko.Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]), 1000)
    stage = collision_stage(problem, particles)
    subproblem = jko_step(problem, 0.05, 0.1)
    for slope, most, least in ((10.0, 0.5, 0.0), (-0.1, 1.0, 1.0)):  # the second by chance's size
        by = Response(slope * stage.v, slope * jnp.ones((1000, 1, 1)), slope * jnp.ones(1000))
        assert least <= held_fraction(subproblem, by, stage) <= most
