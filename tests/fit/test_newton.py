"""Newton's fit: the JKO step in closed form, its parts against dense algebra, what it refuses."""

from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import asymmetric_problem, collision_stage, jko_step

import kjko
import kjko.fit.newton as newton_module
from kjko.bases import FourierHermite, Quadratics, RandomTanh, Splines
from kjko.bases.dense import Dense
from kjko.controls import Gradient
from kjko.fit import Newton, conjugate_gradients, simplified_newton
from kjko.fit.conjugate_gradients import solve
from kjko.fit.fractions import DET_MIN, FRACTIONS, safe_fraction
from kjko.fit.held_out import fitted_first
from kjko.fit.newton import RIDGES, STEEP, WORTH, Choice, choose_ridge
from kjko.fit.simplified_newton import SimplifiedNewton
from kjko.methods.barrier import BARRIER
from kjko.methods.optimality import Optimality
from kjko.splitting.transport import determinant, response

NEWTON = Newton()


@pytest.fixture
def exact_solves(monkeypatch):
    """Every linear solve to rounding."""
    monkeypatch.setattr(conjugate_gradients, "TOLERANCE", 1e-12)
    monkeypatch.setattr(simplified_newton, "ROUGHLY", 1e-12)


stage_of = eqx.filter_jit(collision_stage)


def gaussian_step(d, h, dt, number=600, rate=0.7):
    """A Gaussian law before a collision, its log f exact."""
    problem = asymmetric_problem(d, rate)
    stage = stage_of(problem, kjko.sample(problem.law, number, 3))
    return problem, stage, jko_step(problem, h, dt)


@eqx.filter_jit
def start_of(basis, subproblem, stage):
    """The condition for a basis that fits the stage, no control, and the linear part there."""
    condition = subproblem.condition(Gradient(basis.adapt(stage)), stage)
    zero = jnp.zeros(condition.control.basis.size, stage.v.dtype)
    return condition, zero, condition.linearise(zero)


def iteration(condition, start, ridge, fit=NEWTON):
    """That of a fit, with a matrix of its linear part and a ridge."""
    return SimplifiedNewton.of(condition, start, start.gram(), ridge, fit.tolerance, fit.iterations)


def compiled(basis, **settings):
    """(subproblem, stage, key) -> control, info."""
    control, fit = Gradient(basis), Newton(**settings)

    @eqx.filter_jit
    def run(subproblem, stage, key):
        return fit(subproblem, control, control, stage, key)

    return run


def newton(basis, subproblem, stage, seed=0, **settings):
    return compiled(basis, **settings)(subproblem, stage, jax.random.key(seed))


@eqx.filter_jit
def values(control, stage):
    return jax.vmap(control)(stage.x, stage.v)


@eqx.filter_jit
def matrix_of(control, stage):
    return response(control, stage).matrix


determinant_of = jax.jit(determinant)


def implicit_step(problem, stage, u, h):
    """−ε (v' + T₀ ∇ᵥ log f'(x', v')), f' the Gaussian that a step by the affine part of u makes.

    z' = J z + k, so f' has the precision J⁻ᵀ P J⁻¹. And what is not affine in u.
    """
    z = np.concatenate([stage.x, stage.v], axis=1)
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    weight = np.linalg.lstsq(design, u, rcond=None)[0]
    d = u.shape[1]
    jacobian = np.eye(2 * d)
    jacobian[d:] += h * weight[:-1].T
    precision = np.linalg.inv(problem.law.covariance)
    score = -(z - np.asarray(problem.law.mean)) @ precision @ np.linalg.inv(jacobian)
    moved = np.asarray(stage.v) + h * u
    expected = -problem.collisions.rate * (moved + problem.temperature * score[:, d:])
    return expected, u - design @ weight


@eqx.filter_jit
def residual_of(control, subproblem, stage):
    condition = subproblem.condition(control, stage)
    strength = stage.bath.rate[0] * stage.bath.temperature[0]
    return condition.residual(-control.coefficients / strength)


