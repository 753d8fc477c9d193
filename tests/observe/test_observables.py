"""What a record says: drift error, relative entropies and histograms against closed forms."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem
from scipy.stats import norm

import kjko
from kjko.interfaces import Applied, FitInfo
from kjko.methods.sequential import SequentialInfo
from kjko.observe import Observer, Start, check
from kjko.observe.bins import NUMBER, histogram
from kjko.observe.failure import CHECKED
from kjko.observe.marginals import marginal_kl
from kjko.reference.gaussian import exact_gaussian
from kjko.simulation import take_step

KEYS = [
    *("step", "time", "energy_kinetic", "energy_potential", "energy_external", "field_energy"),
    *("momentum", "entropy", "free_energy", "kl_stationary"),
    *("entropy_plain", "free_energy_plain", "kl_stationary_plain", "mass_check", "drift_error"),
    *("loss", "loss_heldout", "fit_r2", "unresolved", "fit_iterations", "det_min", "score_check"),
    *("marginal_kl_x", "marginal_kl_v", "seconds"),
]
DT = 0.2


def method_of(splitting, d, fit=None):
    return kjko.JKO(kjko.Affine(d), fit or kjko.Adam(), splitting)


def start_of(problem, particles, splitting=None):
    method = method_of(splitting or kjko.StrangMidpoint(), particles.v.shape[1])
    return Start(problem, method, particles)


def record_of(problem, particles, splitting=None, step=0, info=None, start=None):
    """The record of particles that a run is said to have after some steps."""
    start = start or start_of(problem, particles, splitting)
    state = start.method.init(problem, particles, DT)
    state = eqx.tree_at(lambda s: s.step, state, jnp.asarray(step))
    return Observer(start)(state, info)


def info_with(u, particles, loss_heldout=jnp.nan, when=1.0):
    fit = FitInfo(jnp.asarray(-0.25), jnp.asarray(loss_heldout), 7)
    applied = Applied(u, particles, jnp.asarray(when), True)
    return SequentialInfo(fit, applied, jnp.asarray(0.5))


def exact_drift(problem, particles, time):
    """−ε (v + T₀ ∇ᵥ log f) of the exact law at a time."""
    law = kjko.Gaussian(*exact_gaussian(problem).at(time))
    score = jax.vmap(jax.grad(law.log_density, argnums=1))(particles.x, particles.v)
    return -problem.collisions.rate * (particles.v + problem.temperature * score)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(
    ("splitting", "wrong"),
    [(kjko.Lie(), kjko.StrangMidpoint()), (kjko.StrangMidpoint(), kjko.Lie())],
    ids=["at the end", "at the midpoint"],
)
def test_drift_error_of_the_exact_control(splitting, wrong, d, double):
    """Zero where the control lives, and nowhere else; the mean square of what is added to it."""
    problem = asymmetric_problem(d)
    particles = kjko.sample(problem.law, 30, 1)
    u = exact_drift(problem, particles, (3 + splitting.fraction) * DT)
    others = kjko.sample(problem.law, 30, 2)  # not looked at: u lives at the middle

    def drift_error(u, splitting=splitting):
        info = info_with(u, particles, when=splitting.fraction)
        return record_of(problem, others, splitting, 4, info)["drift_error"]

    assert drift_error(u) == pytest.approx(0, abs=1e-20)
    assert drift_error(u, wrong) > 1e-4
    offset = jnp.array([0.3, -0.4])[None, :d]
    assert drift_error(u + offset) == pytest.approx(float(jnp.sum(offset**2)), rel=1e-8)


@pytest.mark.parametrize("splitting", [kjko.Lie(), kjko.StrangMidpoint()], ids=repr)
def test_a_step_tells_where_its_control_lives(splitting, double):
    """`applied` is the stage moved by the step that the control is fitted for."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 20)
    method = method_of(splitting, 2, kjko.Adam(5, held_out=0.0))
    state, info = take_step(problem, method, method.init(problem, particles, DT))
    u, control = info.applied.u, state.memory
    stage, _ = splitting.prepare(problem, None, particles, jnp.zeros(()), DT)
    assert jnp.abs(u).max() > 0.01
    np.testing.assert_allclose(u, jax.vmap(control)(stage.x, stage.v), atol=1e-14)
    expected = stage.v_free + splitting.fraction * DT * u
    np.testing.assert_allclose(info.applied.particles.v, expected, atol=1e-14)
    np.testing.assert_allclose(info.applied.particles.x, stage.x_free, atol=1e-14)
    assert info.applied.when == splitting.fraction


