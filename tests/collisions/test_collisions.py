"""What collisions keep to: the bath that they freeze, and what they conserve."""

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy import stats

import kjko

SIDES, CELLS = (2.0, 3.0), (3, 4)
RATE, TEMPERATURE = 0.7, 1.3


def mesh_of(d_x):
    return kjko.Mesh(SIDES[:d_x], CELLS[:d_x])


COLLISIONS = {
    "fokker-planck": lambda d_x: kjko.FokkerPlanck(RATE, TEMPERATURE),
    "dougherty": lambda d_x: kjko.Dougherty(RATE),
    "dougherty in cells": lambda d_x: kjko.Dougherty(RATE, mesh_of(d_x)),
    "none": lambda d_x: kjko.NoCollisions(TEMPERATURE),
}
DIMENSIONS = ((1, 1), (1, 3), (2, 2))
each_collision = pytest.mark.parametrize("make", COLLISIONS.values(), ids=COLLISIONS)
each_dimension = pytest.mark.parametrize(("d_x", "d"), DIMENSIONS)
each_dougherty = pytest.mark.parametrize("local", [False, True], ids=["of all", "in cells"])


def scattered(d_x, d, number=400, seed=0):
    """Particles without symmetry, also out of the box; ū and T depend on the place."""
    rng = np.random.default_rng(seed)
    place = rng.random((number, d_x))
    x = (place + rng.integers(-2, 3, size=place.shape)) * SIDES[:d_x]
    drift = 1.0 + np.sin(2 * np.pi * place[:, :1]) * np.arange(1, d + 1)
    v = drift + (0.5 + place[:, :1]) * stats.skewnorm.rvs(4.0, size=(number, d), random_state=rng)
    return kjko.Particles(x, v, rng.normal(size=number))


def cells_of(x):
    """The number of each particle's cell."""
    d_x = x.shape[1]
    place = np.mod(np.asarray(x), SIDES[:d_x]) / SIDES[:d_x]
    index = np.floor(place * CELLS[:d_x]).astype(int)
    return np.ravel_multi_index(tuple(index.T), CELLS[:d_x])


def groups(particles, local):
    """The rows of the particles that collide with each other."""
    cell = cells_of(particles.x) if local else np.zeros(len(particles.x), int)
    return [np.flatnonzero(cell == c) for c in np.unique(cell)]


@eqx.filter_jit
def bath_of(collisions, particles):
    return collisions.freeze(particles.x, particles.v)


@eqx.filter_jit
def put_right(collisions, before, after):
    return collisions.conserve(before, after)


def dougherty(local, d_x=1):
    return kjko.Dougherty(RATE, mesh_of(d_x) if local else None)


@each_collision
@each_dimension
def test_a_bath_has_a_row_for_each_particle(make, d_x, d, tolerance):
    particles, collisions = scattered(d_x, d), make(d_x)
    bath = bath_of(collisions, particles)
    if isinstance(collisions, kjko.NoCollisions):
        assert bath is None and collisions.temperature == pytest.approx(TEMPERATURE)
        return
    for found, shape in ((bath.rate, ()), (bath.velocity, (d,)), (bath.temperature, ())):
        assert found.shape == (400, *shape) and found.dtype == particles.v.dtype
    np.testing.assert_allclose(bath.rate, RATE, rtol=1e-6)
    if isinstance(collisions, kjko.FokkerPlanck):
        np.testing.assert_array_equal(bath.velocity, 0 * particles.v)
        np.testing.assert_allclose(bath.temperature, TEMPERATURE, rtol=1e-6)
        assert collisions.temperature == pytest.approx(TEMPERATURE)
    else:
        assert collisions.temperature is None


@each_dougherty
@each_dimension
def test_a_bath_of_the_particles_themselves(local, d_x, d, tolerance):
    """ū and T = mean |v − ū|²/d of those in the same cell, wherever the box is counted from."""
    particles = scattered(d_x, d)
    bath = jax.tree.map(np.asarray, bath_of(dougherty(local, d_x), particles))
    v = np.asarray(particles.v, dtype=float)
    rows = groups(particles, local)
    assert len(rows) == (np.prod(CELLS[:d_x]) if local else 1)
    found = []
    for members in rows:
        velocity = v[members].mean(axis=0)
        temperature = ((v[members] - velocity) ** 2).sum(axis=1).mean() / d
        expected = np.broadcast_to(velocity, (len(members), d))
        np.testing.assert_allclose(bath.velocity[members], expected, atol=tolerance)
        np.testing.assert_allclose(bath.temperature[members], temperature, rtol=tolerance)
        found.append(temperature)
    assert not local or np.ptp(found) > 0.1