EXACT = {  # basis, d, error
    "quadratic-2": (Quadratics(2), 2, 1e-9),
    "fourier-hermite-1": (FourierHermite(1, 60), 1, 5e-5),  # its floor
    "splines-1": (Splines(1, (6, 3)), 1, 1e-5),
    "splines-2": (Splines(2, (6, 3)), 2, 1e-5),
}


@pytest.mark.parametrize(("basis", "d", "error"), EXACT.values(), ids=EXACT)
def test_newton_is_the_implicit_euler_step(basis, d, error, double, exact_solves):
    h = 0.05
    problem, stage, subproblem = gaussian_step(d, h, 2 * h)
    control, info = newton(basis, subproblem, stage, tolerance=1e-10)
    u = np.asarray(values(control, stage))
    expected, not_affine = implicit_step(problem, stage, u, h)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(not_affine, 0, atol=error)
    np.testing.assert_allclose(u, expected, atol=error)
    np.testing.assert_allclose(residual_of(control, subproblem, stage), 0, atol=5 * error)
    zero = eqx.tree_at(lambda u: u.coefficients, control, replace_fn=jnp.zeros_like)
    assert np.abs(residual_of(zero, subproblem, stage)).max() > 1
    assert float(info.loss) < 0 and float(info.loss_heldout) < 0
    assert int(info.iterations) <= 16


def test_rough_steps_end_where_exact_ones_do(double, monkeypatch):
    """Two pairs, a law that is no Gaussian, a factor of the blocks of the pairs alone."""
    _, stage, subproblem = gaussian_step(2, 0.1, 0.2, number=1500, rate=1.0)
    bump = 0.3 * np.sin(stage.x[:, 0] + stage.v[:, 1])
    stage = eqx.tree_at(lambda s: s.log_f, stage, stage.log_f + bump)
    condition, zero, start = start_of(Splines(2, (12, 6)), subproblem, stage)
    ridge, whole = jnp.asarray(1e-3), np.mean(np.asarray(condition.right) ** 2)

    def left(roughly):
        monkeypatch.setattr(simplified_newton, "ROUGHLY", roughly)
        c, count = eqx.filter_jit(iteration(condition, start, ridge))(zero, jnp.asarray(True))
        return jnp.mean(condition.residual(c) ** 2) + c @ start.penalty(c, ridge), count

    (rough, some), (exact, few) = left(simplified_newton.ROUGHLY), left(1e-12)
    assert few <= some < NEWTON.iterations
    assert abs(rough - exact) < 2 * NEWTON.tolerance**2 * whole


class Bent(eqx.Module):
    """r(c) = 1 − c + 0.7c², the same at four particles: the slope at 0 is soon no good."""

    right: jax.Array = eqx.field(converter=jnp.asarray)

    def residual(self, c):
        return self.right * (1 - c[0] + 0.7 * c[0] ** 2)

    def linearise(self, c):
        column = self.right[:, None] * (1 - 1.4 * c[0])
        return Dense(column, jnp.zeros(1), jnp.asarray(1e-12))


@pytest.mark.parametrize("chosen", [0.0, 1.0])
def test_a_matrix_that_brings_nothing_more_is_taken_anew(chosen, double):
    """With the slope at zero the iteration stays at c = 1, where the residual is 0.7."""
    condition = Bent(np.ones(4))
    start, given = condition.linearise(jnp.zeros(1)), (jnp.asarray([chosen]), jnp.asarray(True))
    c, count = iteration(condition, start, jnp.asarray(1e-3))(*given)
    assert float(c[0]) == pytest.approx(1 / 1.4, abs=0.02)
    assert int(count) < NEWTON.iterations


class Noisy(eqx.Module):
    """r(c) = y − a (c + 0.2c²), of y that a explains a part of."""

    right: jax.Array
    column: jax.Array

    def residual(self, c):
        return self.right - self.column * (c[0] + 0.2 * c[0] ** 2)

    def linearise(self, c):
        column = self.column * (1 + 0.4 * c[0])
        return Dense(column[:, None], jnp.zeros(1), jnp.asarray(1e-12))


