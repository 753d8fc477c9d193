"""What a record says: drift error, relative entropies and histograms against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import asymmetric_problem
from scipy.stats import norm

import kjko
from kjko.diagnostics import BINS, CHECKED, _marginal_kl, check, histogram, measure, references
from kjko.interfaces import FitResult
from kjko.reference import exact_gaussian
from kjko.solver import StepInfo

KEYS = [
    *("step", "time", "energy_kinetic", "energy_potential", "entropy", "free_energy"),
    *(
        "field_energy",
        "momentum",
        "kl_stationary",
        "drift_error",
        "loss",
        "loss_heldout",
        "fit_iterations",
        "det_min",
    ),
    *("marginal_kl_x", "marginal_kl_v", "seconds"),
]
DT = 0.2


def solver_of(integrator, d):
    return kjko.Solver(kjko.Affine(d), DT, integrator)


def record_of(problem, particles, integrator=None, step=0, info=None):
    """The record of particles that a run is said to have after some steps."""
    solver = solver_of(integrator or kjko.StrangMidpoint(), particles.v.shape[1])
    state = solver.init(problem, particles)
    state = eqx.tree_at(lambda s: s.step, state, jnp.asarray(step))
    return measure(problem, solver, references(problem, particles), state, info)


def info_with(u, middle, loss_heldout=jnp.nan, when=1.0):
    fit = FitResult(kjko.Affine(u.shape[1]), jnp.asarray(-0.25), jnp.asarray(loss_heldout), 7)
    return StepInfo(fit, u, middle, jnp.asarray(0.5), when)


def exact_drift(problem, particles, time):
    """−ε (v + T₀ ∇ᵥ log f) of the exact law at a time."""
    law = kjko.Gaussian(*exact_gaussian(problem).at(time))
    score = jax.vmap(jax.grad(law.log_density, argnums=1))(particles.x, particles.v)
    return -problem.collision_rate * (particles.v + problem.temperature * score)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(
    ("integrator", "wrong"),
    [(kjko.Lie(), kjko.StrangMidpoint()), (kjko.StrangMidpoint(), kjko.Lie())],
    ids=["at the end", "at the midpoint"],
)
def test_drift_error_of_the_exact_control(integrator, wrong, d, double):
    """Zero where the control lives, and nowhere else; the mean square of what is added to it."""
    problem = asymmetric_problem(d)
    particles = kjko.sample(problem.law, 30, 1)
    u = exact_drift(problem, particles, (3 + integrator.fraction) * DT)
    others = kjko.sample(problem.law, 30, 2)  # not looked at: u lives at the middle

    def drift_error(u, integrator=integrator):
        info = info_with(u, particles, when=integrator.fraction)
        return record_of(problem, others, integrator, 4, info)["drift_error"]

    assert drift_error(u) == pytest.approx(0, abs=1e-20)
    assert drift_error(u, wrong) > 1e-4
    offset = jnp.array([0.3, -0.4])[None, :d]
    assert drift_error(u + offset) == pytest.approx(float(jnp.sum(offset**2)), rel=1e-8)


@pytest.mark.parametrize("integrator", [kjko.Lie(), kjko.StrangMidpoint()], ids=repr)
def test_a_step_tells_where_its_control_lives(integrator, double):
    """`middle` is the stage moved by the step that the control is fitted for."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 20)
    solver = kjko.Solver(kjko.Affine(2), DT, integrator, fit=kjko.Adam(5, held_out=0.0))
    _, info = solver.step(problem, solver.init(problem, particles), jax.random.key(0))
    stage, _ = integrator.prepare(particles, problem.force, None, DT)
    assert jnp.abs(info.u).max() > 0.01
    np.testing.assert_allclose(info.u, jax.vmap(info.fit.control)(stage.x, stage.v), atol=1e-14)
    expected = stage.v_free + integrator.fraction * DT * info.u
    np.testing.assert_allclose(info.middle.v, expected, atol=1e-14)
    np.testing.assert_allclose(info.middle.x, stage.x_free, atol=1e-14)


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


def test_averages(double):
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 50)
    record = record_of(problem, particles)
    y = np.asarray(particles.x) - np.asarray(problem.force.potential.center)
    potential = 0.5 * np.mean(np.sum(y @ np.asarray(problem.force.potential.stiffness) * y, axis=1))
    kinetic = 0.5 * np.mean(np.sum(np.asarray(particles.v) ** 2, axis=1))
    entropy = np.mean(np.asarray(particles.log_f))
    assert record["energy_kinetic"] == pytest.approx(kinetic, rel=1e-12)
    assert record["energy_potential"] == pytest.approx(potential, rel=1e-12)
    assert record["entropy"] == pytest.approx(entropy, rel=1e-12)
    assert record["free_energy"] == pytest.approx(kinetic + potential + 1.3 * entropy, rel=1e-12)


def test_marginal_kl_of_a_known_histogram(double):
    fraction = jnp.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]])
    mass = np.array([[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]])
    np.testing.assert_allclose(_marginal_kl(fraction, mass), [0.5 * np.log(2), 0], atol=1e-15)


