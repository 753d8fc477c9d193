"""The methods: each against the exact law, with every splitting; what they share and refuse."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import SPLITTINGS, asymmetric_problem, free_stage, last

import kjko
from kjko.case import BadInput, load
from kjko.methods import end_to_end, velocity_matching
from kjko.methods.score import ScoreStep
from kjko.methods.velocity_matching import _velocity_and_slopes
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.known import known_law
from kjko.run.loop import resume, start
from kjko.run.series import read_series
from kjko.splitting import transport
from kjko.splitting.transport import determinant, response

NUMBER, END, DT = 3000, 0.3, 0.05
END_TO_END = (kjko.ScoreEndToEnd, kjko.VelocityMatching)
METHODS = (kjko.Score, *END_TO_END, kjko.Langevin)  # JKO is in test_simulation


def outputs(kind, d):
    """How many numbers its control gives."""
    return 2 * d if kind is kjko.VelocityMatching else d


def method_of(kind, d=2, splitting=None, end=END, steps=150):
    """With a control that is exact for a Gaussian law, but for its polynomials in time."""
    if kind is kjko.Langevin:
        return kjko.Langevin(splitting or kjko.StrangMidpoint())
    control = kjko.Affine(d)
    if kind in END_TO_END:
        control = kjko.AffineInTime(d, end, outputs=outputs(kind, d), polynomials=3)
    fit = kjko.Adam(steps=steps, learning_rate=0.05)
    if kind is kjko.VelocityMatching:
        return kind(control, fit)
    return kind(control, fit, splitting or kjko.StrangMidpoint())


def time_step_error(kind, splitting):
    """What is allowed for it at dt = 0.05, beside the sampling error."""
    second_order = kind is kjko.VelocityMatching or (
        kind is not kjko.Score and splitting == kjko.StrangMidpoint()
    )
    return 0.01 if second_order else 0.06


def run(problem, method, particles, end_time=END, time_step=DT, seed=0):
    return kjko.simulate(
        problem, method, particles, time_step=time_step, end_time=end_time, seed=seed
    )


def grid_of_methods(kinds):
    """Every method with every splitting that it takes; one that uses none once."""
    taken = {
        kjko.VelocityMatching: (kjko.StrangMidpoint(),),
        kjko.Langevin: tuple(each for each in SPLITTINGS if each.acts_after),
    }
    for kind in kinds:
        for splitting in taken.get(kind, SPLITTINGS):
            yield pytest.param(kind, splitting, id=f"{kind.__name__}-{splitting!r}")


def name(kind):
    return kind.__name__


@pytest.mark.parametrize(("kind", "splitting"), list(grid_of_methods(METHODS)))
def test_asymmetric_gaussian(kind, splitting):
    """Mean, covariance and E[log f] within five standard errors and the time-step error."""
    problem = asymmetric_problem(2)
    particles = kjko.sample(problem.law, NUMBER, 1)
    method = method_of(kind, splitting=splitting)
    state, record = last(run(problem, method, particles))
    z = np.concatenate([state.particles.x, state.particles.v], axis=1)
    exact = exact_gaussian(problem)
    mean, covariance = exact.at(END)
    scale = np.sqrt(np.diag(covariance))
    root, allowed = np.sqrt(NUMBER), time_step_error(kind, splitting)
    assert np.all(np.abs(z.mean(axis=0) - mean) < 5 * scale / root + allowed)
    bound = 5 * np.sqrt(2) * np.outer(scale, scale) / root + allowed
    assert np.all(np.abs(np.cov(z.T) - covariance) < bound)
    if method.carries_density:
        bound = 5 * np.std(state.particles.log_f) / root + allowed
        assert abs(record["entropy"] - exact.entropy(END)) < bound
        assert record["drift_error"] < 0.02
    else:
        assert np.all(np.isnan(state.particles.log_f))


@pytest.mark.parametrize("kind", METHODS, ids=name)
def test_the_keys_are_those_of_every_method(kind):
    """Null where there is no density or no control."""
    problem = asymmetric_problem(1)
    method = method_of(kind, 1, end=2 * DT, steps=5)
    told = list(run(problem, method, kjko.sample(problem.law, 100), 2 * DT))
    assert [r["step"] for _, r in told] == [0, 1, 2]
    assert {tuple(r) for _, r in told} == {tuple(told[0][1])}
    null = {key for key, value in told[-1][1].items() if value is None} - {"field_energy"}
    of_a_fit = {"drift_error", "loss", "loss_heldout", "fit_iterations", "det_min", "score_check"}
    of_values = set() if kind is kjko.JKO else {"fit_r2", "unresolved"}
    of_a_density = {"entropy", "free_energy", "kl_stationary"}
    of_a_density |= {f"{key}_plain" for key in of_a_density} | {"mass_check"}
    assert null == of_values | (of_a_fit | of_a_density if kind is kjko.Langevin else set())


@pytest.mark.parametrize("kind", METHODS, ids=name)
def test_the_same_seed_gives_the_same_numbers(kind):
    problem = asymmetric_problem(1)
    method = method_of(kind, 1, end=2 * DT, steps=5)
    particles = kjko.sample(problem.law, 100)

    def end(seed):
        return last(run(problem, method, particles, 2 * DT, seed=seed))[0].particles

    one, same, other = end(0), end(0), end(1)
    np.testing.assert_array_equal(one.v, same.v)
    np.testing.assert_array_equal(one.log_f, same.log_f)
    assert np.abs(one.v - other.v).max() > 0


@pytest.mark.parametrize("kind", METHODS, ids=name)
def test_a_periodic_box(kind):
    """Particles stay in it, and a control that is periodic is learned."""
    length = np.array([2.0])
    position = kjko.CosinePosition(length, np.array([0.5]), np.ones(1))
    law = kjko.Product(position, np.zeros((1, 1)), np.ones((1, 1, 1)), np.ones(1))
    problem = kjko.Problem(kjko.External(kjko.Sine(length)), law=law, box=kjko.Box(length))
    key = jax.random.key(0)
    if kind in END_TO_END:
        network = kjko.MLP(1, (4,), inputs=3, outputs=outputs(kind, 1), key=key)
        control = kjko.InTime(network, 3 * DT, (2.0,))
    else:
        control = kjko.Periodic(kjko.MLP(1, (4,), inputs=2, key=key), (2.0,))
    langevin = kind is kjko.Langevin
    method = kind() if langevin else kind(control, kjko.Adam(steps=3))
    state, record = last(run(problem, method, kjko.sample(law, 50), 3 * DT))
    assert np.all((state.particles.x >= 0) & (state.particles.x < 2.0))
    assert np.isfinite(record["energy_kinetic"])


def row(problem, x, v):
    """What one particle relaxes to."""
    bath = problem.collisions.freeze(x[None], v[None])
    return jax.tree.map(lambda rows: rows[0], bath)


def exact_velocity(problem, time):
    """w of velocity matching from the exact law, affine in (x, v), plus an affine change of it."""
    mean, covariance = exact_gaussian(problem).at(time)
    d = mean.size // 2
    precision = jnp.asarray(np.linalg.inv(covariance))
    rate, temperature = problem.collisions.rate, problem.temperature

    def at(change):
        def control(t, x, v):
            z = jnp.concatenate([x, v])
            score = -precision @ (z - mean)
            along_x = v + temperature * score[d:]
            downhill = problem.flow.acceleration(None, t, x, v)
            along_v = downhill - temperature * score[:d] - rate * along_x
            matrix, offset = change
            return jnp.concatenate([along_x, along_v]) + matrix @ z + offset

        return control

    return at


def of_each(gradient):
    """The gradient at each particle, compiled."""
    return jax.jit(jax.vmap(gradient, in_axes=(None, 0, 0)))


def standard_errors_of_the_gradient(problem, time, rate=None):
    """Mean gradient of the objective at the exact velocity, over its standard error."""
    d, number = 2, 20_000
    method = method_of(kjko.VelocityMatching)
    at = exact_velocity(problem, time)
    law = kjko.Gaussian(*exact_gaussian(problem).at(time))
    particles = kjko.sample(law, number, 3)
    if rate is not None:
        problem = eqx.tree_at(lambda p: p.collisions.rate, problem, jnp.asarray(rate))

    def loss(change, x, v):
        return method.objective(problem, at(change), jnp.asarray(time), x, v, row(problem, x, v))

    start = (jnp.zeros((2 * d, 2 * d)), jnp.zeros(2 * d))
    each = of_each(jax.grad(loss))(start, particles.x, particles.v)
    each = np.concatenate([each[0].reshape(number, -1), each[1]], axis=1)
    return np.abs(each.mean(axis=0)) / (each.std(axis=0) / np.sqrt(number))


def test_velocity_matching_is_stationary_at_the_exact_velocity(double):
    """And is not with the printed sign: −(v + ∇ᵥ log f) is what ε = −1 gives."""
    problem = asymmetric_problem(2)
    assert standard_errors_of_the_gradient(problem, 0.4).max() < 5
    assert standard_errors_of_the_gradient(problem, 0.4, rate=-1.0).max() > 50


def test_score_matching_is_stationary_at_the_exact_control(double):
    """(31): the same for u = −ε (v + T₀ ∇ᵥ log f), at the same particles."""
    problem = asymmetric_problem(2)
    law = kjko.Gaussian(*exact_gaussian(problem).at(0.4))
    particles = kjko.sample(law, 20_000, 3)
    at = exact_velocity(problem, 0.4)
    none = (jnp.zeros((4, 4)), jnp.zeros(4))

    def loss(change, x, v):
        matrix, offset = change

        def control(t, x, v):
            u = -problem.collisions.rate * at(none)(t, x, v)[:2]
            return u + matrix @ jnp.concatenate([x, v]) + offset

        method = method_of(kjko.ScoreEndToEnd)
        return method.objective(problem, control, jnp.asarray(0.4), x, v, row(problem, x, v))

    start = (jnp.zeros((2, 4)), jnp.zeros(2))
    each = of_each(jax.grad(loss))(start, particles.x, particles.v)
    each = np.concatenate([each[0].reshape(20_000, -1), each[1]], axis=1)
    errors = np.abs(each.mean(axis=0)) / (each.std(axis=0) / np.sqrt(20_000))
    assert errors.max() < 5


def test_score_loss_is_the_squared_error_by_parts(double):
    """L(u) = h/2 (E|u − u*|² − E|u*|²) in closed form, for an affine u and a Gaussian law."""
    problem = asymmetric_problem(1)
    mean, covariance = (
        np.asarray(a, dtype=float) for a in (problem.law.mean, problem.law.covariance)
    )
    whitened = np.random.default_rng(0).normal(size=(400, 2))
    whitened -= whitened.mean(axis=0)
    whitened = whitened @ np.linalg.inv(np.linalg.cholesky(whitened.T @ whitened / 400)).T
    z = jnp.asarray(mean + whitened @ np.linalg.cholesky(covariance).T)  # of the law's own moments
    x, v = z[:, :1], z[:, 1:]
    control = eqx.tree_at(
        lambda c: (c.weight, c.bias), kjko.Affine(1), (jnp.array([[0.3, -0.7]]), jnp.array([0.2]))
    )
    rate, temperature = problem.collisions.rate, problem.temperature
    stage = free_stage(x, v, rate=rate, temperature=temperature)
    by = response(control, stage)
    score = -(z - mean[None]) @ np.linalg.inv(covariance)[:, 1:]
    exact = -problem.collisions.rate * (v + problem.temperature * score)
    expected = 0.05 * 0.5 * float(jnp.mean((by.u - exact) ** 2) - jnp.mean(exact**2))
    loss = ScoreStep(h=jnp.asarray(0.05), dt=jnp.asarray(0.05)).loss(by, stage)
    assert float(loss) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("kind", "splitting"), list(grid_of_methods(END_TO_END)))
@pytest.mark.parametrize("d", [1, 2])
def test_the_density_follows_the_whole_map(kind, splitting, d, tolerance):
    """log f' against the full Jacobian of a step by a strong network of (t, x, v)."""
    problem = asymmetric_problem(d, rate=5.0)  # several substeps where it is split
    size = outputs(kind, d)
    network = kjko.MLP(d, (8, 8), inputs=d + 1, outputs=size, key=jax.random.key(d))
    weight = 1.8 * jax.random.normal(jax.random.key(7), (size, 8))
    network = eqx.tree_at(lambda c: c.layers[-1].weight, network, weight)
    control = kjko.InTime(network, 1.0)
    matching = kind is kjko.VelocityMatching
    method = kind(control) if matching else kind(control, splitting=splitting)
    points = 0.7 * jax.random.normal(jax.random.key(1), (5, 2 * d))

    def step(z):
        particles = kjko.Particles(z[None, :d], z[None, d:], jnp.asarray([-1.0]))
        at = (jnp.asarray(0.3), jnp.asarray(0.2))
        end, *_ = method.push(problem, None, control, particles, *at)
        return jnp.concatenate([end.x[0], end.v[0]]), end.log_f[0]

    jacobian, log_f = jax.jit(jax.vmap(jax.jacfwd(step, has_aux=True)))(points)
    signs, expected = np.linalg.slogdet(np.asarray(jacobian, dtype=float))
    assert np.all(signs > 0) and np.abs(expected).max() > 0.02
    np.testing.assert_allclose(log_f, -1.0 - expected, atol=tolerance)