def test_steps_end_that_change_nothing_of_what_is_left(double, monkeypatch):
    noise, column = jnp.asarray(np.random.default_rng(0).normal(size=(2, 200)))
    condition = Noisy(column + noise, column)
    start, given = condition.linearise(jnp.zeros(1)), (jnp.zeros(1), jnp.asarray(True))

    def solved():
        c, count = iteration(condition, start, jnp.asarray(1e-3), Newton(tolerance=1e-8))(*given)
        return float(jnp.mean(condition.residual(c) ** 2)), int(count)

    left, count = solved()
    monkeypatch.setattr(simplified_newton, "OF_LEFT", 0.0)
    least, more = solved()
    assert 1 < count < more
    assert least < left < 1.001 * least


def test_the_next_search_begins_where_the_last_has_pointed(monkeypatch):
    def first_one(design, gram, g, fitted, precision, first):
        zero = jnp.zeros_like(design.transpose(g))
        return Choice(zero, first, jnp.asarray(True), 10 * first)

    monkeypatch.setattr(newton_module, "choose_ridge", first_one)
    _, stage, subproblem = gaussian_step(1, 0.05, 0.1)
    control = Gradient(Quadratics(1))
    last = eqx.tree_at(lambda u: u.ridge, control, jnp.asarray(0.03, control.ridge.dtype))
    found, info = Newton()(subproblem, control, last, stage, jax.random.key(0))
    assert float(info.ridge) == pytest.approx(0.03)
    assert float(found.ridge) == pytest.approx(0.3)
    assert info.iterations.dtype == np.int32


@lru_cache
def default_fit(kind):
    """A problem in one dimension, and the fit in single precision, compiled once."""
    basis = kind(1, 60) if kind is FourierHermite else kind(1, (24, 9))
    return *gaussian_step(1, 0.05, 0.1, number=2000), compiled(basis)


def test_the_default_settings_in_single_precision():
    problem, stage, subproblem, run = default_fit(Splines)
    u = np.asarray(values(run(subproblem, stage, jax.random.key(0))[0], stage))
    assert u.dtype == np.float32
    np.testing.assert_allclose(u, implicit_step(problem, stage, u, 0.05)[0], atol=5e-5)


def test_a_law_far_colder_than_the_step(double, exact_solves):
    """hεT₀ = 50 Var v: whole steps of Newton would not lower the residual, shorter ones do."""
    law = kjko.Gaussian(np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.0, 0.02]]))
    potential = kjko.Quadratic(2 * np.eye(1), np.zeros(1))
    problem = kjko.Problem(kjko.External(potential), kjko.FokkerPlanck(10.0), law)
    stage = stage_of(problem, kjko.sample(law, 400))
    control, _ = newton(Quadratics(1), jko_step(problem, 0.1, 0.1), stage)
    u = np.asarray(values(control, stage))
    expected, _ = implicit_step(problem, stage, u, 0.1)
    assert np.abs(expected).max() > 10
    np.testing.assert_allclose(u, expected, atol=0.02)


LINEAR = {
    "fourier-hermite": lambda: FourierHermite(2, 20),
    "random-tanh": lambda: RandomTanh(2, 9, key=jax.random.key(0)),
    "splines": lambda: Splines(2, (6, 3)),
}


@pytest.mark.parametrize("make", LINEAR.values(), ids=LINEAR)
def test_the_linear_part_is_the_slope_of_the_residual(make, double):
    """−∂r/∂c by automatic differentiation, at no control, at one, and at one beyond a fold."""
    _, stage, subproblem = gaussian_step(2, 0.1, 0.2, number=20)
    condition, *_ = start_of(make(), subproblem, stage)
    size = condition.control.basis.size
    c = np.random.default_rng(0).normal(size=size)
    matrix = matrix_of(condition.control_of(c), stage)
    strength = 1.0 / np.abs(matrix).max()

    @jax.jit
    def both(c):
        by = response(condition.control_of(c), stage)
        design = condition.linearise(c)
        found = jax.vmap(design.apply, out_axes=1)(jnp.eye(size))
        return found, -jax.jacfwd(condition.residual)(c), determinant(by.matrix, 0.1)

    lowest = []
    for factor in (0.0, 2.0, -20.0, 30.0, -60.0):
        found, expected, det = map(np.asarray, both(factor * strength * c))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-12)
        lowest.append(float(np.min(det)))
    assert lowest[0] == 1 and min(lowest) < BARRIER, lowest