def stationary_law(problem):
    exact = exact_gaussian(problem)
    return kjko.Gaussian(exact.mean_stationary, exact.covariance_stationary)


@pytest.mark.parametrize("d", [1, 2])
def test_kl_to_the_stationary_law(d, double):
    """Between two Gaussians it is known in closed form."""
    problem = asymmetric_problem(d)
    law, end = problem.law, stationary_law(problem)
    particles = kjko.sample(law, 4000, 3)
    mean, covariance = np.asarray(law.mean), np.asarray(law.covariance)
    precision = np.linalg.inv(end.covariance)
    shift = mean - np.asarray(end.mean)
    log_dets = [np.linalg.slogdet(c)[1] for c in (end.covariance, covariance)]
    kl = np.trace(precision @ covariance) + shift @ precision @ shift - 2 * d
    kl = 0.5 * (kl + log_dets[0] - log_dets[1])
    ratio = particles.log_f - jax.vmap(end.log_density)(particles.x, particles.v)
    error = float(np.std(ratio)) / np.sqrt(4000)
    record = record_of(problem, particles)
    assert abs(record["kl_stationary"] - kl) < 5 * error < 0.3 * kl
    assert record["kl_stationary"] == pytest.approx(float(np.mean(ratio)), abs=1e-6)


def test_at_equilibrium_kl_is_zero_without_noise(double):
    problem = asymmetric_problem(2)
    particles = kjko.sample(stationary_law(problem), 5)
    assert record_of(problem, particles)["kl_stationary"] == pytest.approx(0, abs=1e-6)


