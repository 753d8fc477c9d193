"""Whole runs: JKO with every splitting, sampled moments, compilation, memory, what goes on."""

import math
import tracemalloc
from functools import cache
from itertools import islice
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SPLITTINGS, asymmetric_problem, last, strong_control

import kjko
from kjko.bases import Quadratics, Splines
from kjko.controls import Gradient
from kjko.fit import Newton
from kjko.interfaces import AbstractFit, FitInfo
from kjko.reference.gaussian import exact_gaussian
from kjko.simulation import take_step
from kjko.splitting import transport


def affine_jko(splitting, log_det="exact"):
    fit = kjko.Adam(steps=150, learning_rate=0.05)
    return kjko.JKO(kjko.Affine(2), fit, splitting, log_det)


def time_step_error(splitting, log_det="exact"):
    """What is allowed for it at dt = 0.05, beside the sampling error."""
    second_order = splitting.fraction == 0.5 and log_det == "exact"
    return 0.005 if second_order else 0.05


@cache
def asymmetric_run(splitting, log_det):
    """Every state and record up to t = 0.5."""
    problem = asymmetric_problem(2)
    method, particles = affine_jko(splitting, log_det), kjko.sample(problem.law, 4000, 1)
    return list(kjko.simulate(problem, method, particles, time_step=0.05, end_time=0.5))


@pytest.mark.parametrize("log_det", ["exact", "linear"])
@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_asymmetric_gaussian(splitting, log_det):
    """Moments and E[log f] within five standard errors and the time-step error of the exact law."""
    state, record = asymmetric_run(splitting, log_det)[-1]
    z = np.concatenate([state.particles.x, state.particles.v], axis=1)
    exact = exact_gaussian(asymmetric_problem(2))
    mean, covariance = exact.at(0.5)
    scale = np.sqrt(np.diag(covariance))
    root, allowed = np.sqrt(4000), time_step_error(splitting, log_det)
    assert np.all(np.abs(z.mean(axis=0) - mean) < 5 * scale / root + allowed)
    bound = 5 * np.sqrt(2) * np.outer(scale, scale) / root + allowed
    assert np.all(np.abs(np.cov(z.T) - covariance) < bound)
    bound = 5 * np.std(state.particles.log_f) / root + allowed
    assert abs(record["entropy"] - exact.entropy(0.5)) < bound


def test_the_default_control_on_an_asymmetric_gaussian():
    """log f at every particle is the exact law's there, but for the time-step error."""
    problem = asymmetric_problem(1)
    method, particles = kjko.JKO(Gradient(Splines(1))), kjko.sample(problem.law, 1000, 1)
    run = kjko.simulate(problem, method, particles, time_step=0.05, end_time=0.5)
    state, record = last(run)
    law = kjko.Gaussian(*exact_gaussian(problem).at(0.5))
    p = state.particles
    off = p.log_f - jax.vmap(law.log_density)(p.x, p.v)
    assert np.sqrt(np.mean(off**2)) < 1e-3
    assert record["drift_error"] < 1e-6 and record["fit_iterations"] <= 4


@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_log_f_is_the_density_on_fresh_particles(splitting):
    """Controls fitted on one sample carry another, which they never saw: E[log f] still fits.

    Every step replays the first run's control on the second sample.
    """
    problem = asymmetric_problem(2)
    method = affine_jko(splitting)
    fresh = method.init(problem, kjko.sample(problem.law, 4000, 99), 0.05)
    still = kjko.JKO(method.control, Replay(), splitting)
    for state, _ in asymmetric_run(splitting, "exact")[1:]:
        fresh = eqx.tree_at(lambda s: s.memory, fresh, state.memory)
        fresh, _ = take_step(problem, still, fresh)
    log_f = np.asarray(fresh.particles.log_f)
    expected = exact_gaussian(problem).entropy(0.5)
    bound = 5 * log_f.std() / np.sqrt(4000) + time_step_error(splitting)
    assert abs(log_f.mean() - expected) < bound


class Replay(AbstractFit):
    """Keep the control that the state has."""

    needs: ClassVar[tuple[str, ...]] = ()

    def refuses(self, control):
        return None

    def __call__(self, subproblem, control, previous, stage, key):
        nothing = jnp.zeros(())
        return previous, FitInfo(nothing, nothing, 0)


class Counted(eqx.Module):
    """A potential that counts how often it is traced."""

    traces: list = eqx.field(static=True)

    def __call__(self, x):
        self.traces.append(1)
        return jnp.sum(x**2)

    def __hash__(self):
        return id(self.traces)