@pytest.mark.parametrize("kind", END_TO_END, ids=name)
def test_a_step_end_to_end_in_blocks(kind, monkeypatch, double):
    """The last block is a smaller one."""
    problem = asymmetric_problem(2)
    network = kjko.MLP(2, (8,), inputs=3, outputs=outputs(kind, 2), key=jax.random.key(0))
    method = kind(kjko.InTime(network, 1.0))
    state = method.init(problem, kjko.sample(problem.law, 41), 0.1)

    def step():
        compiled = eqx.filter_jit(lambda state: method.step(problem, state))
        return jax.tree.leaves(eqx.filter(compiled(state), eqx.is_array))

    whole = step()
    for module in (end_to_end, velocity_matching, transport):
        monkeypatch.setattr(module, "BLOCK", 7)
    for a, b in zip(whole, step(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("d", [4, 5, 6])
def test_determinants_beyond_three(d, double):
    matrix = jax.random.normal(jax.random.key(d), (50, d, d))
    expected = np.linalg.det(np.eye(d) + 0.2 * np.asarray(matrix))
    np.testing.assert_allclose(determinant(matrix, 0.2), expected, rtol=1e-9)


def test_slopes_of_a_velocity(double):
    """∂w/∂(x, v), rows for components."""
    matrix = jnp.arange(16.0).reshape(4, 4)
    w, slopes = _velocity_and_slopes(
        lambda t, x, v: t * matrix @ jnp.concatenate([x, v]),
        jnp.asarray(2.0),
        jnp.ones(2),
        jnp.ones(2),
    )
    np.testing.assert_allclose(slopes, 2 * matrix)
    np.testing.assert_allclose(w, 2 * matrix.sum(axis=1))


def test_ornstein_uhlenbeck_is_exact():
    """Without a potential v has the exact mean and variance after one step, however long."""
    law = kjko.Gaussian(np.array([0.0, 2.0]), np.diag([1.0, 0.25]))
    flow = kjko.External(lambda x: 0.0 * x[0])
    problem = kjko.Problem(flow, kjko.FokkerPlanck(0.8, 1.5), law)
    particles = kjko.sample(law, 20_000)
    end, _ = last(run(problem, kjko.Langevin(), particles, 1.0, 1.0))
    v = np.asarray(end.particles.v, dtype=float)
    decay = np.exp(-0.8)
    variance = 0.25 * decay**2 + 1.5 * (1 - decay**2)
    assert abs(v.mean() - 2 * decay) < 5 * np.sqrt(variance / 20_000)
    assert abs(v.var() - variance) < 5 * variance * np.sqrt(2 / 20_000)


def test_time_is_scaled_and_polynomials_are_chebyshev(double):
    seen = kjko.InTime(lambda x, v: x, 4.0)(jnp.asarray(1.0), jnp.array([7.0]), jnp.zeros(1))
    np.testing.assert_allclose(seen, [7.0, -0.5])
    control = kjko.AffineInTime(1, 4.0, polynomials=4)
    control = eqx.tree_at(lambda c: c.bias, control, jnp.array([[1.0], [10.0], [100.0], [1000.0]]))
    for t in (0.0, 0.3, 2.0, 4.0):
        s = t / 2 - 1
        expected = 1 + 10 * s + 100 * (2 * s**2 - 1) + 1000 * (4 * s**3 - 3 * s)
        value = control(jnp.asarray(t), jnp.zeros(1), jnp.zeros(1))
        np.testing.assert_allclose(value, [expected], atol=1e-9)


def test_what_is_held_out_is_never_trained_on():
    """The rows of a step and of the training are the same, and the two parts make up all."""
    problem = asymmetric_problem(1)
    method = method_of(kjko.ScoreEndToEnd, 1)
    state = method.init(problem, kjko.sample(problem.law, 50), DT, 3)
    fitted, held = end_to_end._split(state, 0.3)
    later = dataclasses.replace(state, step=jnp.asarray(7))
    np.testing.assert_array_equal(held, end_to_end._split(later, 0.3)[1])
    assert held.size == 15
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, held])), np.arange(50))