def test_missing_mass_in_spite_of_a_particle_that_is_far_off(double):
    """A fiftieth of the mass is missing; one of 20,000 densities is much too low."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(stationary_law(problem), 20_000)
    log_f = (particles.log_f + 0.02).at[7].add(-8)
    record = record_of(problem, kjko.Particles(particles.x, particles.v, log_f))
    assert record["kl_stationary_plain"] == pytest.approx(0.02 - 8 / 20_000, abs=1e-6)
    assert record["kl_stationary"] == pytest.approx(0, abs=2e-3)
    assert record["mass_check"] == pytest.approx(np.exp(-0.02) * (1 + np.exp(8) / 20_000), rel=1e-3)


def test_averages(double):
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 50)
    record = record_of(problem, particles)
    well = problem.flow.potential
    y = np.asarray(particles.x) - np.asarray(well.center)
    potential = 0.5 * np.mean(np.sum(y @ np.asarray(well.stiffness) * y, axis=1))
    kinetic = 0.5 * np.mean(np.sum(np.asarray(particles.v) ** 2, axis=1))
    entropy = np.mean(np.asarray(particles.log_f))
    assert record["energy_kinetic"] == pytest.approx(kinetic, rel=1e-12)
    assert record["energy_potential"] == pytest.approx(potential, rel=1e-12)
    assert record["energy_external"] == record["energy_potential"]
    assert record["entropy"] == pytest.approx(entropy, rel=1e-12)
    assert record["free_energy"] == pytest.approx(kinetic + potential + 1.3 * entropy, rel=1e-12)


def test_averages_are_of_the_mass_of_the_problem(double):
    """All but the relative entropies, which are of laws of mass one; log f has log M in it."""
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 50)
    heavy = kjko.Problem(problem.flow, problem.collisions, problem.law, mass=2.5)
    one, many = record_of(problem, particles), record_of(heavy, particles)
    for key in ("energy_kinetic", "energy_potential", "energy_external"):
        assert many[key] == pytest.approx(2.5 * one[key], rel=1e-12)
    assert many["momentum"] == pytest.approx([2.5 * p for p in one["momentum"]], rel=1e-12)
    assert many["entropy"] == pytest.approx(2.5 * (one["entropy"] + np.log(2.5)), rel=1e-12)
    free_energy = 2.5 * (one["free_energy"] + 1.3 * np.log(2.5))
    assert many["free_energy"] == pytest.approx(free_energy, rel=1e-12)
    for key in ("kl_stationary", "marginal_kl_x", "marginal_kl_v"):
        assert many[key] == one[key]


def test_marginal_kl_of_a_known_histogram(double):
    fraction = jnp.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]])
    mass = np.array([[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]])
    np.testing.assert_allclose(marginal_kl(fraction, mass), [0.5 * np.log(2), 0], atol=1e-15)


def test_marginal_kl_of_particles_in_one_bin(double):
    """−log of the stationary mass there: of a bin inside in v, of a half-line in x."""
    problem = asymmetric_problem(1)
    law = stationary_law(problem)
    ends = kjko.sample(law, 100)
    start = start_of(problem, ends)
    bins = start.bins
    many = jnp.ones((100, 1))
    low, high = bins.v_edges[0, 70:72]
    last = bins.x_edges[0, -2]
    particles = kjko.Particles(many * (last + 1e-3), many * 0.5 * (low + high), jnp.zeros(100))
    record = record_of(problem, particles, start=start)
    in_v = norm.cdf(high, scale=np.sqrt(1.3)) - norm.cdf(low, scale=np.sqrt(1.3))
    in_x = norm.sf(last, law.mean[0], np.sqrt(law.covariance[0, 0]))
    assert record["marginal_kl_v"] == [pytest.approx(-np.log(in_v), rel=1e-10)]
    assert record["marginal_kl_x"] == [pytest.approx(-np.log(in_x), rel=1e-3)]


@pytest.mark.parametrize("d", [1, 2])
def test_bins_hold_all_particles_and_all_mass(d, double):
    problem = asymmetric_problem(d)
    particles = kjko.sample(problem.law, 1000)
    bins = start_of(problem, particles).bins
    for edges, mass, values in (
        (bins.x_edges, bins.x_mass, particles.x),
        (bins.v_edges, bins.v_mass, particles.v),
    ):
        assert edges.shape == (d, NUMBER + 1)
        assert mass is not None and mass.shape == (d, NUMBER)
        np.testing.assert_allclose(mass.sum(axis=1), 1, atol=1e-12)
        assert np.all(edges[:, 0] <= np.min(values, axis=0))
        assert np.all(edges[:, -1] >= np.max(values, axis=0))


def test_marginals_of_equilibrium_are_near_it(double):
    """With n exact samples the mean is about (bins − 1)/(2n)."""
    problem = asymmetric_problem(2)
    number = 20_000
    record = record_of(problem, kjko.sample(stationary_law(problem), number))
    for kl in (*record["marginal_kl_x"], *record["marginal_kl_v"]):
        assert 0 < kl < 1.5 * (NUMBER - 1) / (2 * number)


def test_histogram_with_values_outside(double):
    """What lies outside is counted in the end bins."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 2)) * [1.0, 3.0]
    edges = np.stack([np.linspace(-1.0, 2.0, 11), np.linspace(-4.0, 1.0, 11)])
    expected = [
        np.histogram(np.clip(column, e[0], e[-1]), e)[0] / 400
        for column, e in zip(values.T, edges, strict=True)
    ]
    outside = np.mean((values < edges[:, 0]) | (values > edges[:, -1]))
    assert outside > 0.1
    np.testing.assert_allclose(histogram(jnp.asarray(values), edges), expected, atol=1e-15)


GOOD = {"step": 3, "time": 0.6, **dict.fromkeys(CHECKED, 1.0)}


def test_check_lets_good_records_pass():
    check(GOOD)
    check(GOOD | {"loss": None, "det_min": None, "entropy": -5.0, "loss_heldout": np.nan})


