"""The whole solver: every method with every integrator, sampled moments, compilation, memory."""

import tracemalloc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import asymmetric_problem
from test_transport import INTEGRATORS

import kjko
from kjko.interfaces import AbstractFit, FitResult
from kjko.reference import exact_gaussian

METHODS = (kjko.JKO("exact"), kjko.JKO("linear"))


def last(iterator):
    *_, end = iterator
    return end


def affine_solver(integrator, method, dt):
    fit = kjko.Adam(steps=150, learning_rate=0.05)
    return kjko.Solver(kjko.Affine(2), dt, integrator, method, fit)


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("integrator", INTEGRATORS, ids=repr)
def test_asymmetric_gaussian(integrator, method):
    """Moments and E[log f] within five standard errors of the exact law plus the time-step error.

    The time-step error is bounded by the difference to half the time step.
    """
    problem = asymmetric_problem(2)
    number = 4000
    particles = kjko.sample(problem.law, number, 1)
    ends = {}
    for dt in (0.1, 0.05):
        state, record = last(
            kjko.simulate(problem, affine_solver(integrator, method, dt), particles, 0.5)
        )
        z = np.concatenate([state.particles.x, state.particles.v], axis=1)
        ends[dt] = z.mean(axis=0), np.cov(z.T), record["entropy"], np.std(state.particles.log_f)
    coarse, fine = ends[0.1], ends[0.05]
    exact = exact_gaussian(problem)
    mean, covariance = exact.at(0.5)
    scale = np.sqrt(np.diag(covariance))
    root = np.sqrt(number)
    bound = 5 * scale / root + np.abs(fine[0] - coarse[0])
    assert np.all(np.abs(fine[0] - mean) < bound)
    bound = 5 * np.sqrt(2) * np.outer(scale, scale) / root + np.abs(fine[1] - coarse[1])
    assert np.all(np.abs(fine[1] - covariance) < bound)
    bound = 5 * fine[3] / root + abs(fine[2] - coarse[2])
    assert abs(fine[2] - exact.entropy(0.5)) < bound


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=repr)
def test_log_f_is_the_density_on_fresh_particles(integrator):
    """Controls fitted on one sample carry another, which they never saw: E[log f] still fits.

    Every step replays the first run's control on the second sample.
    """
    problem = asymmetric_problem(2)
    solver = affine_solver(integrator, kjko.JKO(), 0.05)
    fresh = solver.init(problem, kjko.sample(problem.law, 4000, 99))
    still = eqx.tree_at(lambda s: s.fit, solver, Replay())
    key = jax.random.key(0)
    for state, _ in kjko.simulate(problem, solver, kjko.sample(problem.law, 4000, 1), 0.5):
        if int(state.step):
            fresh = eqx.tree_at(lambda s: s.control, fresh, state.control)
            fresh, _ = still.step(problem, fresh, key)
    log_f = np.asarray(fresh.particles.log_f)
    expected = exact_gaussian(problem).entropy(0.5)
    time_step_error = 0.05 if integrator.fraction == 1 else 0.005
    assert abs(log_f.mean() - expected) < 5 * log_f.std() / np.sqrt(4000) + time_step_error


class Replay(AbstractFit):
    """Keep the control that the state has."""

    def __call__(self, objective, control, previous, stage, key):
        nothing = jnp.zeros(())
        return FitResult(previous, nothing, nothing, 0)


class Counted(eqx.Module):
    """A potential that counts how often it is traced."""

    traces: list = eqx.field(static=True)

    def __call__(self, x):
        self.traces.append(1)
        return jnp.sum(x**2)

    def __hash__(self):
        return id(self.traces)


def small_solver():
    fit = kjko.Adam(steps=2)
    return kjko.Solver(kjko.MLP(1, (4,), key=jax.random.key(0)), 0.1, fit=fit)


def test_one_compilation_a_run():
    law = asymmetric_problem(1).law
    counts = []
    for end_time in (0.1, 0.5):
        potential = Counted([])
        problem = kjko.Problem(kjko.External(potential), law)
        last(kjko.simulate(problem, small_solver(), kjko.sample(law, 50), end_time))
        counts.append(len(potential.traces))
    assert counts[0] == counts[1] > 0


def test_memory_does_not_grow_with_the_steps():
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 5000)
    live = []
    tracemalloc.start()
    for state, _ in kjko.simulate(problem, small_solver(), particles, 6.0):
        if int(state.step) in (20, 60):
            arrays = sum(array.nbytes for array in jax.live_arrays())
            live.append((arrays, tracemalloc.get_traced_memory()[0]))
    tracemalloc.stop()
    (arrays_early, python_early), (arrays_late, python_late) = live
    assert arrays_late <= arrays_early
    assert python_late < python_early + 100_000


def test_same_seed_same_numbers():
    problem = asymmetric_problem(1)
    particles = kjko.sample(problem.law, 100)

    def run(seed):
        return last(kjko.simulate(problem, small_solver(), particles, 0.3, seed))[0].particles.v

    np.testing.assert_array_equal(run(0), run(0))
    assert np.abs(run(0) - run(1)).max() > 0


def test_a_non_finite_value_stops_the_run():
    problem = asymmetric_problem(1)
    control = eqx.tree_at(lambda c: c.bias, kjko.Affine(1), jnp.array([jnp.inf]))
    solver = kjko.Solver(control, 0.1, fit=Replay())
    with pytest.raises(kjko.NumericalFailure, match=r"energy_kinetic is not finite at step 1 \("):
        last(kjko.simulate(problem, solver, kjko.sample(problem.law, 50), 0.5))


def test_a_fold_stops_the_run():
    problem = asymmetric_problem(1)
    control = eqx.tree_at(lambda c: c.weight, kjko.Affine(1), jnp.array([[0.0, -25.0]]))
    solver = kjko.Solver(control, 0.1, fit=Replay())
    with pytest.raises(kjko.NumericalFailure, match="det_min = -1.5 at step 1"):
        last(kjko.simulate(problem, solver, kjko.sample(problem.law, 50), 0.5))


@pytest.mark.parametrize("keywords", [{"collision_rate": 0.0}, {"temperature": -1.0}])
def test_bad_problems_are_refused(keywords):
    problem = asymmetric_problem(1)
    with pytest.raises(ValueError, match=next(iter(keywords))):
        kjko.Problem(problem.force, problem.law, **keywords)


def test_a_periodic_law_needs_a_box():
    position = kjko.CosinePosition(np.ones(1), np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    with pytest.raises(ValueError, match="periodic"):
        kjko.Problem(kjko.External(kjko.Multiwell()), law)


def test_wrap_never_gives_the_end_of_the_box():
    box = kjko.Box(np.array([0.7]))
    ends = np.array([-1e-9, -1e-30, 0.0, 0.7, 1.4, np.nextafter(np.float32(0.7), np.float32(0))])
    wrapped = np.asarray(box.wrap(jnp.asarray(ends, dtype=jnp.float32)[:, None]))
    assert np.all((wrapped >= 0) & (wrapped < np.float32(0.7)))
