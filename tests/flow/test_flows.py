"""What every flow keeps to: accelerations, energies, volume. Magnetic fields, drives and sums."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import anharmonic_potential
from scipy.linalg import expm

import kjko
from kjko.flow.components import along_velocities
from kjko.interfaces import AbstractFlow
from kjko.splitting.maps import turn

SIDES = (2.0, 3.0)
DT = 0.3  # large, so that a wrong term shows
STIFFNESS, CENTER = [[1.5, 0.4], [0.4, 0.9]], [0.3, -0.7]
FREQUENCY = [0.5, -1.1, 0.8]


def external():
    return kjko.External(anharmonic_potential)


def driven_along_x(t, x):
    return jnp.stack([jnp.sin(3 * t + x[1]), x[0] * x[1] * jnp.cos(t)])


def driven_along_v(t, x):
    return jnp.append(driven_along_x(t, x), t + x[0] ** 2)


def mesh_of(d_x):
    return kjko.Mesh(SIDES[:d_x], (8, 6)[:d_x], "quadratic")


FLOWS = {  # with the number of positions and of velocities
    "external": (external, 2, 2),
    "external 1D3V": (external, 1, 3),
    "uniform": (lambda: kjko.Uniform([0.4, -0.3]), 2, 3),
    "uniform along all": (lambda: kjko.Uniform([0.4, -0.3, 0.9]), 1, 3),
    "driven": (lambda: kjko.Driven(driven_along_x), 2, 3),
    "driven along all": (lambda: kjko.Driven(driven_along_v), 2, 3),
    "magnetic 2V": (lambda: kjko.Magnetic(0.8), 1, 2),
    "magnetic 3V": (lambda: kjko.Magnetic(FREQUENCY), 2, 3),
    "poisson": (lambda: kjko.Poisson(mesh_of(2)), 2, 2),
    "poisson 1D3V": (lambda: kjko.Poisson(mesh_of(1)), 1, 3),
    "ampere": (lambda: kjko.Ampere(mesh_of(1), uniform=0.4), 1, 2),
    "sum": (
        lambda: kjko.Sum(
            external(), kjko.Magnetic(0.8), kjko.Uniform([0.2]), kjko.Poisson(mesh_of(2))
        ),
        *(2, 2),
    ),
    "sum of sums": (
        lambda: kjko.Sum(
            kjko.Sum(kjko.Driven(driven_along_v), external()),
            kjko.Sum(kjko.Magnetic(FREQUENCY), kjko.Magnetic(0.8)),
        ),
        *(2, 3),
    ),
}
each_flow = pytest.mark.parametrize(("make", "d_x", "d"), FLOWS.values(), ids=FLOWS)


def scattered(d_x, d, number=40, seed=0):
    rng = np.random.default_rng(seed)
    x, v = rng.random((number, d_x)) * SIDES[:d_x], rng.normal(size=(number, d))
    return kjko.Particles(x, v, np.zeros(number))


@eqx.filter_jit
def init(flow, particles, mass):
    return flow.init(particles, mass)


@eqx.filter_jit
def asked(flow, field, particles):
    """All that a flow tells of its first particle, and its energies."""
    t, x, v = jnp.asarray(0.7), particles.x[0], particles.v[0]
    return {
        "acceleration": flow.acceleration(field, t, x, v),
        "slope": jax.jacfwd(lambda v: flow.acceleration(field, t, x, v))(v),
        "gyrofrequency": flow.gyrofrequency(t, x),
        "potential_energy": flow.potential_energy(field, x),
        "update": flow.update(field, particles, jnp.asarray(0.1)),
        "energies": flow.energies(field, particles, jnp.asarray(3.0)),
    }


@each_flow
def test_accelerations_are_as_long_as_v_and_do_not_depend_on_it(make, d_x, d, tolerance):
    flow, particles = make(), scattered(d_x, d)
    field = init(flow, particles, 3.0)
    told, v = asked(flow, field, particles), jnp.asarray(particles.v[0])
    acceleration, turning = told["acceleration"], told["gyrofrequency"]
    assert acceleration.shape == v.shape and acceleration.dtype == v.dtype
    np.testing.assert_array_equal(told["slope"], np.zeros((d, d)))
    assert turning is None or (turning.shape == (3,) and turning.dtype == v.dtype)
    assert jax.tree.structure(told["update"]) == jax.tree.structure(field)
    assert told["potential_energy"].shape == ()
    for energy in told["energies"].values():
        assert energy.shape == ()


@pytest.mark.parametrize(
    "potential",
    [
        lambda: anharmonic_potential,
        lambda: kjko.Quadratic(STIFFNESS, CENTER),
        lambda: kjko.Multiwell(0.7, 0.4),
        lambda: kjko.DoubleWell(2.0, 1.5),
        lambda: kjko.Sine(SIDES, 0.3, 2),
        lambda: kjko.Cosine(SIDES, 0.3, 2),
    ],
    ids=["callable", "quadratic", "multiwell", "double well", "sine", "cosine"],
)
def test_a_given_force_is_minus_the_slope_of_its_potential(potential, double):
    """By central differences; further velocities feel none of it."""
    flow = kjko.External(potential())
    assert flow.given_potential is flow.potential
    h, (x, v) = 1e-5, (jnp.array([0.3, -0.8]), jnp.zeros(3))
    at = [[flow.potential_energy(None, x + sign * h * e) for sign in (-1, 1)] for e in jnp.eye(2)]
    expected = [(below - above) / (2 * h) for below, above in at] + [0.0]
    found = flow.acceleration(None, jnp.zeros(()), x, v)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert jnp.abs(found[:2]).min() > 0.01


def test_potential_energy_of_a_sum(double):
    """Its slope is the acceleration, but for what has no potential."""
    flow = kjko.Sum(
        external(), kjko.External(kjko.Quadratic(STIFFNESS, CENTER)), kjko.Magnetic(0.8)
    )
    x, v, t = jnp.array([0.3, -0.8]), jnp.array([0.4, 0.2]), jnp.zeros(())
    field = flow.init(scattered(2, 2), 1.0)
    slope = jax.grad(lambda x: flow.potential_energy(field, x))(x)
    np.testing.assert_allclose(flow.acceleration(field, t, x, v), -slope, atol=1e-12)
    np.testing.assert_allclose(jax.grad(flow.given_potential)(x), slope, atol=1e-12)
    assert flow.conservative
    pushed = kjko.Sum(flow, kjko.Uniform([0.5, -0.2]))
    pushed_field = (*field, None)
    more = pushed.acceleration(pushed_field, t, x, v) + slope
    np.testing.assert_allclose(more, [0.5, -0.2], atol=1e-12)
    assert pushed.given_potential is None and not pushed.conservative


@each_flow
def test_parts_of_a_sum_add_up(make, d_x, d, tolerance):
    """Accelerations, gyrofrequencies and energies by name, of a flow and another; none is lost."""
    flow, other = make(), kjko.Sum(kjko.External(lambda x: 0.3 * x @ x), kjko.Uniform([0.7]))
    both, particles = kjko.Sum(flow, other), scattered(d_x, d)
    told = [asked(f, init(f, particles, 3.0), particles) for f in (flow, other, both)]
    a, b, total = (np.asarray(each["acceleration"]) for each in told)
    np.testing.assert_allclose(total, a + b, atol=tolerance)
    if told[0]["gyrofrequency"] is None:
        assert told[2]["gyrofrequency"] is None
    else:
        np.testing.assert_array_equal(told[2]["gyrofrequency"], told[0]["gyrofrequency"])
    of_flow, of_other, of_both = (each["energies"] for each in told)
    assert set(of_both) == set(of_flow) | set(of_other)
    for name, energy in of_both.items():
        expected = of_flow.get(name, 0.0) + of_other.get(name, 0.0)
        assert float(energy) == pytest.approx(float(expected), rel=tolerance)
    assert both.members == (*flow.members, *other.members)


def test_energies_by_name(double):
    """∫φ f and ½ ∫|E|², of the mass of the problem; other forces have none."""
    particles = scattered(2, 2)
    poisson = kjko.Poisson(mesh_of(2))
    flow = kjko.Sum(external(), poisson, kjko.Magnetic(0.8), kjko.Uniform([0.2]))
    field = flow.init(particles, 3.0)
    energies = flow.energies(field, particles, jnp.asarray(3.0))
    assert set(energies) == {"external", "field"}
    mean = np.mean(jax.vmap(anharmonic_potential)(particles.x))
    assert float(energies["external"]) == pytest.approx(3 * float(mean), rel=1e-12)
    squares = np.sum(np.asarray(field[1].electric) ** 2) * np.prod(SIDES) / 48
    assert float(energies["field"]) == pytest.approx(0.5 * squares, rel=1e-12)
    assert poisson.field_energy(field[1]) == pytest.approx(squares, rel=1e-12)
    twice = kjko.Sum(external(), external())
    energies = twice.energies(twice.init(particles, 1.0), particles, jnp.asarray(1.0))
    assert float(energies["external"]) == pytest.approx(2 * float(mean), rel=1e-12)


def test_two_magnetic_fields_add_up(double):
    flow = kjko.Sum(kjko.Magnetic(FREQUENCY), external(), kjko.Magnetic(0.5))
    frequency = flow.gyrofrequency(jnp.zeros(()), jnp.zeros(2))
    np.testing.assert_allclose(frequency, np.array(FREQUENCY) + [0, 0, 0.5], atol=1e-15)


# The maps of a step.


class InTheirField(AbstractFlow):
    """A particle in the field of others, as it is before and after the drift."""

    flow: AbstractFlow
    after: object
    conservative: bool = True

    def update(self, field, particles, dt):
        return self.after

    def acceleration(self, field, t, x, v):
        return self.flow.acceleration(field, t, x, v)

    def gyrofrequency(self, t, x):
        return self.flow.gyrofrequency(t, x)


@each_flow
@pytest.mark.parametrize("step", [kjko.StormerVerlet(), kjko.DriftKick()], ids=repr)
def test_a_step_keeps_the_volume(step, make, d_x, d, tolerance):
    """The determinant of the whole map (x, v) -> (x', v') of a particle is one; log f stays."""
    flow, others = make(), scattered(d_x, d)
    field = init(flow, others, 30.0)
    t = jnp.asarray(0.7)
    _, after = eqx.filter_jit(step)(others, flow, field, t, DT)
    given = InTheirField(flow, after)

    def whole(z):
        one = kjko.Particles(z[None, :d_x], z[None, d_x:], jnp.full(1, -2.0))
        moved, _ = step(one, given, field, t, DT)
        return jnp.concatenate([moved.x[0], moved.v[0]]), moved.log_f[0]

    points = scattered(d_x, d, 5, 1)
    z = jnp.concatenate([points.x, points.v], axis=1)
    jacobian, log_f = jax.jit(jax.vmap(jax.jacfwd(whole, has_aux=True)))(z)
    det = np.linalg.det(np.asarray(jacobian, dtype=float))
    np.testing.assert_allclose(det, 1, atol=tolerance)
    np.testing.assert_array_equal(log_f, np.full(5, -2.0))
    in_v = np.asarray(jacobian)[:, d_x:, :]
    acts = np.abs(in_v - np.eye(d_x + d)[None, d_x:]).max()
    assert acts > 0.05 or isinstance(flow, kjko.Uniform)  # which only shifts


@pytest.mark.parametrize("step", [kjko.StormerVerlet(), kjko.DriftKick()], ids=repr)
def test_particles_in_their_own_field_keep_the_volume(step, tolerance):
    """The determinant of the map of three particles together, whose field moves with them."""
    flow = kjko.Sum(external(), kjko.Magnetic(0.8), kjko.Poisson(mesh_of(2)))
    three, mass = scattered(2, 2, 3), jnp.asarray(5.0)
    z = jnp.concatenate([three.x, three.v], axis=1)

    def whole(flat):
        z = flat.reshape(3, 4)
        particles = kjko.Particles(z[:, :2], z[:, 2:], jnp.zeros(3))
        field = flow.init(particles, mass)
        moved, _ = step(particles, flow, field, jnp.zeros(()), DT)
        return jnp.concatenate([moved.x, moved.v], axis=1).ravel()

    jacobian = np.asarray(jax.jit(jax.jacfwd(whole))(z.ravel()), dtype=float)
    np.testing.assert_allclose(np.linalg.det(jacobian), 1, atol=tolerance)
    assert np.abs(jacobian.reshape(3, 4, 3, 4)[0, :, 1]).max() > 0.01  # they feel each other


@jax.jit
def turned_by(particles, flow, dt):
    return turn(particles, flow, None, jnp.zeros(()), dt)


def across(frequency):
    """The matrix W of v × Ω."""
    return np.cross(np.eye(3), frequency).T


@pytest.mark.parametrize(
    ("d", "frequency"), [(2, 0.8), (2, -3.0), (2, 0.0), (3, 0.8), (3, FREQUENCY), (3, [0.0] * 3)]
)
def test_a_magnetic_field_turns_velocities(d, frequency, double):
    """|v| stays, and v' is e^{W Δt} v, Wv = v × Ω; x, log f and the sense of the turn as well."""
    flow, particles = kjko.Magnetic(frequency), scattered(2, d)
    turned = turned_by(particles, flow, 0.9)
    omega = [0.0, 0.0, frequency] if np.ndim(frequency) == 0 else frequency
    expected = np.asarray(particles.v) @ expm(0.9 * across(omega))[:d, :d].T
    np.testing.assert_allclose(turned.v, expected, atol=1e-12)
    lengths = [np.linalg.norm(p.v, axis=1) for p in (turned, particles)]
    np.testing.assert_allclose(*lengths, rtol=1e-13)
    np.testing.assert_array_equal(turned.x, particles.x)
    np.testing.assert_array_equal(turned.log_f, particles.log_f)
    if d == 2:
        rate = (np.asarray(turned_by(particles, flow, 1e-7).v) - particles.v) / 1e-7
        v = np.asarray(particles.v)
        turning = frequency * np.stack([v[:, 1], -v[:, 0]], axis=1)  # v̇₁ = Ωv₂, v̇₂ = −Ωv₁
        np.testing.assert_allclose(rate, turning, atol=1e-6)