@pytest.mark.parametrize("first", range(len(CHECKED)))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_names_the_first_bad_quantity(first, bad):
    order = ("loss", "det_min", "energy_kinetic", "energy_potential", "entropy")
    record = GOOD | dict.fromkeys(order[first:], bad)
    message = rf"^{order[first]} is not finite at step 3 \("
    if order[first] == "det_min" and np.isnan(bad):
        message = r"^the collision cannot be cut into parts fine enough at step 3 \("
    with pytest.raises(kjko.NumericalFailure, match=message):
        check(record)


def test_check_sees_energy_from_nowhere():
    """A rise by more than half of the kinetic energy; less is the flow's own error."""
    before = GOOD | {"free_energy_plain": -2.0, "energy_kinetic": 1.0}
    check(GOOD | {"free_energy_plain": -1.6, "energy_kinetic": 1.2}, before)
    check(GOOD | {"free_energy_plain": None}, before)
    message = r"^free energy rises from -2 to 30 at step 3 \(t = 0.6\): the force is not resolved"
    with pytest.raises(kjko.NumericalFailure, match=message):
        check(GOOD | {"free_energy_plain": 30.0, "energy_kinetic": 40.0}, before)


@pytest.mark.parametrize("det_min", [0.0, -0.25])
def test_check_sees_a_fold(det_min):
    message = rf"^det_min = {det_min:.3g} at step 3 \(t = 0.6\): the map folds"
    with pytest.raises(kjko.NumericalFailure, match=message):
        check(GOOD | {"det_min": det_min, "entropy": np.nan})


def test_a_record_has_the_keys_in_order(double):
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 100)
    start = record_of(problem, particles)
    u = jnp.zeros_like(particles.v)
    later = record_of(problem, particles, step=4, info=info_with(u, particles, -0.125))
    assert list(start) == list(later) == KEYS
    of_a_step = {"drift_error", "loss", "loss_heldout", "fit_iterations", "det_min", "score_check"}
    of_values = {"fit_r2", "unresolved"}
    of_a_field = {"field_energy"}
    assert {key for key in KEYS if start[key] is None} == (
        of_a_step | of_values | of_a_field | {"seconds"}
    )
    assert {key for key in KEYS if later[key] is None} == of_values | of_a_field | {"seconds"}
    assert (start["step"], start["time"]) == (0, 0.0)
    assert (later["step"], later["time"]) == (4, pytest.approx(4 * DT))
    assert (later["loss"], later["loss_heldout"]) == (-0.25, -0.125)
    assert (later["fit_iterations"], later["det_min"]) == (7, 0.5)
    types = {type(value) for value in later.values()}
    assert types == {int, float, list, type(None)}  # all that JSON takes, nothing of numpy or jax


def test_what_has_no_meaning_is_none(double):
    """No held-out particles, no exact law, no stationary law."""
    law = asymmetric_problem(1).law
    problem = kjko.Problem(kjko.External(lambda x: 0.1 * x[0]), law=law)
    particles = kjko.sample(law, 100)
    record = record_of(problem, particles, step=1, info=info_with(particles.v, particles))
    missing = {key for key in KEYS if record[key] is None}
    of_a_step = {"drift_error", "loss_heldout", "fit_r2", "unresolved", "seconds"}
    unknown = {"kl_stationary", "kl_stationary_plain", "mass_check", "marginal_kl_x"}
    assert missing == {"field_energy"} | unknown | of_a_step
    assert len(record["marginal_kl_v"]) == 1


class Infinite(kjko.interfaces.AbstractObservable):
    """Two numbers that are not finite, of which a run is stopped for one."""

    keys: ClassVar[tuple[str, ...]] = ("mine", "loss")

    def measure(self, problem, state, info):
        return {"mine": jnp.asarray(jnp.inf), "loss": jnp.asarray(jnp.nan)}


def test_what_is_not_finite_is_none():
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 20)
    state = kjko.Langevin().init(problem, particles, 0.1)
    record = Observer(Start(problem, kjko.Langevin(), particles), [Infinite()])(state, None)
    assert record["mine"] is None and np.isnan(record["loss"])