@pytest.mark.parametrize("kind", END_TO_END, ids=name)
def test_a_control_of_another_shape_is_refused(kind):
    problem = asymmetric_problem(1)
    state_of = kjko.sample(problem.law, 20)
    wrong = kjko.AffineInTime(1, END, outputs=3 - outputs(kind, 1))
    for control, message in ((kjko.Affine(1), "as InTime"), (wrong, "needs one of shape")):
        with pytest.raises(ValueError, match=message):
            kind(control).init(problem, state_of, DT)


def test_velocity_matching_settles_for_long_times():
    """Trained at particles that move by w it does not: 9 for the relative entropy at t = 5."""
    law = kjko.Gaussian([0.0, 1.0], [[2.0, 1.0], [1.0, 3.0]])
    problem = kjko.Problem(kjko.External(kjko.Quadratic([[2.0]], [0.0])), law=law)
    network = kjko.MLP(1, (16,), inputs=2, outputs=2, key=jax.random.key(0))
    method = kjko.VelocityMatching(kjko.InTime(network, 5.0), kjko.Adam(steps=40))
    _, record = last(run(problem, method, kjko.sample(law, 1000), 5.0, 0.1))
    assert record["drift_error"] < 0.03 and abs(record["kl_stationary"]) < 0.3


def plane_of_velocities(method):
    """One position, two components of velocity, in a potential of x: the last state."""
    length = [2 * np.pi]
    law = kjko.Product(
        kjko.CosinePosition(length, [0.3], [1]), [[0.0, 0.5]], [0.8 * np.eye(2)], [1.0]
    )
    problem = kjko.Problem(kjko.External(kjko.Cosine(length)), law=law, box=kjko.Box(length))
    return last(run(problem, method, kjko.sample(law, 40)))