def small_jko():
    return kjko.JKO(kjko.MLP(1, (4,), key=jax.random.key(0)), kjko.Adam(steps=2))


def test_one_compilation_a_run():
    law = asymmetric_problem(1).law
    counts = []
    for end_time in (0.1, 0.5):
        potential = Counted([])
        problem = kjko.Problem(kjko.External(potential), law=law)
        particles = kjko.sample(law, 50)
        last(kjko.simulate(problem, small_jko(), particles, time_step=0.1, end_time=end_time))
        counts.append(len(potential.traces))
    assert counts[0] == counts[1] > 0


def test_memory_does_not_grow_with_the_steps():
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 5000)
    live = []
    tracemalloc.start()
    for state, _ in kjko.simulate(problem, small_jko(), particles, time_step=0.1, end_time=6.0):
        if int(state.step) in (20, 60):
            arrays = sum(array.nbytes for array in jax.live_arrays())
            live.append((arrays, tracemalloc.get_traced_memory()[0]))
    tracemalloc.stop()
    (arrays_early, python_early), (arrays_late, python_late) = live
    assert arrays_late <= arrays_early
    assert python_late < python_early + 100_000


def test_same_seed_same_numbers():
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 5000)  # the step of the test before

    def run(seed):
        run = kjko.simulate(problem, small_jko(), particles, time_step=0.1, end_time=0.3, seed=seed)
        return last(run)[0].particles.v

    one, same, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_a_non_finite_value_stops_the_run():
    problem = asymmetric_problem(1)
    control = eqx.tree_at(lambda c: c.bias, kjko.Affine(1), jnp.array([jnp.inf]))
    method, particles = kjko.JKO(control, Replay()), kjko.sample(problem.law, 50)
    with pytest.raises(kjko.NumericalFailure, match=r"energy_kinetic is not finite at step 1 \("):
        last(kjko.simulate(problem, method, particles, time_step=0.1, end_time=0.5))


def test_a_fold_stops_the_run():
    problem = asymmetric_problem(1)
    control = eqx.tree_at(lambda c: c.weight, kjko.Affine(1), jnp.array([[0.0, -25.0]]))
    method = kjko.Score(control, Replay(), kjko.Lie())  # which is not cut
    particles = kjko.sample(problem.law, 50)
    with pytest.raises(kjko.NumericalFailure, match="det_min = -1.5 at step 1"):
        last(kjko.simulate(problem, method, particles, time_step=0.1, end_time=0.5))


@pytest.mark.parametrize(
    ("part", "keywords"),
    [
        (kjko.FokkerPlanck, {"rate": -0.1}),
        (kjko.FokkerPlanck, {"rate": 0.0}),
        (kjko.FokkerPlanck, {"temperature": -1.0}),
        (kjko.NoCollisions, {"temperature": -1.0}),
        (kjko.Dougherty, {"rate": -0.1}),
        (lambda **given: kjko.Problem(kjko.External(kjko.Multiwell()), **given), {"mass": -1.0}),
    ],
)
def test_bad_problems_are_refused(part, keywords):
    name, value = next(iter(keywords.items()))
    with pytest.raises(ValueError, match=f"^{name}: must be > 0.*, got {value}$"):
        part(**keywords)