def at_equilibrium(stage, problem):
    energy = 0.5 * jnp.sum(stage.v**2, axis=-1) + jax.vmap(problem.flow.potential)(stage.x)
    return eqx.tree_at(lambda s: s.log_f, stage, -(energy / stage.bath.temperature))


def test_newton_at_equilibrium_is_zero():
    """For any sample; exactly, where g is exactly constant."""
    problem, stage, subproblem, run = default_fit(Splines)
    stage, key = at_equilibrium(stage, problem), jax.random.key(0)
    g = Optimality.at(Gradient(Quadratics(1)), stage, subproblem.h).right
    np.testing.assert_array_equal(g, 0)
    control, _ = run(subproblem, stage, key)
    assert jnp.abs(values(control, stage)).max() < 1e-5  # rounding, within one compilation
    center = jnp.asarray(problem.flow.potential.center, stage.x.dtype)[None] + 0 * stage.x
    still = kjko.Particles(center, 0 * stage.v, 0 * stage.log_f - 2.5)
    still = stage_of(problem, still)
    control, _ = run(subproblem, still, key)
    np.testing.assert_array_equal(values(control, still), jnp.zeros_like(stage.v))


@pytest.mark.parametrize("kind", [FourierHermite, Splines])
def test_newton_does_not_follow_noise(kind):
    """log f off by what is no function of (x, v): mostly no control, by chance a small one."""
    problem, stage, subproblem, run = default_fit(kind)
    equilibrium, size = at_equilibrium(stage, problem), []
    for seed in range(24):
        noise = jax.random.normal(jax.random.key(seed), (2000,))
        noisy = eqx.tree_at(lambda s: s.log_f, equilibrium, equilibrium.log_f + noise)
        control, _ = run(subproblem, noisy, jax.random.key(seed))
        size.append(float(jnp.sqrt(jnp.mean(values(control, stage) ** 2))))
    assert sum(s == 0 for s in size) >= 12, size
    assert sorted(size)[-2] < 0.3 and max(size) < 1, size


def test_the_iteration_ends_by_tolerance(double):
    """Sooner for a larger one; a smaller one leaves less; never more than the cap."""
    _, stage, subproblem = gaussian_step(1, 0.5, 0.5, rate=2.0)
    condition, zero, start = start_of(Quadratics(1), subproblem, stage)

    @jax.jit
    def iterate(tolerance, cap, useful=True):
        fit, ridge = Newton(tolerance=tolerance, iterations=cap), jnp.asarray(1e-5)
        c, count = iteration(condition, start, ridge, fit)(zero, jnp.asarray(useful))
        left = jnp.mean(condition.residual(c) ** 2) / jnp.mean(condition.right**2)
        return count, jnp.sqrt(left)

    tolerances = (0.5, 0.1, 1e-2, 1e-4, 1e-6)
    counts, left = zip(*(iterate(tolerance, 30) for tolerance in tolerances), strict=True)
    assert list(counts) == sorted(counts) and 0 < counts[0] < counts[2] < counts[-1] < 30
    assert all(rest < tolerance for rest, tolerance in zip(left, tolerances, strict=True)), left
    for cap in range(4):
        assert iterate(1e-12, cap)[0] == cap
    np.testing.assert_allclose(iterate(1e-12, 0)[1], 1.0)
    assert iterate(1e-6, 30, False)[0] == 0