def test_marginal_kl_of_particles_in_one_bin(double):
    """−log of the stationary mass there: of a bin inside in v, of a half-line in x."""
    problem = asymmetric_problem(1)
    law = stationary_law(problem)
    ends = kjko.sample(law, 100)
    bins = references(problem, ends).bins
    many = jnp.ones((100, 1))
    low, high = bins.v_edges[0, 70:72]
    last = bins.x_edges[0, -2]
    particles = kjko.Particles(many * (last + 1e-3), many * 0.5 * (low + high), jnp.zeros(100))
    solver = solver_of(kjko.Lie(), 1)
    state = solver.init(problem, particles)
    record = measure(problem, solver, references(problem, ends), state, None)
    in_v = norm.cdf(high, scale=np.sqrt(1.3)) - norm.cdf(low, scale=np.sqrt(1.3))
    in_x = norm.sf(last, law.mean[0], np.sqrt(law.covariance[0, 0]))
    assert record["marginal_kl_v"] == [pytest.approx(-np.log(in_v), rel=1e-10)]
    assert record["marginal_kl_x"] == [pytest.approx(-np.log(in_x), rel=1e-3)]


@pytest.mark.parametrize("d", [1, 2])
def test_bins_hold_all_particles_and_all_mass(d, double):
    problem = asymmetric_problem(d)
    particles = kjko.sample(problem.law, 1000)
    bins = references(problem, particles).bins
    for edges, mass, values in (
        (bins.x_edges, bins.x_mass, particles.x),
        (bins.v_edges, bins.v_mass, particles.v),
    ):
        assert edges.shape == (d, BINS + 1)
        assert mass is not None and mass.shape == (d, BINS)
        np.testing.assert_allclose(mass.sum(axis=1), 1, atol=1e-12)
        assert np.all(edges[:, 0] <= np.min(values, axis=0))
        assert np.all(edges[:, -1] >= np.max(values, axis=0))


def test_marginals_of_equilibrium_are_near_it(double):
    """With n exact samples the mean is about (bins − 1)/(2n)."""
    problem = asymmetric_problem(2)
    number = 20_000
    record = record_of(problem, kjko.sample(stationary_law(problem), number))
    for kl in (*record["marginal_kl_x"], *record["marginal_kl_v"]):
        assert 0 < kl < 1.5 * (BINS - 1) / (2 * number)


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
    with pytest.raises(kjko.NumericalFailure, match=rf"^{order[first]} is not finite at step 3 \("):
        check(record)


@pytest.mark.parametrize("det_min", [0.0, -0.25])
def test_check_sees_a_fold(det_min):
    message = rf"^det_min = {det_min:.3g} at step 3 \(t = 0.6\): the map folds"
    with pytest.raises(kjko.NumericalFailure, match=message):
        check(GOOD | {"det_min": det_min, "entropy": np.nan})


def test_a_record_has_the_keys_in_order(double):
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 20)
    start = record_of(problem, particles)
    u = jnp.zeros_like(particles.v)
    later = record_of(problem, particles, step=4, info=info_with(u, particles, -0.125))
    assert list(start) == list(later) == KEYS
    of_a_step = {"drift_error", "loss", "loss_heldout", "fit_iterations", "det_min"}
    of_a_field = {"field_energy"}
    assert {key for key in KEYS if start[key] is None} == of_a_step | of_a_field | {"seconds"}
    assert {key for key in KEYS if later[key] is None} == of_a_field | {"seconds"}
    assert (start["step"], start["time"]) == (0, 0.0)
    assert (later["step"], later["time"]) == (4, pytest.approx(4 * DT))
    assert (later["loss"], later["loss_heldout"]) == (-0.25, -0.125)
    assert (later["fit_iterations"], later["det_min"]) == (7, 0.5)
    types = {type(value) for value in later.values()}
    assert types == {int, float, list, type(None)}  # all that JSON takes, nothing of numpy or jax


def test_what_has_no_meaning_is_none(double):
    """No held-out particles, no exact law, no stationary law."""
    law = asymmetric_problem(1).law
    problem = kjko.Problem(kjko.External(lambda x: 0.1 * x[0]), law)
    particles = kjko.sample(law, 20)
    record = record_of(problem, particles, step=1, info=info_with(particles.v, particles))
    missing = {key for key in KEYS if record[key] is None}
    of_a_step = {"drift_error", "loss_heldout", "seconds"}
    assert missing == {"field_energy", "kl_stationary", "marginal_kl_x"} | of_a_step
    assert len(record["marginal_kl_v"]) == 1


def test_marginals_in_a_box_are_of_the_box(double):
    position = kjko.CosinePosition(np.array([2.0]), np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    sine = kjko.Sine(np.array([2.0]), 0.7)
    problem = kjko.Problem(kjko.External(sine), law, box=kjko.Box(np.array([2.0])))
    particles = kjko.sample(law, 20)
    bins = references(problem, particles).bins
    np.testing.assert_allclose(bins.x_edges[0], np.linspace(0, 2, BINS + 1), atol=1e-12)
    middle = 0.5 * (bins.x_edges[0, 1:] + bins.x_edges[0, :-1])
    density = np.exp(-0.7 * np.sin(np.pi * middle))
    np.testing.assert_allclose(bins.x_mass[0], density / density.sum(), rtol=1e-3)
    assert record_of(problem, particles)["kl_stationary"] is not None