def test_a_periodic_law_needs_a_box():
    position = kjko.CosinePosition(np.ones(1), np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    with pytest.raises(ValueError, match="periodic"):
        kjko.Problem(kjko.External(kjko.Multiwell()), law=law)


def test_wrap_never_gives_the_end_of_the_box():
    box = kjko.Box(np.array([0.7]))
    ends = np.array([-1e-9, -1e-30, 0.0, 0.7, 1.4, np.nextafter(np.float32(0.7), np.float32(0))])
    x = jnp.asarray(ends, dtype=jnp.float32)[:, None]
    wrapped, turns = map(np.asarray, box.wrap(x))
    assert np.all((wrapped >= 0) & (wrapped < np.float32(0.7)))
    np.testing.assert_allclose(wrapped + turns * np.float32(0.7), x, atol=1e-6)


@pytest.mark.parametrize("splitting", [kjko.StrangMidpoint(), kjko.SymplecticEuler()], ids=repr)
def test_a_particle_that_leaves_the_box_comes_back(splitting, double):
    """On both sides, over several lengths; nothing else of the step changes."""
    length = (0.7, 2.0)
    flow = kjko.External(kjko.Sine(np.array(length), 0.3))
    cosine = kjko.CosinePosition(np.array(length), np.full(2, 0.5), np.ones(2))
    periodic = kjko.Product(cosine, np.zeros((1, 2)), np.eye(2)[None], np.ones(1))
    x = jnp.asarray([[0.69, 1.0], [0.01, 1.99], [0.3, 0.5], [0.6, 0.01]])
    v = jnp.asarray([[1.0, 0.1], [-1.0, 2.0], [-20.0, 30.0], [0.1, -0.3]])
    particles = kjko.Particles(x, v, jnp.arange(4.0))
    control = kjko.Periodic(kjko.Affine(2, 4), length)
    fit = kjko.Adam(steps=3, held_out=0.0)
    method = kjko.JKO(control, fit, splitting)
    ends, counted = [], []
    for law, box in (
        (periodic, kjko.Box(np.array(length))),
        (kjko.Gaussian(np.zeros(4), np.eye(4)), None),
    ):
        problem = kjko.Problem(flow, law=law, box=box)
        state, _ = take_step(problem, method, method.init(problem, particles, 0.1))
        ends.append(state.particles)
        counted.append(state.turns)
    inside, free = ends
    assert np.all((inside.x >= 0) & (np.asarray(inside.x) < np.array(length)))
    turns = (np.asarray(free.x) - np.asarray(inside.x)) / np.array(length)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-12)
    assert np.unique(np.round(turns)).size >= 4  # out on either side, and far
    np.testing.assert_array_equal(counted[0], np.round(turns))
    assert counted[1] is None
    np.testing.assert_allclose(inside.v, free.v, atol=1e-14)
    np.testing.assert_allclose(inside.log_f, free.log_f, atol=1e-14)


@pytest.mark.parametrize("splitting", SPLITTINGS, ids=repr)
def test_blocks_make_no_difference(splitting, monkeypatch, double):
    """The last block is a smaller one."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, 41)
    stage, _ = splitting.prepare(problem, None, particles, jnp.zeros(()), 0.1)
    control = strong_control(2)
    whole = eqx.filter_jit(lambda *args: transport.response(*args))(control, stage)
    monkeypatch.setattr(transport, "BLOCK", 7)
    blocked = eqx.filter_jit(lambda *args: transport.response(*args))(control, stage)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(blocked), strict=True):
        assert a.shape == b.shape and a.shape[0] == 41
        np.testing.assert_allclose(a, b, atol=1e-13)


def gaussian_fits():
    """Fits that are exact for a Gaussian law."""
    return {
        "newton": (Gradient(Quadratics(1)), Newton()),
        "splines": (Gradient(Splines(1, (12, 6))), Newton()),
        "adam": (kjko.Affine(1), kjko.Adam(steps=150, learning_rate=0.05)),
    }


def free_energy(problem, exact, time):
    """In closed form, for φ = x² and T₀ = 1."""
    mean, covariance = exact.at(time)
    second = covariance + np.outer(mean, mean)
    return 0.5 * second[1, 1] + second[0, 0] + exact.entropy(time)


COLD, HOT = [[1, 0], [0, 0.02]], [[1, 0.5], [0.5, 20]]


@pytest.mark.parametrize(
    ("covariance", "name"),
    [
        pytest.param(COLD, "adam", id="cold-adam"),
        pytest.param(COLD, "newton", id="cold-newton"),
        pytest.param(COLD, "splines", id="cold-splines"),
        pytest.param(HOT, "adam", id="hot-adam"),
        pytest.param(HOT, "newton", id="hot-newton"),
        pytest.param(HOT, "splines", id="hot-splines"),
    ],
)
def test_strong_collisions(covariance, name, double):
    """εΔt = 2, from a law too cold or too hot: no fold, and down to the exact free energy."""
    law = kjko.Gaussian(np.array([0.0, 1.0]), np.array(covariance, dtype=float))
    potential = kjko.Quadratic(2 * np.eye(1), np.zeros(1))
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(10.0), law)
    particles, method = kjko.sample(law, 2000), kjko.JKO(*gaussian_fits()[name])
    run = list(kjko.simulate(problem, method, particles, time_step=0.2, end_time=1.0))
    energies = np.array([record["free_energy"] for _, record in run])
    assert all(record["det_min"] > 0.1 for _, record in run[1:])
    assert np.all(np.diff(energies) < 0)
    end = run[-1][0].particles
    energy = 0.5 * end.v[:, 0] ** 2 + end.x[:, 0] ** 2 + end.log_f
    exact = free_energy(problem, exact_gaussian(problem), 1.0)
    assert abs(energies[-1] - exact) < 5 * float(np.std(energy)) / np.sqrt(2000) + 0.05


class Whole(kjko.StrangMidpoint):
    """The collision in one part."""

    largest: ClassVar[float] = math.inf


def test_parts_are_more_accurate(double):
    """εΔt = 0.9, from a hot law of the sample's own moments, so that there is no sampling error."""
    law = kjko.Gaussian(np.array([0.5, 1.0]), np.array([[1.0, 0.3], [0.3, 4.0]]))
    potential = kjko.Quadratic(2 * np.eye(1), np.zeros(1))
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(4.5), law)
    sample = kjko.sample(law, 2000)  # the step of `test_strong_collisions`
    z = np.concatenate([sample.x, sample.v], axis=1)
    own = kjko.Gaussian(z.mean(axis=0), np.cov(z.T, bias=True))
    log_f = jax.vmap(own.log_density)(sample.x, sample.v)
    particles = eqx.tree_at(lambda p: p.log_f, sample, log_f)
    exact = exact_gaussian(problem, own.mean, own.covariance)
    errors = []
    for splitting in (kjko.StrangMidpoint(), Whole()):
        method = kjko.JKO(Gradient(Quadratics(1)), Newton(), splitting)
        run = kjko.simulate(problem, method, particles, time_step=0.2, end_time=0.4)
        state, record = last(run)
        mean, covariance = exact.at(0.4)
        z = np.concatenate([state.particles.x, state.particles.v], axis=1)
        start = float(np.mean(log_f)) - exact.entropy(0.0)
        errors.append(
            (
                np.abs(z.mean(axis=0) - mean).max(),
                np.abs(np.cov(z.T, bias=True) - covariance).max(),
                abs(record["entropy"] - start - exact.entropy(0.4)),
            )
        )
    assert np.all(np.array(errors[0]) < np.array(errors[1]))