def test_a_particle_alone_in_its_cell(double):
    """It has its own velocity and the temperature of all, and keeps what it has."""
    particles = scattered(1, 2)
    x = np.asarray(particles.x)
    x = np.where(x % SIDES[0] < SIDES[0] / CELLS[0], 1.0, x)
    x[7] = 0.1
    particles = kjko.Particles(x, particles.v, particles.log_f)
    collisions = dougherty(True)
    bath = bath_of(collisions, particles)
    np.testing.assert_allclose(bath.velocity[7], particles.v[7], rtol=1e-14)
    expected = float(np.var(np.asarray(particles.v), axis=0).mean())
    assert bath.temperature[7] == pytest.approx(expected, rel=1e-12)
    changed = distorted(particles)
    kept = put_right(collisions, particles, changed)
    np.testing.assert_allclose(kept.v[7], particles.v[7], rtol=1e-12)
    assert np.isfinite(kept.log_f).all()


def distorted(particles):
    """Velocities that were moved by something that keeps nothing."""
    v, log_f = np.asarray(particles.v), np.asarray(particles.log_f)
    return kjko.Particles(particles.x, 0.3 + 0.8 * v + 0.1 * np.sin(v), log_f - 0.4 * v[:, 0])


@each_dougherty
@each_dimension
def test_momentum_and_energy_are_put_right(local, d_x, d, double):
    """In all and in each cell; and log f by the determinant of what it does to v."""
    before = scattered(d_x, d)
    after = distorted(before)
    kept = put_right(dougherty(local, d_x), before, after)
    np.testing.assert_array_equal(kept.x, after.x)
    for rows in (*groups(before, local), np.arange(400)):
        momentum, energy = (
            [np.mean(moment(np.asarray(p.v)[rows]), axis=0) for p in (kept, before, after)]
            for moment in (lambda v: v, lambda v: np.sum(v**2, axis=1))
        )
        np.testing.assert_allclose(momentum[0], momentum[1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(energy[0], energy[1], rtol=1e-12)
        assert abs(energy[2] - energy[1]) > 0.01
    for rows in groups(before, local):
        jacobian = affine_map(np.asarray(after.v)[rows], np.asarray(kept.v)[rows])
        sign, log_det = np.linalg.slogdet(jacobian)
        assert sign > 0 and abs(log_det) > 0.01
        change = (np.asarray(kept.log_f) - np.asarray(after.log_f))[rows]
        np.testing.assert_allclose(change, -log_det, atol=1e-12)


def test_particles_that_have_left_their_cell_are_put_right_with_it(double):
    """Where a control has moved x as well, those that collided are the ones of before."""
    before = scattered(1, 2)
    moved = distorted(before)
    after = kjko.Particles(np.asarray(moved.x) + 0.3, moved.v, moved.log_f)
    kept, expected = (put_right(dougherty(True), before, each) for each in (after, moved))
    np.testing.assert_array_equal(kept.x, after.x)
    np.testing.assert_array_equal(kept.v, expected.v)
    np.testing.assert_array_equal(kept.log_f, expected.log_f)


def affine_map(v, moved):
    """The matrix of v' = A v + b, which every particle of a cell goes by."""
    wide = np.concatenate([v, np.ones((len(v), 1))], axis=1)
    matrix, *_ = np.linalg.lstsq(wide, moved, rcond=None)
    np.testing.assert_allclose(wide @ matrix, moved, atol=1e-12)
    return matrix[:-1].T


@pytest.mark.parametrize("kind", ["fokker-planck", "none"])
def test_a_bath_conserves_nothing(kind, double):
    before = scattered(1, 2)
    after = distorted(before)
    assert eqx.tree_equal(COLLISIONS[kind](1).conserve(before, after), after)


@each_dougherty
def test_nothing_to_put_right(local, tolerance):
    """Particles that have kept momentum and energy stay where they are."""
    particles = scattered(1, 2)
    kept = put_right(dougherty(local), particles, particles)
    np.testing.assert_allclose(kept.v, particles.v, atol=tolerance)
    np.testing.assert_allclose(kept.log_f, particles.log_f, atol=tolerance)


# Whole runs.


def two_beams(d, local, number=2000):
    """A homogeneous gas: two beams that differ in all, in a box, without a force."""
    means = np.array([[1.5, -0.4, 0.2], [-1.0, 0.6, 0.0]])[:, :d]
    covariances = np.array([np.diag([0.3, 0.8, 0.5][:d]), np.diag([0.6, 0.2, 0.9][:d])])
    length = [2.0]
    law = kjko.Product(kjko.CosinePosition(length, [0.0], [1]), means, covariances, [0.35, 0.65])
    flow = kjko.External(kjko.Sine(length, 0.0))
    problem = kjko.Problem(flow, dougherty(local), law, kjko.Box(length), 3.0)
    return problem, kjko.sample(law, number, 0, "lattice")


def assert_conserved(run, tolerance):
    energy = np.array([record["energy_kinetic"] for _, record in run])
    momentum = np.array([record["momentum"] for _, record in run])
    assert np.abs(np.diff(energy)).max() < tolerance * energy[0]
    assert np.abs(np.diff(momentum, axis=0)).max() < tolerance * np.sqrt(energy[0])


def skewness(state):
    """The third moment of the first velocity about its mean."""
    v = np.asarray(state.particles.v)[:, 0]
    return np.mean((v - v.mean()) ** 3)


@pytest.mark.parametrize(("d", "local"), [(1, False), (2, True)])
def test_a_gas_relaxes_by_itself(d, local, double):
    """By JKO: momentum and energy are kept in every step, and entropy falls in every one.

    In one dimension, where the basis spans f, third moments decay as e^{−3εt}.
    """
    problem, particles = two_beams(d, local)
    basis = kjko.Splines(1, (12, 12), [2.0], d)
    method = kjko.JKO(kjko.Gradient(basis))
    run = list(kjko.simulate(problem, method, particles, time_step=0.1, end_time=0.5))
    assert len(run) == 6
    assert_conserved(run, 1e-6)
    entropy = np.array([record["entropy"] for _, record in run])
    assert np.diff(entropy).max() < -1e-4
    assert all(record["free_energy"] is None for _, record in run)
    if d == 1:
        expected = np.exp(-3 * RATE * 0.5) * skewness(run[0][0])
        assert skewness(run[-1][0]) == pytest.approx(expected, rel=0.15)


@each_dougherty
def test_stochastic_particles_keep_what_they_have(local, double):
    problem, particles = two_beams(2, local, 20_000)
    run = list(kjko.simulate(problem, kjko.Langevin(), particles, time_step=0.1, end_time=0.5))
    assert_conserved(run, 1e-12)
    expected = np.exp(-3 * RATE * 0.5) * skewness(run[0][0])
    assert skewness(run[-1][0]) == pytest.approx(expected, rel=0.1)


@each_dougherty
def test_a_gas_in_equilibrium_stays_in_it(local, double):
    """The control of a Maxwellian that moves is zero, but for the noise of its moments."""
    length = [2.0]
    position = kjko.CosinePosition(length, [0.0], [1])
    law = kjko.Product(position, [[0.8, -0.3]], [1.7 * np.eye(2)], [1.0])
    flow = kjko.External(kjko.Sine(length, 0.0))
    problem = kjko.Problem(flow, dougherty(local), law, kjko.Box(length))
    particles = kjko.sample(law, 2000, 0, "lattice")
    method = kjko.JKO(kjko.Gradient(kjko.Quadratics(1, True, 2)))
    *_, (state, record) = kjko.simulate(problem, method, particles, time_step=0.1, end_time=0.5)
    np.testing.assert_allclose(state.particles.v, particles.v, atol=0.05)
    assert record["entropy"] == pytest.approx(float(np.mean(particles.log_f)), abs=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kjko.FokkerPlanck(0.0), r"rate: must be > 0 \(NoCollisions is without\)"),
        (lambda: kjko.Dougherty(0.0), r"rate: must be > 0 \(NoCollisions is without\)"),
        (lambda: kjko.FokkerPlanck(np.nan), "rate: must be > 0"),
        (lambda: kjko.FokkerPlanck(1.0, 0.0), "temperature: must be > 0"),
        (lambda: kjko.NoCollisions(0.0), "temperature: must be > 0"),
    ],
)
def test_numbers_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_cells_that_do_not_go_with_the_box_are_refused():
    flow = kjko.External(kjko.Sine([2.0]))
    kjko.Problem(flow, dougherty(True), box=kjko.Box([2.0]))
    with pytest.raises(ValueError, match="collisions: those in the cells of a mesh need"):
        kjko.Problem(flow, dougherty(True))
    for mesh in (kjko.Mesh([4.0], [8]), kjko.Mesh([2.0, 2.0], [8, 8])):
        with pytest.raises(ValueError, match="collisions: their mesh has the sides"):
            kjko.Problem(flow, kjko.Dougherty(RATE, mesh), box=kjko.Box([2.0]))