def test_marginals_in_a_box_are_of_the_box(double):
    position = kjko.CosinePosition(np.array([2.0]), np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    sine = kjko.Sine(np.array([2.0]), 0.7)
    problem = kjko.Problem(kjko.External(sine), law=law, box=kjko.Box(np.array([2.0])))
    particles = kjko.sample(law, 20)
    bins = start_of(problem, particles).bins
    np.testing.assert_allclose(bins.x_edges[0], np.linspace(0, 2, NUMBER + 1), atol=1e-12)
    middle = 0.5 * (bins.x_edges[0, 1:] + bins.x_edges[0, :-1])
    density = np.exp(-0.7 * np.sin(np.pi * middle))
    np.testing.assert_allclose(bins.x_mass[0], density / density.sum(), rtol=1e-3)
    assert record_of(problem, particles)["kl_stationary"] is not None


def test_no_free_energy_where_it_would_mean_nothing(double):
    """A tilt does work that no energy accounts for; particles among themselves have no bath."""
    law, box = wave_law(), kjko.Box([2.0])
    particles = kjko.sample(law, 20)
    tilted = kjko.Problem(kjko.Uniform([0.3]), law=law, box=box)
    record = record_of(tilted, particles)
    assert record["entropy"] is not None and record["marginal_kl_v"] is not None
    assert [record[key] for key in ("free_energy", "kl_stationary", "marginal_kl_x")] == [None] * 3
    assert record["energy_potential"] == 0 and "energy_external" not in record
    flow = kjko.External(kjko.Sine([2.0]))
    record = record_of(kjko.Problem(flow, kjko.Dougherty(0.5), law, box), particles)
    missing = [record[key] for key in ("free_energy", "kl_stationary", "marginal_kl_v")]
    assert record["entropy"] is not None and missing == [None] * 3


def wave_law():
    position = kjko.CosinePosition([2.0], [0.5], [1])
    return kjko.Product(position, [[0.4]], [[[0.7]]], [1.0])


def test_drift_error_in_a_bath_of_the_particles(double):
    """u* = −ε (v − ū + T ∂ᵥ log f), with ū and T of the particles where the control acts."""
    law, box = wave_law(), kjko.Box([2.0])
    problem = kjko.Problem(kjko.Uniform([0.3]), kjko.Dougherty(0.5), law, box)
    particles = kjko.sample(law, 30)

    class Known:
        def knows(self, time):
            return time == 3.5 * DT

        def score(self, time, x, v):
            return np.sin(x) - v**2

    v = np.asarray(particles.v)
    u = -0.5 * (v - v.mean() + v.var() * (np.sin(particles.x) - v**2))
    state = kjko.Langevin().init(problem, particles, DT)
    state = eqx.tree_at(lambda s: s.step, state, jnp.asarray(4))
    for when, expected in ((0.5, pytest.approx(0.09, rel=1e-10)), (1.0, None)):
        info = info_with(jnp.asarray(u + 0.3), particles, when=when)
        observable = kjko.DriftError(Known())
        found = observable.record(problem, state, observable.measure(problem, state, info))
        assert found == {"drift_error": expected}


def test_positions_are_not_wrapped(double):
    """Uniform acceleration through a small box, without collisions: ½ a t² + v t of each."""
    law, box = wave_law(), kjko.Box([2.0])
    problem = kjko.Problem(kjko.Uniform([3.0]), kjko.NoCollisions(), law, box)
    particles, end = kjko.sample(law, 40), 2.0
    run = kjko.simulate(
        *(problem, kjko.Langevin(), particles),
        **{"time_step": 0.1, "end_time": end, "observables": (kjko.Positions(),)},
    )
    records = [record for _, record in run]
    moved = 1.5 * end**2 + end * np.asarray(particles.v)
    x = np.asarray(particles.x) + moved
    assert moved.min() > 2.0  # all have left the box
    assert list(records[0]) == [*("step", "time", "position_mean", "position_variance", "seconds")]
    assert records[0]["position_mean"] == [pytest.approx(float(jnp.mean(particles.x)), rel=1e-12)]
    assert records[-1]["position_mean"] == [pytest.approx(x.mean(), rel=1e-12)]
    assert records[-1]["position_variance"] == [pytest.approx(x.var(), rel=1e-12)]