def dense_problem(seed, n=120, p=20):
    """Columns of very different sizes, and g that is partly noise."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-2, 1, size=p)
    design = Dense.of(jnp.asarray(matrix), jnp.asarray(10.0 ** rng.uniform(-3, 0, size=p)))
    noise = 10.0 ** rng.uniform(-2, 1)
    return design, jnp.asarray(matrix @ rng.normal(size=p) / 10 + noise * rng.normal(size=n))


def choose(design, g, fitted, first=1e-3):
    def compiled(design, g, first):
        gram = design.rows(slice(None, fitted)).gram()
        return choose_ridge(design, gram, g, fitted, jnp.finfo(g.dtype).eps, first)

    return jax.jit(compiled)(design, g, jnp.asarray(first))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", [1e-5, 1e-3, 1.0])
def test_choose_ridge_goes_where_the_held_out_error_falls(seed, first, double):
    """From the first one on; each a dense solve of its own on the fitted rows, and the slope of its
    error by differences.
    """
    design, g = dense_problem(seed)
    matrix, values, fitted = np.asarray(design.matrix), np.asarray(g), 90
    most = float(np.mean(values**2))

    def solved(ridge):
        penalty = np.diag(design.penalty(jnp.ones(20), jnp.asarray(ridge)))
        normal = matrix[:fitted].T @ matrix[:fitted] / fitted + penalty
        return np.linalg.solve(normal, matrix[:fitted].T @ values[:fitted] / fitted)

    def squares(ridge):
        return (matrix[fitted:] @ solved(ridge) - values[fitted:]) ** 2

    def error(ridge):
        return np.sum(np.minimum(squares(ridge), most))

    def slope(ridge):
        uncut = squares(ridge) < most
        up, down = (np.sum(squares(ridge * step)[uncut]) for step in (1.001, 1 / 1.001))
        return (up - down) / (2 * np.log(1.001)) / np.sum(squares(ridge)[uncut])

    of_zero = np.sum(np.minimum(values[fitted:] ** 2, most))
    number, toward, tried = RIDGES.index(pytest.approx(first)), 0, []
    following = number
    while 0 <= number < len(RIDGES):
        tried.append(RIDGES[number])
        before, steep = toward, slope(tried[-1])
        is_best = error(tried[-1]) <= min(map(error, tried))
        toward = int(np.sign(steep)) if is_best and abs(steep) > WORTH else 0
        if error(tried[-1]) >= of_zero:
            toward = -1
        turns, waits = toward == -before, toward == 1 and steep < STEEP
        if is_best:
            following = number + (waits and not turns)
        if toward == 0 or turns or waits:
            break
        number += toward
    expected = min(tried, key=error)
    choice = choose(design, g, fitted, first)
    assert float(choice.ridge) == pytest.approx(expected)
    np.testing.assert_allclose(choice.c, solved(expected), rtol=1e-6)
    assert bool(choice.useful) == (error(expected) < of_zero)
    assert float(choice.following) == pytest.approx(RIDGES[min(following, len(RIDGES) - 1)])
    assert all(RIDGES.index(each) != following or each == expected for each in tried)


@pytest.mark.parametrize("first", [1e-9, 1e-5])
def test_a_ridge_that_has_become_useless_is_left(first, double):
    """Where it fits noise so closely that every residual is cut, the error has no slope; and one
    beyond those that are tried is taken for the last of them."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 190))
    matrix[:, 0] *= 10
    design = Dense.of(jnp.asarray(matrix), jnp.ones(190))
    g = jnp.asarray(matrix[:, 0] + 5 * rng.normal(size=400))
    at_first, later = choose(design, g, 192, 1.0), choose(design, g, 192, first)
    assert at_first.useful and later.useful
    assert later.ridge >= 0.1 * at_first.ridge


@pytest.mark.parametrize("broken", RIDGES[2:])
def test_a_candidate_that_overflows_is_passed_over(broken, monkeypatch):
    """And no other starts from it; if it is the first, a larger one is taken."""
    design, g = dense_problem(0)
    plain, starts = newton_module.solve, []

    def solve_or_overflow(design, gram, ridge, factor, right, start):
        jax.debug.callback(lambda c: starts.append(np.abs(c).max()), start)
        solution = plain(design, gram, ridge, factor, right, start)
        return jnp.where(jnp.abs(ridge / broken - 1) < 0.1, 1e25, solution)

    monkeypatch.setattr(newton_module, "solve", solve_or_overflow)
    choice = choose(design, g, 90, broken)
    jax.effects_barrier()
    assert bool(choice.useful) and choice.ridge > 2 * broken
    assert len(starts) > 1 and max(starts) < 1e3
    assert float(jnp.abs(choice.c).max()) < 1e3


