"""What sweeps rely on: numbers are data, so that runs share one program, and jax goes through."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import last
from traces import traces_of

import kjko
from kjko.bases import Quadratics, Ridges, Splines
from kjko.controls import Gradient
from kjko.simulation import take_step

LAW = kjko.Gaussian([0.3, 1.0], [[1.0, 0.3], [0.3, 2.0]])
SETTINGS = {"rate": 0.7, "temperature": 1.3, "strength": 2.0, "push": 0.1}


def in_a_well(rate=0.7, temperature=1.3, strength=2.0):
    """A problem whose laws are all known."""
    well = kjko.External(kjko.Quadratic([[strength]], [0.0]))
    return kjko.Problem(well, kjko.FokkerPlanck(rate, temperature), LAW)


def problem_of(rate=0.7, temperature=1.3, strength=2.0, push=0.1):
    """A well of this strength, tilted by a push."""
    well = kjko.External(kjko.Quadratic(strength * jnp.eye(1), jnp.zeros(1)))
    flow = kjko.Sum(well, kjko.Uniform(push * jnp.ones(1)))
    return kjko.Problem(flow, kjko.FokkerPlanck(rate, temperature), LAW)


def default():
    return kjko.JKO(Gradient(Splines(1, (6, 3))))


def network(steps=3):
    return kjko.JKO(kjko.MLP(1, (4,), key=jax.random.key(0)), kjko.Adam(steps=steps))


METHODS = {
    "default": default,
    "network": network,
    "score": lambda: kjko.Score(kjko.Affine(1), kjko.Adam(steps=3)),
    "langevin": kjko.Langevin,
}


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_no_number_compiles_the_step_again(make):
    """Rate, temperature, potential, push, time step, seed and end; 0.9 / 0.1 are seven substeps."""
    particles = kjko.sample(LAW, 200)

    def run(time_step=0.1, end_time=0.2, seed=0, **settings):
        """How often the step was traced, and its end."""
        problem = problem_of(**settings)
        lengths = {"time_step": time_step, "end_time": end_time, "seed": seed}
        with traces_of("take_step") as traces:
            state, _ = last(kjko.simulate(problem, make(), particles, **lengths))
        return len(traces), np.asarray(state.particles.v)

    number, before = run()
    assert number == 1
    for change in (
        {"rate": 0.9},
        {"rate": 20.0},
        {"temperature": 0.4},
        {"strength": 1.1},
        {"push": -0.7},
        {"time_step": 0.05},
        {"end_time": 0.3},
        {"seed": 5},
    ):
        number, after = run(**change)
        assert number == 0, change
        assert np.abs(after - before).max() > 0 or (change, make) == ({"seed": 5}, default), change


def test_no_number_compiles_what_is_measured_again():
    """Nor do other particles."""
    last(kjko.simulate(in_a_well(), network(), kjko.sample(LAW, 200), time_step=0.1, end_time=0.1))
    for change in ({"rate": 0.9}, {"temperature": 0.4}, {"strength": 1.1}):
        particles = kjko.sample(LAW, 200, seed=1)
        with traces_of("") as traces:
            run = kjko.simulate(
                in_a_well(**change), network(), particles, time_step=0.1, end_time=0.1
            )
            last(run)
        assert not {"take_step", "_measure"} & set(traces), change


WIDTHS = np.array([[1.0, 0.3], [0.3, 2.0]])
KNOWN = {
    "gaussian": lambda mean: kjko.Gaussian(mean, WIDTHS),
    "mixture": lambda mean: kjko.GaussianMixture([mean, [-1.0, 0.2]], [WIDTHS, np.eye(2)]),
}


@pytest.mark.parametrize("law_of", KNOWN.values(), ids=KNOWN)
def test_nor_does_another_law_that_is_known(law_of):
    """It is not traced: each run has an object of its own for it."""

    def run(mean):
        law = law_of(mean)
        problem = kjko.Problem(in_a_well().flow, in_a_well().collisions, law)
        particles = kjko.sample(law, 50)
        with traces_of("_measure") as traces:
            _, record = last(
                kjko.simulate(problem, default(), particles, time_step=0.1, end_time=0.1)
            )
        return len(traces), record["drift_error"]

    (_, one), (traces, other) = run([0.3, 1.0]), run([0.1, 0.5])
    assert traces == 0 and one != other


def end_of(method, particles, steps=3, time_step=0.1, seed=0, **settings):
    """(v, log f) after some steps; everything may be traced."""
    problem = problem_of(**settings)
    state = method.init(problem, particles, time_step, seed)
    dynamic, static = eqx.partition(state, eqx.is_array)

    def step(dynamic, _):
        after, _ = take_step(problem, method, eqx.combine(dynamic, static))
        return eqx.filter(after, eqx.is_array), None

    dynamic, _ = jax.lax.scan(step, dynamic, length=steps)
    state = eqx.combine(dynamic, static)
    return state.particles.v, state.particles.log_f


BASE = {"rate": 0.7, "temperature": 1.3, "time_step": 0.1, "seed": 0}
SWEEP = [
    {},
    {"rate": 0.2},
    {"rate": 9.0},  # three substeps
    {"temperature": 0.5},
    {"time_step": 0.05},
    {"time_step": 0.5},  # three again
    {"seed": 1},
    {"rate": 2.0, "temperature": 2.0, "time_step": 0.2, "seed": 2},
]


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_runs_at_once_are_the_runs_one_by_one(make, double):
    """With rates, temperatures, time steps and seeds of their own."""
    method, particles = make(), kjko.sample(LAW, 60)
    settings = [BASE | change for change in SWEEP]
    swept = {name: jnp.asarray([one[name] for one in settings]) for name in BASE}
    together = jax.jit(jax.vmap(lambda given: end_of(method, particles, **given)))(swept)
    one_run = jax.jit(lambda given: end_of(method, particles, **given))
    for row, given in enumerate(settings):
        alone = one_run(jax.tree.map(jnp.asarray, given))
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[row], one, rtol=1e-8, atol=1e-8)
    v = np.asarray(together[0])
    for row, change in enumerate(SWEEP[1:], 1):
        if make is not default or change != {"seed": 1}:  # its fit is of all particles
            assert np.abs(v[row] - v[0]).max() > 1e-6, change


DIFFERENTIABLE = {
    "newton": lambda: kjko.JKO(Gradient(Quadratics(1))),
    "splines": default,
    "adam": lambda: kjko.JKO(kjko.Affine(1), kjko.Adam(4, 0.2, held_out=0.0)),
    "gauss-newton": lambda: kjko.JKO(kjko.Affine(1), kjko.GaussNewton(steps=4)),
    "score": lambda: kjko.Score(kjko.Affine(1), kjko.Adam(4, 0.2)),
    "langevin": kjko.Langevin,
}


@pytest.mark.parametrize("make", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_derivatives_are_differences(make, double):
    """Of the mean kinetic energy after two steps."""
    method, particles = make(), kjko.sample(LAW, 100)

    @jax.jit
    def energy(given):
        v, _ = end_of(method, particles, 2, **given)
        return 0.5 * jnp.mean(v**2)

    at = jax.tree.map(jnp.asarray, SETTINGS | {"time_step": 0.1})
    for name in at:
        along = {other: jnp.asarray(float(other == name)) for other in at}
        _, slope = jax.jvp(energy, (at,), (along,))
        ends = ({**at, name: at[name] + h} for h in (1e-5, -1e-5))
        above, below = map(energy, ends)
        difference = float(above - below) / 2e-5
        assert abs(difference) > 1e-3, name
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8, err_msg=name)


TYPES = METHODS | {
    "lie": lambda: kjko.JKO(Gradient(Splines(1, (6, 3))), splitting=kjko.Lie()),
    "ridges": lambda: kjko.JKO(
        Gradient(Ridges(1, 4, key=jax.random.key(0))), kjko.LevenbergMarquardt()
    ),
}


@pytest.mark.parametrize("make", TYPES.values(), ids=TYPES)
def test_a_step_keeps_the_types_of_its_state(make):
    """So that the second one is not compiled anew; and tells nothing in double precision."""
    method = make()
    before = method.init(in_a_well(), kjko.sample(LAW, 60), 0.1)
    after, info = eqx.filter_eval_shape(take_step, in_a_well(), method, before)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype, old.weak_type) == (new.shape, new.dtype, new.weak_type)
    told = eqx.filter(info, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(told)} <= {1, 4}


def test_a_step_without_a_loop_has_a_derivative_in_reverse():
    method, particles = kjko.Langevin(), kjko.sample(LAW, 60)
    state = method.init(in_a_well(), particles, 0.1)

    def energy(rate):
        after, _ = take_step(in_a_well(rate), method, state)
        return jnp.mean(after.particles.v**2)

    one = jnp.ones(())
    forward = jax.jvp(energy, (0.7 * one,), (one,))[1]
    assert jax.grad(energy)(0.7 * one) == pytest.approx(float(forward), rel=1e-4)


def test_transforms_in_single_precision():
    """Though the fit is in double precision: of steps in a loop, and of each other."""
    method, particles = kjko.JKO(Gradient(Quadratics(1))), kjko.sample(LAW, 60)

    @jax.jit
    def energy(rate):
        v, _ = end_of(method, particles, 2, **SETTINGS | {"rate": rate})
        return 0.5 * jnp.mean(v**2)

    rates = np.array([0.7, 0.2, 3.0], dtype=np.float32)
    alone = [energy(rate) for rate in rates]
    together, slopes = jax.vmap(energy)(rates), jax.vmap(jax.jacfwd(energy))(rates)
    assert together.dtype == slopes.dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    one_by_one = [jax.jvp(energy, (rate,), (np.float32(1),))[1] for rate in rates]
    np.testing.assert_allclose(slopes, one_by_one, rtol=1e-4)