@pytest.mark.parametrize(("d", "frequency"), [(2, 1.3), (3, FREQUENCY)])
def test_verlet_in_a_magnetic_field_is_of_second_order(d, frequency, double):
    """In a coupled well of two coordinates, against the exponential of the whole motion."""
    flow = kjko.Sum(kjko.External(kjko.Quadratic(STIFFNESS, CENTER)), kjko.Magnetic(frequency))
    omega = [0.0, 0.0, frequency] if d == 2 else frequency
    matrix = np.zeros((2 + d, 2 + d))
    matrix[:2, 2:4] = np.eye(2)
    matrix[2:4, :2] = -np.array(STIFFNESS)
    matrix[2:, 2:] = across(omega)[:d, :d]
    start = scattered(2, d, 6)
    z = np.concatenate([np.asarray(start.x) - CENTER, np.asarray(start.v)], axis=1)
    exact = z @ expm(2.0 * matrix).T

    step = jax.jit(kjko.StormerVerlet().__call__)

    def error(dt):
        particles, field = start, flow.init(start, 1.0)
        for k in range(round(2.0 / dt)):
            particles, field = step(particles, flow, field, k * dt, dt)
        end = np.concatenate([np.asarray(particles.x) - CENTER, particles.v], axis=1)
        return np.abs(end - exact).max()

    steps = [0.2, 0.1, 0.05]
    errors = [error(dt) for dt in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope >= 1.75, f"errors {errors}, order {slope:.2f}"


def test_a_drive_is_felt_at_its_times(double):
    """Verlet kicks by half of a(t, x) and half of a(t + Δt, x')."""
    flow, start = kjko.Driven(driven_along_v), scattered(2, 3)
    t = jnp.asarray(0.7)
    moved, _ = kjko.StormerVerlet()(start, flow, None, t, DT)
    before, after = (
        jax.vmap(driven_along_v, (None, 0))(time, x)
        for time, x in ((t, start.x), (t + DT, moved.x))
    )
    np.testing.assert_allclose(moved.v, start.v + DT / 2 * (before + after), atol=1e-14)


@pytest.mark.parametrize("method", ["jko", "langevin"])
def test_a_driven_run_is_of_second_order(method, double):
    """Without collisions x̄(t) and v̄(t) are integrals of the drive, by any method."""
    flow = kjko.Driven(lambda t, x: jnp.stack([jnp.sin(3 * t), jnp.exp(-t)]))
    problem, start = kjko.Problem(flow, kjko.NoCollisions()), scattered(2, 2, 5)
    gained = np.array([(1 - np.cos(3.0)) / 3, 1 - np.exp(-1.0)])
    way = np.asarray(start.v) + [1 / 3 - np.sin(3.0) / 9, np.exp(-1.0)]

    def error(dt):
        by = kjko.Langevin() if method == "langevin" else kjko.JKO(kjko.Affine(2), kjko.Adam())
        *_, (state, _) = kjko.simulate(problem, by, start, time_step=dt, end_time=1.0)
        moved = state.particles
        at_v = np.abs(moved.v - start.v - gained[None]).max()
        return max(at_v, np.abs(moved.x - start.x - way).max())

    steps = [0.2, 0.1, 0.05]
    errors = [error(dt) for dt in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope >= 1.75, f"errors {errors}, order {slope:.2f}"


@pytest.mark.parametrize("potential", [kjko.Sine, kjko.Cosine])
@pytest.mark.parametrize("method", ["jko", "langevin"])
def test_a_wave_in_a_potential_keeps_its_energy(method, potential, double):
    """Kinetic, external and of the field together, over a hundred steps; log f is carried along."""
    length = 4 * np.pi
    position = kjko.CosinePosition([length], [0.05], [1])
    law = kjko.Product(position, [[0.3]], [[[1.0]]], [1.0])
    flow = kjko.Sum(
        kjko.External(potential([length], 0.05)),
        kjko.Poisson(kjko.Mesh((length,), (32,), "quadratic")),
    )
    problem = kjko.Problem(flow, kjko.NoCollisions(), law, kjko.Box([length]), length)
    particles = kjko.sample(law, 20_000, 0, "lattice")
    by = kjko.Langevin() if method == "langevin" else kjko.JKO(kjko.Affine(1), kjko.Adam())
    run = list(kjko.simulate(problem, by, particles, time_step=0.05, end_time=5.0))
    assert len(run) == 101
    names = ("energy_kinetic", "energy_external", "energy_field")
    parts = np.array([[record[name] for name in names] for _, record in run])
    total = parts.sum(axis=1)
    assert np.ptp(total) < 1e-5 * total[0]
    assert np.all(np.ptp(parts, axis=0) > 1e-4 * total[0])  # which all change by more
    for _, record in run:
        both = record["energy_external"] + record["energy_field"]
        assert record["energy_potential"] == pytest.approx(both, rel=1e-12)
        assert record["field_energy"] == pytest.approx(2 * record["energy_field"], rel=1e-12)
    if method == "jko":
        np.testing.assert_array_equal(run[-1][0].particles.log_f, particles.log_f)


# What is refused.


def wave_law(length):
    position = kjko.CosinePosition([length], [0.1], [1])
    return kjko.Product(position, [[0.0]], [[[1.0]]], [1.0])


@pytest.mark.parametrize(
    "potential",
    [lambda x: 0.3 * x[0], kjko.Quadratic([[1.0]], [1.0]), kjko.Sine([3.0])],
    ids=["tilt", "well", "of another box"],
)
def test_a_potential_that_is_not_periodic_in_the_box_is_refused(potential):
    law, box = wave_law(2.0), kjko.Box([2.0])
    for flow in (
        kjko.External(potential),
        kjko.Sum(kjko.External(kjko.Sine([2.0])), kjko.External(potential)),
    ):
        with pytest.raises(ValueError, match=r"flow: its potential changes by .* kjko\.Uniform"):
            kjko.Problem(flow, law=law, box=box)
    kjko.Problem(kjko.External(kjko.Sine([2.0], 0.3, 2)), law=law, box=box)
    kjko.Problem(kjko.External(potential))


def test_fields_that_do_not_go_with_the_box_are_refused():
    law, box = wave_law(2.0), kjko.Box([2.0])
    mesh, other = kjko.Mesh((2.0,), (8,)), kjko.Mesh((3.0,), (8,))
    for flow in (kjko.Poisson(other), kjko.Sum(external(), kjko.Ampere(other))):
        with pytest.raises(ValueError, match="flow: its mesh has the sides"):
            kjko.Problem(flow, law=law, box=box)
    for flow in (
        kjko.Sum(kjko.Poisson(mesh), kjko.Ampere(mesh)),
        kjko.Sum(kjko.Poisson(mesh), kjko.Sum(kjko.Poisson(mesh))),
    ):
        with pytest.raises(ValueError, match="flow: expected one self-consistent field at most"):
            kjko.Problem(flow, law=law, box=box)


@pytest.mark.parametrize(
    ("flow", "d_x", "d", "message"),
    [
        (kjko.Magnetic(0.8), 1, 1, "frequency: a magnetic field needs 2 or 3 velocities, got 1"),
        (kjko.Magnetic([0.1, 0, 0.8]), 2, 2, "frequency: must be along the third axis"),
        (kjko.Uniform([0.1, 0.2]), 1, 1, "acceleration: expected a list of 1 to 1 numbers"),
        (kjko.Uniform(0.1), 1, 1, "acceleration: expected a list of 1 to 1 numbers"),
        (kjko.Driven(driven_along_x), 2, 2, None),
        (kjko.Driven(driven_along_v), 2, 2, "drive: expected 2 components, as x has"),
        (kjko.External(lambda x: x), 2, 2, "potential: expected one number for a particle"),
    ],
)
def test_what_does_not_go_with_the_particles_is_refused(flow, d_x, d, message):
    for each in (flow, kjko.Sum(external(), flow)):
        problem = kjko.Problem(each)
        if message is None:
            kjko.Langevin().init(problem, scattered(d_x, d), 0.1)
            continue
        with pytest.raises(ValueError, match=message):
            kjko.Langevin().init(problem, scattered(d_x, d), 0.1)


def test_a_frequency_that_is_refused():
    for frequency in ([0.1, 0.2], np.zeros((3, 3))):
        with pytest.raises(ValueError, match="frequency: expected one number or three"):
            kjko.Magnetic(frequency)


def test_along_velocities(double):
    np.testing.assert_array_equal(along_velocities(jnp.ones(1), jnp.zeros(3)), [1, 0, 0])
    np.testing.assert_array_equal(along_velocities(jnp.ones(2), jnp.zeros(2)), [1, 1])