def test_nothing_is_chosen_where_all_candidates_overflow(monkeypatch):
    design, g = dense_problem(0)
    monkeypatch.setattr(newton_module, "solve", lambda *rest: jnp.full(20, jnp.nan))
    choice = choose(design, g, 90)
    assert not bool(choice.useful) and not jnp.any(choice.c)
    assert choice.following == RIDGES[0]


def test_rounding_is_no_reason_for_a_small_ridge(double):
    """Of g that the functions of the penalty's kernel explain, the largest is chosen."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, 10))
    design = Dense.of(jnp.asarray(matrix), jnp.asarray([0.0] * 5 + [1.0] * 5))
    g = jnp.asarray(matrix[:, :5] @ rng.normal(size=5), jnp.float32).astype(float)

    @jax.jit
    def chosen(precision):
        gram = design.rows(slice(None, 160)).gram()
        return choose_ridge(design, gram, g, 160, precision, jnp.asarray(1e-3)).ridge

    assert chosen(jnp.finfo(jnp.float32).eps) == pytest.approx(RIDGES[0])


def test_one_particle_does_not_choose_the_ridge(double, exact_solves):
    """However wrong its g is, among the held-out ones."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(2000, 10))
    design = Dense.of(jnp.asarray(matrix), jnp.ones(10))
    g = matrix @ rng.normal(size=10)
    expected = choose(design, jnp.asarray(g), 1600).ridge
    assert expected < 1e-3
    for wrong in (10.0, 1000.0):
        spoilt = g.copy()
        spoilt[1700] *= -wrong
        choice = choose(design, jnp.asarray(spoilt), 1600)
        assert choice.ridge <= expected and bool(choice.useful)


def test_choose_ridge_tells_what_is_useless(double):
    design, g = dense_problem(0)
    unrelated = jnp.concatenate([g[:90], -g[90:]])  # what helps there harms here
    choice = choose(design, unrelated, 90)
    assert not bool(choice.useful) and jnp.all(jnp.isfinite(choice.c))


def test_solve(double):
    """Two pairs of splines: exact but for the tolerance, though the factor is of the blocks."""
    _, stage, subproblem = gaussian_step(2, 0.1, 0.2, number=400)
    condition, zero, design = start_of(Splines(2, (6, 3)), subproblem, stage)

    @jax.jit
    def ours(ridge):
        right, gram = design.transpose(condition.right) / 400, design.gram()
        factor = design.factor(gram, ridge)
        identity = jnp.eye(zero.size)
        matrix = jax.vmap(design.apply, out_axes=1)(identity)
        penalty = jax.vmap(lambda c: design.penalty(c, ridge))(identity)
        once = solve(design, gram, ridge, factor, right)
        fine = once
        for _ in range(3):
            fine = solve(design, gram, ridge, factor, right, fine)
        return matrix, penalty, right, design.solve(factor, right), once, fine

    for ridge in (1e-5, 10.0):
        matrix, penalty, right, blocks, once, fine = map(np.asarray, ours(jnp.asarray(ridge)))
        normal = matrix.T @ matrix / 400 + penalty
        left = [
            np.linalg.norm(normal @ c - right) / np.linalg.norm(right) for c in (blocks, once, fine)
        ]
        assert (
            left[0] > 0.1 and left[1] < 1.01 * conjugate_gradients.TOLERANCE and left[2] < 1.01e-9
        ), left
        expected = matrix @ np.linalg.solve(normal, right)
        np.testing.assert_allclose(matrix @ fine, expected, atol=1e-6 * np.abs(expected).max())


def test_a_control_that_would_fold_is_shortened(double, exact_solves):
    """Hot and fast: the midpoint rule would turn v around, whatever the ridge."""
    covariance = np.diag([1.0, 400.0])
    problem = kjko.Problem(
        kjko.External(kjko.Quadratic(np.eye(1), np.zeros(1))),
        kjko.FokkerPlanck(10.0),
        kjko.Gaussian(np.zeros(2), covariance),
    )
    stage = stage_of(problem, kjko.sample(problem.law, 300))
    h, dt = 0.25, 0.5
    run = compiled(Quadratics(1))
    whole, shortened = (
        run(jko_step(problem, h, move), stage, jax.random.key(0))[0] for move in (h, dt)
    )
    matrix = np.asarray(matrix_of(whole, stage))
    assert np.all(determinant_of(matrix, h) > DET_MIN)
    assert np.all(determinant_of(matrix, dt) < 0)
    fraction = max(s for s in FRACTIONS if np.all(determinant_of(s * matrix, dt) > DET_MIN))
    expected = fraction * np.asarray(values(whole, stage))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(values(shortened, stage), expected, atol=1e-3 * scale)