def test_more_components_of_v_than_of_x():
    control = kjko.AffineInTime(2, END, inputs=2, length=(2 * np.pi,))
    state, _ = plane_of_velocities(kjko.ScoreEndToEnd(control, kjko.Adam(steps=2)))
    assert jnp.all(jnp.isfinite(state.particles.log_f))
    control = kjko.AffineInTime(2, END, inputs=2, outputs=4, length=(2 * np.pi,))
    with pytest.raises(ValueError, match="as many components of x as of v"):
        plane_of_velocities(kjko.VelocityMatching(control, kjko.Adam(steps=2)))


OTHERS = {
    "score": kjko.Score,
    "linear": lambda control, fit: kjko.JKO(control, fit, log_det="linear"),
    **{name(kind): kind for kind in END_TO_END},
}


@pytest.mark.parametrize("fit", [kjko.Newton(), kjko.GaussNewton()], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_second_order_fits_are_refused_for_what_they_do_not_solve(fit, make):
    with pytest.raises(ValueError, match="offers a loss|is trained by Adam"):
        make(kjko.Affine(1), fit)


@pytest.mark.parametrize("fit", [kjko.Adam(), kjko.GaussNewton()], ids=lambda f: type(f).__name__)
def test_a_gradient_is_refused_for_networks_fits(fit):
    with pytest.raises(ValueError, match="those of a basis are its scales; use Newton"):
        kjko.JKO(kjko.Gradient(kjko.Splines(1)), fit)


@pytest.mark.parametrize("kind", ["score", "score-end-to-end", "velocity-matching", "langevin"])
def test_a_resumed_run_is_the_whole_one(kind, tmp_path):
    """Bit by bit, from the checkpoint in the middle; what was trained is not trained again."""
    few = ["particles.number=60", "solver.end_time=0.4", "output.checkpoint_every=2"]
    steps = [] if kind == "langevin" else ["solver.fit.steps=4"]
    case = load("gaussian-1d", [f"solver.method.kind={kind}", *few, *steps])
    start(case, tmp_path)
    last_checkpoint = tmp_path / "checkpoints" / "step_000004.npz"

    def outcome():
        with np.load(last_checkpoint) as arrays:
            state = [arrays[name] for name in sorted(arrays.files)]
        return state, [{**r, "seconds": None} for r in read_series(tmp_path)]

    whole, records = outcome()
    last_checkpoint.unlink()
    resume(case, tmp_path)
    again, records_again = outcome()
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert records == records_again


PLASMA = [
    *("problem.law.position.amplitude=[0.3]", "particles.number=5000"),
    *("solver.end_time=1.0", "solver.time_step=0.1"),
]


@pytest.fixture(scope="module")
def exact():
    """By a grid."""
    return known_law(load("landau-1d-collisional", PLASMA).build().problem, [1.0])


NETWORK = ("control={kind='mlp',widths=[16]}", "fit={kind='adam',steps=40,warm_start=true}")


@pytest.mark.parametrize(
    "settings",
    [("method.kind=jko",), ("method.kind=score", *NETWORK), ("method.kind=langevin",)],
    ids=["jko", "score", "langevin"],
)
def test_a_self_consistent_field(settings, exact):
    """A wave in a plasma with collisions, against the grid: what is left of its field at t = 1."""
    case = load("landau-1d-collisional", [*PLASMA, *(f"solver.{s}" for s in settings)])
    problem, method, particles, *_ = case.build()
    _, record = last(run(problem, method, particles, 1.0, 0.1))
    start = exact.field_energy(0.0)
    assert exact.field_energy(1.0) < 0.3 * start
    assert record["field_energy"] == pytest.approx(exact.field_energy(1.0), abs=0.01 * start)
    if method.carries_density:
        assert record["free_energy"] == pytest.approx(exact.free_energy(1.0), abs=0.02)


@pytest.mark.parametrize("kind", END_TO_END, ids=name)
def test_end_to_end_needs_an_external_force(kind):
    problem, _, particles, *_ = load("landau-1d-collisional", ["particles.number=10"]).build()
    method = method_of(kind, 1, steps=2)
    with pytest.raises(ValueError, match="use JKO, Score or Langevin"):
        method.init(problem, particles, DT)


@pytest.mark.parametrize("kind", ["score-end-to-end", "velocity-matching"])
def test_end_to_end_is_refused_for_a_self_consistent_field(kind):
    settings = ["particles.number=10", f"solver.method.kind={kind}"]
    case = load("landau-1d-collisional", [*settings, *(f"solver.{s}" for s in NETWORK)])
    with pytest.raises(BadInput, match="must be external for .*; use JKO, Score or Langevin"):
        case.build()
