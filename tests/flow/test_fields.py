"""Fields of the particles: deposition, Poisson, Ampère, and the step with them."""

from functools import lru_cache
from typing import ClassVar

import equinox as eqx
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from problems import DT, SPLITTINGS, strong_control

import kjko
from kjko.interfaces import AbstractFlow
from kjko.splitting.maps import drift
from kjko.splitting.transport import log_determinant, move, response

SHAPES = ("nearest", "tent", "quadratic")
SIDES, CELLS = (2.0, 3.0, 5.0), (8, 5, 6)


def mesh_of(d_x, shape="tent", cells=CELLS):
    return kjko.Mesh(SIDES[:d_x], cells[:d_x], shape)


def centres(mesh):
    axes = [
        (np.arange(n) + 0.5) * dx for n, dx in zip(mesh.number_of_cells, mesh.spacing, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def scattered(d_x, d, number=60, seed=0):
    rng = np.random.default_rng(seed)
    x, v = rng.random((number, d_x)) * SIDES[:d_x], rng.normal(size=(number, d))
    return kjko.Particles(jnp.asarray(x), jnp.asarray(v), jnp.zeros(number))


@eqx.filter_jit
def init(flow, particles, mass):
    return flow.init(particles, mass)


@eqx.filter_jit
def deposited(mesh, box, x):
    """x in the box, the density of it, and the cells and weights of x as it is and in the box."""
    wrapped = box.wrap(x)[0]
    return wrapped, mesh.deposit(wrapped), [jax.vmap(mesh._stencil)(at) for at in (x, wrapped)]


coordinates = st.floats(-1e4, 1e4, width=32) | st.sampled_from(
    [0.0, -0.0, SIDES[0], np.nextafter(np.float32(2), np.float32(0)), -1e-30, 1e-38, 6.0, -2.0]
)


@pytest.mark.parametrize("shape", SHAPES)
@given(x=hnp.arrays(np.float32, (7, 1), elements=coordinates))
@settings(max_examples=40, deadline=None)
def test_all_of_the_mass_is_deposited_inside(shape, x):
    """Wherever the particles are, at the ends and beyond: no index leaves the grid."""
    for length, cells in ((2.0, 8), (8 * np.pi, 128), (0.7, 7)):
        mesh, box, x = kjko.Mesh((length,), (cells,), shape), kjko.Box([length]), jnp.asarray(x)
        wrapped, density, stencils = deposited(mesh, box, x)
        for index, weight in stencils:
            assert index.min() >= 0 and index.max() < cells
            assert weight.min() >= 0
        assert wrapped.min() >= 0 and wrapped.max() <= np.float32(length)
        mass = density.sum() * mesh.volume
        np.testing.assert_allclose(mass, 1, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d_x", [1, 2, 3])
def test_deposited_mass_and_gathered_sum(shape, d_x, tolerance):
    """∫ρ = 1, and Σ_p w E(x_p) = Σ_h |cell| ρ_h E_h: both ways go with the same shape."""
    mesh, x = mesh_of(d_x, shape), scattered(d_x, d_x).x
    values = np.random.default_rng(1).normal(size=mesh.number_of_cells).astype(x.dtype)

    @jax.jit
    def both_ways(x, values):
        return mesh.deposit(x), jax.vmap(lambda x: mesh.gather(values, x))(x)

    density, gathered = map(np.asarray, both_ways(x, values))
    np.testing.assert_allclose(density.sum() * mesh.volume, 1, atol=tolerance)
    np.testing.assert_allclose(
        gathered.mean(), np.sum(density * values) * mesh.volume, atol=tolerance
    )


@pytest.mark.parametrize("d_x", [1, 2, 3])
def test_a_particle_in_a_centre_and_between(d_x, double):
    for shape, of_own_cell in (("nearest", 1.0), ("tent", 1.0), ("quadratic", 0.75**d_x)):
        mesh = mesh_of(d_x, shape)
        density = mesh.deposit(jnp.asarray(centres(mesh)[(2,) * d_x][None]))
        assert density[(2,) * d_x] * mesh.volume == pytest.approx(of_own_cell, abs=1e-12)
    mesh = kjko.Mesh((8.0,), (8,))
    density = mesh.deposit(jnp.array([[0.25]]))  # a quarter of a cell left of the first centre
    np.testing.assert_allclose(density[jnp.array([7, 0, 1])], [0.25, 0.75, 0.0], atol=1e-12)


@pytest.mark.parametrize("mode", [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (2, 1, 1)])
@pytest.mark.parametrize("laplacian", ["spectral", "discrete"])
def test_poisson_on_one_fourier_mode(mode, laplacian, tolerance):
    """φ = ρ/k², E = k sin(k·x)/k² in the dimensions that the mode needs."""
    d_x = max(1, *(i + 1 for i, m in enumerate(mode) if m))
    mesh = mesh_of(d_x)
    k = 2 * np.pi * np.array(mode[:d_x]) / np.array(SIDES[:d_x])
    phase = centres(mesh) @ k
    flow = kjko.Poisson(mesh, laplacian)
    mean = 3.0 / np.prod(SIDES[:d_x])
    field = solve(flow, mean + 0.7 * np.cos(phase), mass=3.0)
    square, slope = k @ k, k
    if laplacian == "discrete":
        dx = np.array(mesh.spacing)
        square, slope = np.sum((2 / dx * np.sin(k * dx / 2)) ** 2), np.sin(k * dx) / dx
    np.testing.assert_allclose(field.potential, 0.7 * np.cos(phase) / square, atol=tolerance)
    expected = 0.7 * np.sin(phase)[..., None] * slope / square
    np.testing.assert_allclose(field.electric, expected, atol=tolerance)
    energy = np.sum(expected**2) * mesh.volume
    np.testing.assert_allclose(flow.field_energy(field), energy, rtol=10 * tolerance)


def solve(flow, density, mass):
    """The field of a given density, on a mesh that deposits it whatever the particles are."""

    class Deposited(eqx.Module):
        mesh: kjko.Mesh

        def deposit(self, x):
            return jnp.asarray(density / mass, x.dtype)

        def __getattr__(self, name):
            return getattr(self.mesh, name)

    stand_in = eqx.tree_at(lambda f: f.mesh, flow, Deposited(flow.mesh))
    return init(stand_in, scattered(len(flow.mesh.length), 3), mass)


@pytest.mark.parametrize(
    ("shape", "cells"), [("tent", (8, 5, 6)), ("quadratic", (3, 4, 3)), ("nearest", (7, 8, 3))]
)
@pytest.mark.parametrize("laplacian", ["spectral", "discrete"])
@pytest.mark.parametrize("d_x", [1, 2, 3])
def test_no_self_force(d_x, laplacian, shape, cells, tolerance):
    """The particles' forces on each other sum to zero, and one particle feels none of its own."""
    flow = kjko.Poisson(mesh_of(d_x, shape, cells), laplacian)
    for number in (60, 1):
        particles = scattered(d_x, d_x, number)
        field = flow.init(particles, 5.0)
        forces = np.asarray(accelerations(flow, field, particles))
        size = 1 + np.abs(field.electric).max()
        np.testing.assert_allclose(forces.sum(axis=0) / number / size, 0, atol=tolerance)


def accelerations(flow, field, particles):
    """At the particles and t = 0."""
    return jax.vmap(lambda x, v: flow.acceleration(field, jnp.zeros(()), x, v))(
        particles.x, particles.v
    )


def gauss_error(flow, field):
    """max |∇·E − ρ + h| over the cells."""
    divergence = (field.faces - jnp.roll(field.faces, 1)) / flow.mesh.volume
    return jnp.max(jnp.abs(divergence - field.density + field.mass / flow.mesh.length[0]))


def drifting(flow, steps, dt, box, number=50):
    """Drifts and kicks in a box; the particles cross several cells at a time."""
    particles = scattered(1, 1, number)
    state = flow.init(particles, 2.0)

    @jax.jit
    def step(carry, _):
        particles, state = carry
        particles, state = kjko.StormerVerlet()(particles, flow, state, jnp.zeros(()), dt)
        particles = eqx.tree_at(lambda p: p.x, particles, box.wrap(particles.x)[0])
        return (particles, state), gauss_error(flow, state)

    (particles, state), errors = jax.lax.scan(step, (particles, state), length=steps)
    return particles, state, errors


@pytest.mark.parametrize("shape", SHAPES)
def test_gauss_law_lasts(shape, double):
    """20,000 steps, in which particles cross several cells, with a field of mean not zero."""
    mesh = kjko.Mesh((2.0,), (16,), shape)
    flow = kjko.Ampere(mesh, uniform=0.3)
    particles, state, errors = drifting(flow, 20_000, 0.4, kjko.Box([2.0]))
    assert np.abs(particles.v).max() * 0.4 > 2 * mesh.volume
    assert errors.max() < 1e-10
    np.testing.assert_allclose(state.density, 2 * mesh.deposit(particles.x), atol=1e-10)


def test_gauss_law_as_wrong_as_at_the_start(double):
    """An arbitrary E(0) is allowed: what is violated stays violated by the same amount."""
    mesh = kjko.Mesh((2.0,), (16,))
    flow = kjko.Ampere(mesh, initial=jnp.sin(jnp.arange(16.0)))
    _, _, errors = drifting(flow, 100, 0.1, kjko.Box([2.0]))
    assert errors[0] > 0.1
    np.testing.assert_allclose(errors, errors[0], atol=1e-10)


def test_the_mean_field_follows_the_mean_current(double):
    flow = kjko.Ampere(kjko.Mesh((2.0,), (16,)))
    particles = scattered(1, 1)
    start = flow.init(particles, 3.0)
    np.testing.assert_allclose(start.faces.mean(), 0, atol=1e-14)
    end = flow.update(start, drift(particles, 0.1), 0.1)
    expected = -0.1 * 3.0 / 2.0 * particles.v.mean()
    np.testing.assert_allclose(end.faces.mean(), expected, atol=1e-14)


def test_ampere_and_poisson_on_differences_have_one_potential(double):
    """Gauss's law on the faces is Poisson's equation with the differences of the grid."""
    mesh, particles = kjko.Mesh((2.0,), (16,)), scattered(1, 1)
    by_current = kjko.Ampere(mesh).init(particles, 2.0)
    by_poisson = kjko.Poisson(mesh, "discrete").init(particles, 2.0)
    np.testing.assert_allclose(by_current.potential, by_poisson.potential, atol=1e-12)
    np.testing.assert_allclose(by_current.electric, by_poisson.electric, atol=1e-12)


@pytest.mark.parametrize(("d_x", "d"), [(1, 3), (2, 3)])
@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_log_determinant_in_a_frozen_field(splitting, d_x, d, tolerance):
    """Against the full Jacobian of the map of one particle, through a field that is given.

    Of 1D3V and the like too: further components of v are not kicked and do not move x.
    """
    flow = Frozen(kjko.Poisson(mesh_of(d_x, "quadratic")))
    state = init(flow, scattered(d_x, d), 50.0)
    problem = kjko.Problem(flow)
    control = strong_control(d, d_x)
    particles = scattered(d_x, d, 5, seed=3)
    t = jnp.zeros(())

    def whole_step(z):
        one = kjko.Particles(z[None, :d_x], z[None, d_x:], jnp.zeros(1))
        stage, field = splitting.prepare(problem, state, one, t, DT)
        by = response(control, stage)
        moved = move(stage, by, DT, log_determinant(by, DT))
        end, _ = splitting.finish(problem, field, moved, t, DT)
        return jnp.concatenate([end.x[0], end.v[0]]), end.log_f[0]

    @jax.jit
    @jax.vmap
    def step_and_jacobian(z):
        return whole_step(z)[1], jax.jacfwd(lambda z: whole_step(z)[0])(z)

    log_f, jacobian = step_and_jacobian(jnp.concatenate([particles.x, particles.v], axis=1))
    signs, expected = np.linalg.slogdet(np.asarray(jacobian, dtype=float))
    assert np.abs(expected).max() > 0.05
    assert np.abs(jacobian[:, d_x:, :d_x]).max() > 0.1  # the field acts
    np.testing.assert_allclose(signs, 1)
    np.testing.assert_allclose(log_f, -expected, atol=tolerance)


class Frozen(AbstractFlow):
    """A flow whose field stays as it is."""

    flow: kjko.Poisson
    conservative: ClassVar[bool] = True

    def init(self, particles, mass):
        return self.flow.init(particles, mass)

    def acceleration(self, field, t, x, v):
        return self.flow.acceleration(field, t, x, v)

    def potential_energy(self, field, x):
        return self.flow.potential_energy(field, x)


def plasma(field=kjko.Poisson, amplitude=0.5, collisions=None, number=500, **options):
    """A strong wave in a box of one wavelength, mean density one, and particles of it."""
    length = 4 * np.pi
    mesh = kjko.Mesh((length,), (64,), "quadratic")
    position = kjko.CosinePosition([length], [amplitude], [1])
    law = kjko.Product(position, [[0.3]], [[[1.0]]], [1.0])
    flow, box = field(mesh, **options), kjko.Box([length])
    problem = kjko.Problem(flow, collisions or kjko.NoCollisions(), law, box, length)
    return problem, kjko.sample(law, number, 0, "lattice")


def evolved(problem, particles, dt, end_time=2.0, splitting=None, control=None, **settings):
    """States and records; of an affine control if no other is given, which Adam would fit."""
    settings = {"fit": kjko.Adam()} | settings
    method = kjko.JKO(
        control or kjko.Affine(1), splitting=splitting or kjko.StrangMidpoint(), **settings
    )
    return list(kjko.simulate(problem, method, particles, time_step=dt, end_time=end_time))


TIME_STEPS = (0.2, 0.1, 0.05)


@lru_cache
def runs(field, dt, splitting=None):
    """States and records of the collisionless wave; in double precision."""
    return evolved(*plasma(field), dt, splitting=splitting)


def total_energy(run):
    return np.array([r["energy_kinetic"] + r["energy_potential"] for _, r in run])


@pytest.mark.parametrize("field", [kjko.Poisson, kjko.Ampere])
def test_without_collisions_energy_is_conserved_to_second_order(field, double):
    """To what the grid conserves of it, which the run with a very small time step has."""
    totals = {dt: total_energy(runs(field, dt)) for dt in (0.0125, *TIME_STEPS)}
    errors = [np.abs(totals[dt][-1] - totals[0.0125][-1]) for dt in TIME_STEPS]
    slope = np.polyfit(np.log(TIME_STEPS), np.log(errors), 1)[0]
    assert slope >= 1.75, f"errors {errors}, order {slope:.2f}"
    assert np.ptp(totals[0.05]) < 1e-3 * totals[0.05][0]


@pytest.mark.parametrize(
    ("splitting", "order"),
    [
        (kjko.StrangMidpoint(), 2),
        (kjko.Unsplit(kjko.DriftKick()), 1),
        (kjko.SymplecticEuler(), 1),
        (kjko.Lie(), 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", [kjko.Poisson, kjko.Ampere])
def test_order_with_a_self_consistent_field(field, splitting, order, double):
    """x and v against a run with a very small time step; Lie is Verlet at ε = 0."""

    def end(dt, splitting):
        particles = runs(field, dt, splitting)[-1][0].particles
        return np.concatenate([np.exp(0.5j * particles.x), particles.v])

    exact = end(0.0125, None)
    errors = [np.abs(end(dt, splitting) - exact).mean() for dt in TIME_STEPS]
    slope = np.polyfit(np.log(TIME_STEPS), np.log(errors), 1)[0]
    assert slope >= order - 0.25, f"errors {errors}, order {slope:.2f}"


@pytest.mark.parametrize(("splitting", "order"), [(kjko.StrangMidpoint(), 2), (kjko.Lie(), 1)])
def test_order_with_collisions_and_a_self_consistent_field(splitting, order, double):
    """An affine control, at its minimum: the field energy and the mean of v² at t = 1."""
    problem, particles = plasma(collisions=kjko.FokkerPlanck(0.3), number=300)
    control = kjko.Periodic(kjko.Affine(1, 2), problem.flow.mesh.length)
    fit = kjko.GaussNewton(steps=40, held_out=0.0, tolerance=1e-13)

    def end(dt):
        method = kjko.JKO(control, fit, splitting)
        *_, (_, record) = kjko.simulate(problem, method, particles, time_step=dt, end_time=1.0)
        return np.array([record["field_energy"], record["energy_kinetic"], record["entropy"]])

    exact = end(0.0125)
    errors = [np.abs(end(dt) - exact).sum() for dt in (0.2, 0.1, 0.05)]
    slope = np.polyfit(np.log([0.2, 0.1, 0.05]), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.3, f"errors {errors}, order {slope:.2f}"


def test_gauss_law_and_free_energy_with_collisions(double):
    """Vlasov-Ampère-Fokker-Planck: Proposition 3."""
    problem, particles = plasma(kjko.Ampere, collisions=kjko.FokkerPlanck(0.5), uniform=0.2)
    control = kjko.Gradient(kjko.Quadratics(1, periodic=True))
    run = evolved(problem, particles, 0.1, 1.0, control=control, fit=kjko.Newton())
    energies = np.array([record["free_energy"] for _, record in run])
    assert np.diff(energies).max() < 1e-3 * abs(energies[0]) and energies[-1] < energies[0] - 0.1
    assert max(gauss_error(problem.flow, state.field) for state, _ in run) < 1e-12


@pytest.mark.parametrize("d", [2, 3])
def test_a_field_in_more_dimensions_with_collisions(d):
    """The free energy falls, momentum only by friction, and no particle leaves the box."""
    length = [4 * np.pi] * d
    position = kjko.CosinePosition(length, [0.3] * d, [1] * d)
    law = kjko.Product(position, [[0.5] * d], [0.7 * np.eye(d)], [1.0])
    flow, collisions = kjko.Poisson(kjko.Mesh(length, [4] * d)), kjko.FokkerPlanck(0.5)
    problem = kjko.Problem(flow, collisions, law, kjko.Box(length), float(np.prod(length)))
    control = kjko.Gradient(kjko.Quadratics(d, periodic=True))
    particles = kjko.sample(law, 2000, 0, "lattice")
    run = evolved(problem, particles, 0.1, 0.5, control=control, fit=kjko.Newton())
    energies = np.array([record["free_energy"] for _, record in run])
    assert np.all(np.diff(energies) < 0)
    momenta = np.array([record["momentum"] for _, record in run]) / float(problem.mass)
    np.testing.assert_allclose(momenta[-1], 0.5 * np.exp(-0.25), rtol=0.05)
    x = np.asarray(run[-1][0].particles.x)
    assert x.min() >= 0 and x.max() < length[0]


@pytest.mark.parametrize("field", [kjko.Poisson, kjko.Ampere])
def test_momentum_is_conserved_without_collisions(field, double):
    """By Ampère's law the mean field follows the mean current, and takes momentum with it."""
    problem, particles = plasma(field)
    shift = jnp.mean(particles.v)
    particles = eqx.tree_at(lambda p: p.v, particles, particles.v - shift)
    records = [r for _, r in evolved(problem, particles, 0.1)]
    momenta = np.array([r["momentum"] for r in records])
    np.testing.assert_allclose(momenta, 0, atol=1e-10)


def test_no_control_without_collisions(double):
    """The control stays as it was, log f is carried along unchanged, and there is no loss."""
    problem, particles = plasma()
    control = eqx.tree_at(lambda c: c.bias, kjko.Affine(1), jnp.array([5.0]))
    state, record = evolved(problem, particles, 0.1, 0.2, control=control)[-1]
    assert eqx.tree_equal(state.memory.control, control)
    np.testing.assert_array_equal(state.particles.log_f, particles.log_f)
    assert record["loss"] is None and record["loss_heldout"] is None
    assert record["det_min"] == 1.0


def test_mass_factors_of_the_free_energy(double):
    """M (mean ½v² + T₀ (mean log f + log M)) + ½ ∫E², Proposition 2 with errata's factors."""
    problem, particles = plasma(collisions=kjko.FokkerPlanck(0.1, 1.7))
    _, record = evolved(problem, particles, 0.1, 0.1)[0]
    mass = float(problem.mass)
    field = problem.flow.init(particles, mass)
    kinetic = mass * np.mean(0.5 * np.asarray(particles.v) ** 2)
    entropy = mass * (np.mean(np.asarray(particles.log_f)) + np.log(mass))
    squares = np.sum(np.asarray(field.electric) ** 2) * problem.flow.mesh.volume
    assert record["energy_kinetic"] == pytest.approx(kinetic, rel=1e-12)
    assert record["entropy"] == pytest.approx(entropy, rel=1e-12)
    assert record["field_energy"] == pytest.approx(squares, rel=1e-12)
    assert record["energy_field"] == pytest.approx(0.5 * squares, rel=1e-12)
    assert record["energy_potential"] == pytest.approx(0.5 * squares, rel=1e-12)
    free_energy = kinetic + 0.5 * squares + 1.7 * entropy
    assert record["free_energy"] == pytest.approx(free_energy, rel=1e-12)
    momentum = mass * np.mean(np.asarray(particles.v))
    assert record["momentum"] == [pytest.approx(momentum, rel=1e-12)]
    assert record["kl_stationary"] is None


def test_free_energy_falls_with_collisions(double):
    """By Newton's fit in 1D1V, with a field that is far from small."""
    problem, particles = plasma(collisions=kjko.FokkerPlanck(0.5), number=2000)
    control = kjko.Gradient(kjko.FourierHermite(1, 60, problem.box.length))
    run = evolved(problem, particles, 0.1, 1.0, control=control, fit=kjko.Newton())
    energies = [record["free_energy"] for _, record in run]
    assert np.diff(energies).max() < 1e-3 * abs(energies[0])
    assert energies[-1] < energies[0] - 0.1


def test_what_does_not_go_together_is_refused():
    length = 2.0
    mesh = kjko.Mesh((length,), (8,))
    position = kjko.CosinePosition([length], [0.1], [1])
    law = kjko.Product(position, [[0.0]], [[[1.0]]], [1.0])
    box = kjko.Box([length])
    with pytest.raises(ValueError, match="number_of_cells: expected at least 3"):
        kjko.Mesh((length,), (2,))
    with pytest.raises(ValueError, match="number_of_cells: need one for each"):
        kjko.Mesh((length,), (8, 8))
    with pytest.raises(ValueError, match="ampere is for one dimension"):
        kjko.Ampere(mesh_of(2))
    with pytest.raises(ValueError, match="initial: need one number for each cell"):
        kjko.Ampere(mesh, jnp.zeros(7))
    gaussian = kjko.Gaussian(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="flow: a self-consistent field needs a periodic box"):
        kjko.Problem(kjko.Poisson(mesh), law=gaussian)
    with pytest.raises(ValueError, match="flow: its mesh has the sides"):
        kjko.Problem(kjko.Poisson(mesh), law=law, box=kjko.Box([3.0]))
    with pytest.raises(ValueError, match="mass: must be > 0"):
        kjko.Problem(kjko.Poisson(mesh), law=law, box=box, mass=0.0)
    problem = kjko.Problem(kjko.Poisson(mesh), law=law, box=box, mass=200.0)  # ω_p = 10
    with pytest.raises(ValueError, match="time_step: expected time_step \\* plasma frequency < 2"):
        kjko.Langevin().init(problem, kjko.sample(law, 10), 0.2)