def test_a_control_that_would_fold_is_fitted_again_with_a_larger_ridge(double):
    """A density with noise, fitted too closely."""
    problem, stage, subproblem = gaussian_step(1, 0.05, 0.1, number=400)
    noise = np.random.default_rng(0).normal(size=400)
    stage = eqx.tree_at(lambda s: s.log_f, stage, stage.log_f + 0.3 * noise)
    condition, zero, start = start_of(Splines(1, (24, 9)), subproblem, stage)
    useful = jnp.asarray(True)

    @jax.jit
    def iterate(ridge):
        c, _ = iteration(condition, start, ridge)(zero, useful)
        by = response(condition.control_of(c), stage)
        return c, jnp.min(determinant(by.matrix, subproblem.dt))

    @jax.jit
    def solve_from(ridge):
        begin = iteration(condition, start, ridge)
        choice = Choice(zero, ridge, useful, ridge)
        return NEWTON._unfolded(subproblem.dt, stage, begin, choice)

    c, _ = solve_from(RIDGES[-1])
    fitted, least = zip(*(iterate(ridge) for ridge in sorted(RIDGES)), strict=True)
    safe = [bool(lowest > DET_MIN) for lowest in least]
    assert not safe[0] and any(safe)
    np.testing.assert_allclose(c, fitted[safe.index(True)], rtol=1e-6, atol=1e-9)


def test_no_particle_folds_fitted_or_not(double):
    """A noisy density, fitted at few of the particles."""
    _, stage, subproblem = gaussian_step(1, 0.05, 0.1, number=2000, rate=5.0)
    noise = np.random.default_rng(0).normal(size=2000)
    stage = eqx.tree_at(lambda s: s.log_f, stage, stage.log_f + 0.3 * noise)
    run = compiled(Splines(1, (24, 9)), particles=100)
    useful = 0
    for seed in range(6):
        control, _ = run(subproblem, stage, jax.random.key(seed))
        useful += bool(np.any(control.coefficients != 0))
        matrix = matrix_of(control, stage)
        assert np.all(determinant_of(matrix, subproblem.dt) > DET_MIN)
    assert useful >= 5


@pytest.mark.parametrize("d", [1, 2, 3])
def test_safe_fraction(d, double):
    """That of the least eigenvalue: two negative ones have a positive determinant."""
    dt, rng, fraction_of = 0.5, np.random.default_rng(d), jax.jit(safe_fraction)
    found = []
    for size in (0.1, 1.0, 4.0, 7.0, 20.0, 100.0):
        directions = np.linalg.qr(rng.normal(size=(50, d, d)))[0]
        slopes = size * rng.uniform(-1, 0.2, size=(50, d))
        slopes[0] = -size
        matrix = jnp.asarray(directions * slopes[:, None] @ np.swapaxes(directions, 1, 2))

        def folds(s, slopes=slopes):
            eigenvalues = 1 + s * dt * slopes
            return np.any(eigenvalues <= 0) or np.any(eigenvalues.prod(axis=1) <= DET_MIN)

        expected = max((s for s in FRACTIONS if not folds(s)), default=0.0)
        found.append(float(fraction_of(matrix, dt)))
        assert found[-1] == pytest.approx(expected)
    assert found[0] == 1 and found[-1] == 0 and 0 < found[-2] < found[2] < 1
    assert float(fraction_of(jnp.nan * matrix, dt)) == 0


rows_of = jax.jit(fitted_first, static_argnums=(0, 1, 2))


def fitted_and_held(n, number, seed, held_out=0.2):
    rows, fitted = map(np.asarray, rows_of(n, number, held_out, jax.random.key(seed)))
    return rows[:fitted], rows[fitted:]


