"""Fits: what Adam returns on toy problems, and Newton's control against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import asymmetric_problem

import kjko
from kjko.controls import Gradient
from kjko.features import FourierHermite, Quadratics
from kjko.fit import Newton
from kjko.fit.held_out import split
from kjko.fit.newton import DET_MIN, _random_rows, linear_part, log_ratio, residual
from kjko.interfaces import Stage
from kjko.subproblem import Subproblem
from kjko.transport import determinant, response


def numbered_stage(n, d=1):
    """Particles that can be told apart."""
    number = jnp.arange(n, dtype=float)
    rows = number[:, None] + jnp.arange(d)[None] / 10
    return Stage(rows, rows + 0.5, rows, rows + 0.5, number)


@pytest.mark.parametrize(("n", "fraction", "held"), [(10, 0.5, 5), (11, 0.2, 2), (7, 0.9, 6)])
def test_a_split_is_a_partition(n, fraction, held):
    stage = numbered_stage(n, 2)
    fitted, kept = split(stage, fraction, jax.random.key(0))
    assert kept is not None
    assert (fitted.v.shape[0], kept.v.shape[0]) == (n - held, held)
    numbers = np.concatenate([fitted.log_f, kept.log_f])
    np.testing.assert_array_equal(np.sort(numbers), np.arange(n))
    for part in (fitted, kept):  # whole rows
        rows = np.asarray(part.log_f, dtype=int)
        np.testing.assert_array_equal(part.x, stage.x[rows])
        np.testing.assert_array_equal(part.v_free, stage.v_free[rows])


def test_every_key_splits_anew():
    stage = numbered_stage(1000)
    parts = [split(stage, 0.5, jax.random.key(s))[1] for s in (0, 0, 1)]
    numbers = [set(np.asarray(part.log_f, dtype=int)) for part in parts]
    assert numbers[0] == numbers[1]
    assert 200 < len(numbers[0] & numbers[2]) < 300  # two random halves share a quarter


@pytest.mark.parametrize("fraction", [0.0, 0.04])
def test_nothing_held_out(fraction):
    stage = numbered_stage(10)
    fitted, kept = split(stage, fraction, jax.random.key(0))
    assert kept is None
    assert fitted is stage


HELD = 3  # of ten particles: so a toy problem can tell the parts apart


class Toy(eqx.Module):
    """A one-number control c with the loss (c − 1)², on held-out particles (c − target)².

    The map folds where c reaches `fold` on the fitted, `fold_held` on the held-out particles.
    """

    target: float = 1.0
    fold: float = np.inf
    fold_held: float = np.inf

    def __call__(self, control, stage):
        c = control["c"]
        if stage.v.shape[0] == HELD:
            return (c - self.target) ** 2, jnp.minimum(self.fold_held - c, 1.0)
        return (c - 1.0) ** 2, jnp.minimum(self.fold - c, 1.0)


class Slope(eqx.Module):
    """The loss −c: each step of Adam goes up by the learning rate of that step."""

    def __call__(self, control, stage):
        return -control["c"], jnp.ones(())


def fit(toy, start=0.0, previous=5.0, held_out=HELD / 10, **settings):
    settings = {"steps": 60, "learning_rate": 0.05, "schedule": "constant"} | settings
    adam = kjko.Adam(held_out=held_out, **settings)
    control, last = ({"c": jnp.asarray(c), "name": "toy"} for c in (start, previous))
    return adam(toy, control, last, numbered_stage(10), jax.random.key(0))


def test_adam_returns_what_does_best_on_the_held_out():
    """On the way from 0 to 1 the iterates, 0.05 apart, pass the held-out minimum."""
    last, best = fit(Toy()), fit(Toy(target=0.52))
    assert float(last.control["c"]) == pytest.approx(1.0, abs=0.06)
    assert float(best.control["c"]) == pytest.approx(0.52, abs=0.026)
    c = float(best.control["c"])
    assert float(best.loss) == pytest.approx((c - 1) ** 2, abs=1e-6)
    assert float(best.loss_heldout) == pytest.approx((c - 0.52) ** 2, abs=1e-6)
    assert best.control["name"] == "toy"
    assert best.iterations == 60


def test_the_last_iterate_can_be_the_best():
    assert float(fit(Slope(), steps=3).control["c"]) == pytest.approx(0.15, abs=1e-5)


@pytest.mark.parametrize("toy", [Toy(fold=0.31), Toy(fold_held=0.31)], ids=["fitted", "held out"])
def test_adam_returns_no_iterate_that_folds(toy):
    assert float(fit(toy).control["c"]) == pytest.approx(0.285, abs=0.025)


def test_if_all_fold_the_start_is_returned():
    result = fit(Toy(fold=-1.0), start=0.1)
    assert float(result.control["c"]) == pytest.approx(0.1)
    assert not np.isfinite(result.loss)  # so the run stops there


def test_a_nan_is_not_the_best():
    def toy(control, stage):
        loss, det_min = Toy()(control, stage)
        bad = (control["c"] > 0.4) & (stage.v.shape[0] == HELD)
        return jnp.where(bad, jnp.nan, loss), det_min

    assert float(fit(toy).control["c"]) == pytest.approx(0.375, abs=0.026)


def test_without_held_out_the_last_iterate_is_returned():
    """As in the paper: even where it folds."""
    result = fit(Toy(target=0.5, fold=0.3), held_out=0.0)
    assert float(result.control["c"]) == pytest.approx(1.0, abs=0.06)
    assert np.isnan(result.loss_heldout)
    c = float(result.control["c"])
    assert float(result.loss) == pytest.approx((c - 1) ** 2, abs=1e-6)


@pytest.mark.parametrize(("warm_start", "start"), [(True, 5.0), (False, 0.25)])
@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_where_adam_begins(warm_start, start, held_out):
    result = fit(Slope(), 0.25, previous=5.0, held_out=held_out, warm_start=warm_start, steps=1)
    assert float(result.control["c"]) == pytest.approx(start + 0.05, abs=1e-5)


def test_schedules():
    """On a slope the steps add up: K, or Σ ½(1 + cos(πk/K)) = (K + 1)/2 for the half cosine."""
    for schedule, total in (("constant", 10), ("cosine", 5.5)):
        result = fit(Slope(), steps=10, learning_rate=0.1, schedule=schedule)
        assert float(result.control["c"]) == pytest.approx(0.1 * total, abs=1e-4)


def gaussian_step(d, h, dt, number=600, collision_rate=0.7):
    """A Gaussian law before a collision, its log f exact."""
    problem = asymmetric_problem(d, collision_rate)
    particles = kjko.sample(problem.law, number, 3)
    x, v = particles.x, particles.v
    stage = Stage(x, v, x, v, particles.log_f)
    return problem, stage, Subproblem(kjko.JKO(), problem, None, h, dt)


@eqx.filter_jit
def run(fit, subproblem, control, previous, stage, key):
    return fit(subproblem, control, previous, stage, key)


def newton(basis, subproblem, stage, seed=0, **settings):
    control = Gradient(basis)
    return run(Newton(**settings), subproblem, control, control, stage, jax.random.key(seed))


def values(control, stage):
    return jax.jit(jax.vmap(control))(stage.x, stage.v)


@pytest.mark.parametrize(
    ("basis", "d", "iterations", "tolerance"),
    [
        (Quadratics(1), 1, 3, 1e-4),
        (Quadratics(1), 1, 12, 1e-8),
        (Quadratics(2), 2, 12, 1e-8),
        (FourierHermite(1, 60), 1, 12, 5e-5),
    ],
    ids=["quadratic-1-default", "quadratic-1", "quadratic-2", "fourier-hermite-1"],
)
def test_newton_is_the_implicit_euler_step(basis, d, iterations, tolerance, double):
    """u = −ε (v' + T₀ ∇ᵥ log f'(x', v')), f' the Gaussian that the step itself makes of f.

    z' = J z + k by a control read off as an affine map, so f' has the precision J⁻ᵀ P J⁻¹.
    """
    h = 0.05
    problem, stage, subproblem = gaussian_step(d, h, 2 * h)
    result = newton(basis, subproblem, stage, iterations=iterations)
    u = np.asarray(values(result.control, stage))
    z = np.concatenate([stage.x, stage.v], axis=1)
    design = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    weight = np.linalg.lstsq(design, u, rcond=None)[0]
    np.testing.assert_allclose(design @ weight, u, atol=tolerance)
    jacobian = np.eye(2 * d)
    jacobian[d:] += h * weight[:-1].T
    precision = np.linalg.inv(problem.law.covariance)
    score = -(z - np.asarray(problem.law.mean)) @ precision @ np.linalg.inv(jacobian)
    moved = np.asarray(stage.v) + h * u
    expected = -problem.collision_rate * (moved + problem.temperature * score[:, d:])
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(u, expected, atol=tolerance)
    at = eqx.filter_jit(lambda u: residual(subproblem, u, stage, log_ratio(subproblem, stage)))
    np.testing.assert_allclose(at(result.control), 0, atol=5 * tolerance)
    zero = eqx.tree_at(lambda u: u.coefficients, result.control, replace_fn=jnp.zeros_like)
    assert np.abs(at(zero)).max() > 1
    assert float(result.loss) < 0 and float(result.loss_heldout) < 0


def test_linear_part_is_the_slope_of_the_residual(double):
    """At u = 0, by automatic differentiation in the coefficients: −M/(−εT₀) · εT₀ = M."""
    problem, stage, subproblem = gaussian_step(2, 0.1, 0.2, number=20)
    control = Gradient(Quadratics(2).adapt(stage))
    scale = -problem.collision_rate * problem.temperature

    def left(c):
        at = eqx.tree_at(lambda u: u.coefficients, control, scale * c)
        return residual(subproblem, at, stage, log_ratio(subproblem, stage))

    slope = jax.jit(jax.jacfwd(left))(jnp.zeros(control.coefficients.size))
    np.testing.assert_allclose(linear_part(control.basis, subproblem, stage), -slope, atol=1e-10)


def at_equilibrium(stage, problem):
    energy = 0.5 * jnp.sum(stage.v**2, axis=-1) + jax.vmap(problem.force.potential)(stage.x)
    return eqx.tree_at(lambda s: s.log_f, stage, -(energy / problem.temperature))


def flat(problem):
    return kjko.Problem(kjko.External(lambda x: 0.0 * x[0]), problem.law)


def test_newton_at_equilibrium_is_zero():
    """For any sample; exactly, where g is exactly constant."""
    problem, stage, subproblem = gaussian_step(2, 0.1, 0.2)
    stage = at_equilibrium(stage, problem)
    np.testing.assert_array_equal(log_ratio(subproblem, stage), 0)
    result = newton(Quadratics(2), subproblem, stage)
    assert jnp.abs(values(result.control, stage)).max() < 1e-5  # rounding, within one compilation
    constant = Subproblem(kjko.JKO(), flat(problem), None, 0.1, 0.2)
    still = eqx.tree_at(lambda s: (s.v, s.log_f), stage, (0 * stage.v, 0 * stage.log_f - 2.5))
    np.testing.assert_array_equal(
        values(newton(Quadratics(2), constant, still).control, stage), jnp.zeros_like(stage.v)
    )


@pytest.mark.parametrize(
    "basis",
    [Quadratics(1), FourierHermite(1, 100)],
    ids=["quadratic", "fourier-hermite"],
)
def test_newton_does_not_follow_noise(basis):
    """log f off by what is no function of (x, v): mostly no control at all, never a large one."""
    problem, stage, subproblem = gaussian_step(1, 0.05, 0.1, number=2000)
    equilibrium = at_equilibrium(stage, problem)
    size = []
    for seed in range(8):
        noise = jax.random.normal(jax.random.key(seed), (2000,))
        noisy = eqx.tree_at(lambda s: s.log_f, equilibrium, equilibrium.log_f + noise)
        result = newton(basis, subproblem, noisy, seed)
        size.append(float(jnp.sqrt(jnp.mean(values(result.control, stage) ** 2))))
    assert sum(s == 0 for s in size) >= 3, size
    assert max(size) < 0.5, size


def test_a_control_that_would_fold_is_shortened(double):
    """Hot and fast: the midpoint rule would turn v around; the control is halved."""
    covariance = np.diag([1.0, 400.0])
    problem = kjko.Problem(
        kjko.External(kjko.Quadratic(np.eye(1), np.zeros(1))),
        kjko.Gaussian(np.zeros(2), covariance),
        collision_rate=10.0,
    )
    particles = kjko.sample(problem.law, 300)
    stage = Stage(particles.x, particles.v, particles.x, particles.v, particles.log_f)
    h, dt = 0.25, 0.5
    whole, shortened = (
        newton(
            Quadratics(1), Subproblem(kjko.JKO(), problem, None, jnp.asarray(h), move), stage
        ).control
        for move in (jnp.asarray(h), jnp.asarray(dt))
    )
    matrix_of = jax.jit(lambda control: response(control, stage).matrix)
    matrix = matrix_of(whole)
    assert jnp.all(determinant(matrix, h) > DET_MIN)
    assert jnp.all(determinant(matrix, dt) < 0)
    assert jnp.all(determinant(matrix_of(shortened), dt) > DET_MIN)
    np.testing.assert_allclose(values(shortened, stage), 0.5 * values(whole, stage), atol=1e-10)


def test_rows_of_the_subset():
    """Distinct, from everywhere, in random order, and others for another key."""
    rows = [np.asarray(_random_rows(1001, 400, jax.random.key(s))) for s in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    for chosen in rows:
        assert len(set(chosen)) == 400
        assert 0 <= chosen.min() < 5 and 995 < chosen.max() <= 1000
        assert 350 < np.median(chosen[:80]) < 650 and 350 < np.median(chosen[-80:]) < 650
    assert len(set(rows[0]) & set(rows[2])) < 250
    ever = {row for s in range(40) for row in np.asarray(_random_rows(10, 4, jax.random.key(s)))}
    assert ever == set(range(10))
    for number in (30, 10_000):
        everyone = np.asarray(_random_rows(30, number, jax.random.key(0)))
        np.testing.assert_array_equal(np.sort(everyone), np.arange(30))
        assert np.any(everyone != np.arange(30))


def test_newton_uses_no_more_particles_than_told(double):
    """The same control from a hundred: exact for a Gaussian law."""
    _, stage, subproblem = gaussian_step(1, 0.05, 0.1)  # as above
    few = newton(Quadratics(1), subproblem, stage, particles=100, iterations=12)
    many = newton(Quadratics(1), subproblem, stage, iterations=12)
    np.testing.assert_allclose(values(few.control, stage), values(many.control, stage), atol=1e-7)
    assert float(few.loss) != float(many.loss)


def test_newton_needs_a_gradient():
    _, stage, subproblem = gaussian_step(1, 0.1, 0.2, number=20)
    control = kjko.Affine(1)
    with pytest.raises(ValueError, match="fits a Gradient control"):
        Newton()(subproblem, control, control, stage, jax.random.key(0))


@pytest.mark.parametrize(
    "integrator", [kjko.SymplecticEuler(), kjko.Unsplit(), kjko.Unsplit(kjko.DriftKick())], ids=repr
)
def test_newton_needs_a_splitting(integrator):
    problem = asymmetric_problem(1)
    solver = kjko.Solver(Gradient(Quadratics(1)), 0.1, integrator, fit=Newton())
    state = solver.init(problem, kjko.sample(problem.law, 20))
    with pytest.raises(ValueError, match="needs a splitting integrator"):
        solver.step(problem, state, jax.random.key(0))