def several_methods():
    """Of each kind; those that learn for all times are trained for six steps of 0.1."""
    fit, warm = kjko.Adam(steps=3), kjko.Adam(steps=3, warm_start=True)
    return {
        "splines": kjko.JKO(Gradient(Splines(1, (6, 3)))),
        "warm": kjko.JKO(kjko.MLP(1, (4,), key=jax.random.key(0)), warm),
        "score": kjko.Score(kjko.Affine(1), warm),
        "score-end-to-end": kjko.ScoreEndToEnd(kjko.AffineInTime(1, 0.6), fit),
        "velocity-matching": kjko.VelocityMatching(kjko.AffineInTime(1, 0.6, outputs=2), fit),
        "langevin": kjko.Langevin(),
    }


@pytest.mark.parametrize("name", several_methods())
def test_a_run_goes_on_where_it_stopped(name):
    """Bit by bit, in state and record; what was trained is not trained again."""
    method, problem = several_methods()[name], asymmetric_problem(1)
    particles = kjko.sample(problem.law, 60)
    start = {"time_step": 0.1, "end_time": 0.6, "seed": 3}
    whole = list(kjko.simulate(problem, method, particles, **start))
    *_, (stopped, _) = islice(kjko.simulate(problem, method, particles, **start), 3)
    rest = list(kjko.simulate(problem, method, state=stopped, end_time=0.6))
    assert [record["step"] for _, record in rest] == [2, 3, 4, 5, 6]
    for (state, record), (again, same) in zip(whole[3:], rest[1:], strict=True):
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
            np.testing.assert_array_equal(a, b)
        for key in record.keys() - {"seconds", "marginal_kl_x", "marginal_kl_v"}:
            assert record[key] == same[key], key  # bins are those of the start


def test_a_state_comes_alone():
    problem, method = asymmetric_problem(1), kjko.Langevin()
    particles = kjko.sample(problem.law, 20)
    state = method.init(problem, particles, 0.1)
    for given in ({"particles": particles}, {"time_step": 0.1}):
        with pytest.raises(ValueError, match="^state: it has its particles and time_step"):
            next(kjko.simulate(problem, method, state=state, end_time=1.0, **given))
        with pytest.raises(ValueError, match="^particles, time_step: expected both, or a state"):
            next(kjko.simulate(problem, method, end_time=1.0, **given))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"time_step": 0.0, "end_time": 1.0}, "^time_step: must be > 0, got 0.0"),
        ({"time_step": -0.1, "end_time": 1.0}, "^time_step: must be > 0, got -0.1"),
        ({"time_step": 0.1, "end_time": 0.0}, "^end_time: expected 1 to 2.31 steps of time_step"),
        ({"time_step": 1e-12, "end_time": 1.0}, "^end_time: expected 1 to 2.31 steps of time_step"),
    ],
)
def test_lengths_of_time_that_make_no_run(lengths, message):
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 20)
    with pytest.raises(ValueError, match=message):
        next(kjko.simulate(problem, kjko.Langevin(), particles, **lengths))