def test_rows_of_the_subset():
    """Distinct, from everywhere, in both parts, and others for another key."""
    draws = [fitted_and_held(1001, 400, seed) for seed in (0, 0, 1)]
    for one, again, other in zip(*draws, strict=True):
        np.testing.assert_array_equal(one, again)
        assert len(set(one) & set(other)) < 0.65 * len(one)
    for fitted, held in draws:
        assert len(fitted) == 320 and len(held) == 80
        assert len({*fitted, *held}) == 400
        for part in (fitted, held):
            assert 0 <= part.min() < 30 and 970 < part.max() <= 1000
            assert 350 < np.median(part) < 650


@pytest.mark.parametrize(("n", "number", "held_out"), [(15, 10, 0.2), (10, 10, 0.7), (10, 10, 0.4)])
def test_all_rows_are_as_likely(n, number, held_out):
    draw = jax.jit(jax.vmap(lambda key: fitted_first(n, number, held_out, key)[0]))
    rows = np.asarray(draw(jax.random.split(jax.random.key(0), 3000)))
    fitted = number - round(held_out * number)
    for part in (rows[:, :fitted], rows[:, fitted:]):
        expected = part.size / n
        counts = np.bincount(part.ravel(), minlength=n)
        np.testing.assert_allclose(counts, expected, atol=5 * np.sqrt(expected))


@pytest.mark.parametrize("number", [30, 10_000])
def test_no_row_is_lost(number):
    for held_out, expected in ((0.0, 1), (0.2, 6), (0.999, 29)):
        parts = fitted_and_held(30, number, 0, held_out)
        assert len(parts[1]) == expected
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(30))


@eqx.filter_jit
def losses_of(subproblem, control, stage, rows):
    """Of all particles, and of these."""
    return [subproblem(control, part)[0] for part in (stage, stage.take(rows))]


def test_newton_uses_no_more_particles_than_told(double, exact_solves):
    """A hundred, others for another key; the control is the same, exact for a Gaussian law."""
    problem, stage, subproblem = gaussian_step(1, 0.05, 0.1)
    run = compiled(Quadratics(1), particles=100, tolerance=1e-8)
    losses = []
    for seed in range(2):
        control, info = run(subproblem, stage, jax.random.key(seed))
        u = np.asarray(values(control, stage))
        np.testing.assert_allclose(u, implicit_step(problem, stage, u, 0.05)[0], atol=1e-8)
        losses.append(float(info.loss))
        rows, _ = fitted_and_held(stage.v.shape[0], 100, seed)
        everyone, fitted = map(float, losses_of(subproblem, control, stage, rows))
        assert losses[-1] == pytest.approx(fitted, rel=0.05)
        assert losses[-1] != pytest.approx(everyone, rel=0.05)
    assert losses[0] != losses[1]


@pytest.mark.parametrize(("number", "held_out"), [(2, 0.01), (2, 0.99), (20, 0.001), (20, 0.999)])
def test_newton_fits_and_judges_whatever_is_held_out(number, held_out):
    """On one particle at least."""
    _, stage, subproblem = gaussian_step(1, 0.1, 0.2, number=number)
    _, info = newton(Quadratics(1), subproblem, stage, held_out=held_out)
    assert np.isfinite(info.loss) and np.isfinite(info.loss_heldout)


def test_newton_needs_two_particles():
    _, stage, subproblem = gaussian_step(1, 0.1, 0.2, number=2)
    control = Gradient(Quadratics(1))
    with pytest.raises(ValueError, match="two particles or more"):
        Newton()(subproblem, control, control, stage.take(jnp.arange(1)), jax.random.key(0))


def test_newton_needs_a_gradient():
    with pytest.raises(ValueError, match="^fit: Newton fits a control that is linear in its coeff"):
        kjko.JKO(kjko.Affine(1), Newton())


@pytest.mark.parametrize(
    "splitting", [kjko.SymplecticEuler(), kjko.Unsplit(), kjko.Unsplit(kjko.DriftKick())], ids=repr
)
def test_newton_needs_a_control_after_the_flow(splitting):
    with pytest.raises(ValueError, match="^fit: Newton needs an optimality condition, and"):
        kjko.JKO(Gradient(Quadratics(1)), Newton(), splitting)
