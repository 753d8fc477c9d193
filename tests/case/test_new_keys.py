"""Formulas, several forces, files of particles, waves, temperatures, titles, warnings."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_cases import refusal, small

import kjko
from kjko.core.formula import parse

GOOD = {
    "(x1**2 - 1)**2 + 0.5*x2**2": lambda x, y: (x**2 - 1) ** 2 + 0.5 * y**2,
    "-abs(x1)/3 + exp(-x2)*sin(2*pi*x1)": lambda x, y: (
        -np.abs(x) / 3 + np.exp(-y) * np.sin(2 * np.pi * x)
    ),
    "sqrt(1 + x1**2) + log(2 + tanh(x2)) - cos(x1 - x2)": lambda x, y: (
        np.sqrt(1 + x**2) + np.log(2 + np.tanh(y)) - np.cos(x - y)
    ),
    "+x1**3": lambda x, y: x**3,
}
BAD = (
    "__import__('os')",
    "x1.real",
    "x3",
    "x1 if x2 else 1",
    "lambda: 1",
    "[x1]",
    "'a'",
    "True",
    "x1 @ x2",
    "2*x1^2",
    "sin(x1, x2)",
    "sin",
    "f(x1)",
    "sin(x=x1)",
    "x1;x2",
    "",
    "(" * 300,
    "1" + "+1" * 600,
    "9**9**9**9*x1",
    "1/0 + x1",
    "(-8)**0.5",
    "10j",
)


@pytest.mark.parametrize("formula", GOOD)
def test_formulas(formula, double):
    """Value and slope at places left and right of zero."""
    potential, exact = kjko.Expression(formula, 2), GOOD[formula]
    for x, y in ((0.7, -0.4), (-1.3, 0.9)):
        place = jnp.array([x, y])
        assert float(potential(place)) == pytest.approx(exact(x, y), rel=1e-12)
        flow = kjko.External(potential)
        a = flow.acceleration(None, jnp.zeros(()), place, jnp.zeros(2))
        slope = (exact(x + 1e-6, y) - exact(x - 1e-6, y)) / 2e-6
        assert float(a[0]) == pytest.approx(-slope, rel=1e-7, abs=1e-8)


def test_another_sign_for_powers():
    with pytest.raises(ValueError, match=r"got \^; write \*\* for a power$"):
        parse("0.5*x1^2 + 1", ("x1",))


@pytest.mark.parametrize("formula", BAD, ids=range(len(BAD)))
def test_what_is_no_formula(formula):
    with pytest.raises(ValueError, match="formula"):
        parse(formula, ("x1", "x2"))
    potential = {"kind": "expression", "formula": formula}
    text = f"problem.potential={{kind='expression', formula={formula!r}}}"
    if "'" not in formula:
        message = refusal(lambda: small("gaussian-1d", text).build())
        assert message.startswith("problem.potential.formula: ") and "\n" not in message
    assert potential


def test_numbers_may_be_formulas():
    case = small("landau-1d", "problem.mass='2*pi/0.5'", "solver.fit.particles=1e3")
    assert case.problem.mass == 4 * np.pi and case.solver.fit.particles == 1000
    assert refusal(lambda: small("landau-1d", "problem.mass='2*pie'")).startswith("problem.mass: ")
    assert "whole number" in refusal(lambda: small("landau-1d", "solver.fit.particles=1.5"))
    for value in ("1.5*exp(exp(exp(9)))", "1e300**2"):  # refused without a warning of numpy's
        assert refusal(lambda v=value: small("landau-1d", f"problem.mass={v!r}"))


def test_a_box_by_its_wave_number():
    given = ["problem.domain={wave_number=[0.5]}", "problem.mass='4*pi'"]
    problem = small("landau-1d", *given).build().problem
    np.testing.assert_allclose(problem.box.length, [4 * np.pi], rtol=1e-6)


def test_several_forces():
    """A potential, a field of their own, a drive and a magnetic field."""
    forces = (
        "[{kind='poisson', number_of_cells=16}, {kind='magnetic', gyrofrequency=0.5},"
        " {kind='driven', formula='0.1*cos(x1 - t)'}, {kind='uniform', acceleration=[0.0, 1.0]}]"
    )
    settings = [
        "problem.velocity_dimension=2",
        "problem.law.velocity={means=[[0.0, 0.0]], widths=[[1.0, 0.5]]}",
        "problem.potential={kind='cosine'}",
        f"problem.force={forces}",
    ]
    flow = small("landau-1d", *settings).build().problem.flow
    kinds = [type(member).__name__ for member in flow.members]
    assert kinds == ["External", "Poisson", "Magnetic", "Driven", "Uniform"]
    assert not flow.conservative


@pytest.mark.parametrize(
    ("velocity", "expected"),
    [
        ("temperatures=[[4.0, 1.0]]", np.diag([4.0, 1.0])),
        ("widths=[2.0]", 4 * np.eye(2)),
        ("covariances=[[[2.0, 0.5], [0.5, 1.0]]]", np.array([[2.0, 0.5], [0.5, 1.0]])),
    ],
)
def test_spreads_of_velocities(velocity, expected):
    given = [
        "problem.velocity_dimension=2",
        f"problem.law.velocity={{means=[[1.0, 0.0]], {velocity}}}",
    ]
    law = small("landau-1d", *given).build().problem.law
    np.testing.assert_allclose(law.covariances[0], expected)


def test_spreads_of_velocities_that_are_refused():
    both = "problem.law.velocity={means=[[0.0]], widths=[1.0], temperatures=[1.0]}"
    assert "got widths and temperatures; set one" in refusal(small("landau-1d", both).build)
    none = "problem.law.velocity={means=[[0.0]]}"
    assert "got none; set one" in refusal(small("landau-1d", none).build)


def test_single_waves_in_two_dimensions():
    """Fourier coefficients of the particles are the amplitudes, of no other wave there is one."""
    law = "{kind='waves', amplitude=[0.4, 0.2], mode=[[1, 2], [-1, 0]], phase=[0.3, 1.0]}"
    case = small(
        "landau-2d",
        f"problem.law.position={law}",
        "particles.number=20000",
        "particles.sampling=low-discrepancy",
    )
    experiment = case.build()
    side = np.asarray(experiment.problem.box.length)
    x = np.asarray(experiment.particles.x, dtype=float)
    waves = (([1, 2], 0.3, 0.4), ([-1, 0], 1.0, 0.2), ([0, 1], 0.0, 0.0), ([1, -2], 0.0, 0.0))
    for mode, phase, amplitude in waves:
        angle = 2 * np.pi * (x / side) @ np.array(mode) + phase
        assert 2 * np.cos(angle).mean() == pytest.approx(amplitude, abs=5e-3)
    ragged = "problem.law.position={kind='waves', amplitude=[0.4], mode=[[1]]}"
    assert refusal(small("landau-2d", ragged).build).startswith("problem.law.position.mode.0: ")


def test_particles_from_a_file(tmp_path):
    """Wrapped into the box; no law is needed."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(30, 1)), "v": rng.normal(size=(30, 1)), "log_f": np.zeros(30)}
    np.savez(tmp_path / "start.npz", **arrays)
    given = f"particles.file='{tmp_path / 'start.npz'}'"
    particles = small("gaussian-1d", given).build().particles
    np.testing.assert_allclose(particles.v, arrays["v"], rtol=1e-6)
    side = 4 * np.pi
    particles = small("landau-1d", given).build().particles
    np.testing.assert_allclose(particles.x, arrays["x"] % side, atol=1e-5)
    for name, wrong in (
        ("x", np.zeros((30, 2))),
        ("v", np.zeros(30)),
        ("log_f", np.full(30, np.nan)),
    ):
        np.savez(tmp_path / "bad.npz", **(arrays | {name: wrong}))
        bad = f"particles.file='{tmp_path / 'bad.npz'}'"
        message = refusal(small("gaussian-1d", bad).build)
        assert message.startswith("particles.file: expected") and name in message
    (tmp_path / "text.npz").write_text("no zip")
    bad = f"particles.file='{tmp_path / 'text.npz'}'"
    assert "expected an .npz with the arrays" in refusal(small("gaussian-1d", bad).build)


def test_titles_tell_what_was_set():
    title = small("landau-1d", "problem.collision_rate=0.02", "solver.time_step=0.1").title
    assert title.endswith("; collision_rate = 0.02; time_step = 0.1")
    table = "problem.law.velocity={means=[[1.0, 0.0], [-1.0, 0.0]], widths=[2.0, 2.0]}"
    title = small("rotated-well-2d", table, "solver.control.kind=splines").title
    assert title.endswith(
        "; law.velocity.means = [[1.0, 0.0], [-1.0, 0.0]]; law.velocity.widths = [2.0, 2.0];"
        " control.kind = splines"
    )
    emptied = small("gaussian-1d-paper", "solver.control={}").title
    assert emptied.endswith("; control = splines")
    twice = ["solver.control={kind='ridges'}", "solver.control.kind=splines"]
    assert small("rotated-well-2d", *twice).title.count("control.kind") == 1
    assert small("landau-1d", "title=mine", "problem.collision_rate=0.02").title == "mine"


def test_a_tilt_is_no_periodic_potential():
    tilted = ["problem.potential={kind='expression', formula='cos(0.5*x1) - x1'}"]
    assert "kjko.Uniform" in refusal(small("landau-1d", *tilted).build)


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        (["particles.sampling=random"], "particles.number: a wave of amplitude"),
        (["problem.force.number_of_cells=4"], "problem.force.number_of_cells: cells of width"),
        ([], None),
    ],
)
def test_warnings_of_what_is_not_resolved(settings, begins, caplog):
    small("landau-1d", *settings).build()
    assert [m.startswith(begins) for m in caplog.messages] == ([True] if begins else [])


def test_a_problem_in_tiny_units(double):
    """x in units of 1e-8: the same control but for the units."""
    controls = []
    for unit in (1.0, 1e-8):
        law = kjko.Gaussian([0.0, 1.0], [[2.0 * unit**2, unit], [unit, 3.0]])
        well = kjko.Quadratic([[2.0 / unit**2]], [0.0])
        problem = kjko.Problem(kjko.External(well), law=law)
        method = kjko.JKO(kjko.Gradient(kjko.Splines(1, (12, 6))))
        state = method.init(problem, kjko.sample(law, 300), 1e-3 * unit)

        @eqx.filter_jit
        def first_control(problem, method, state):
            times = state.time, state.time_step
            stage, _ = method.splitting.prepare(problem, None, state.particles, *times)
            sizes = jnp.asarray(0.05), jnp.asarray(0.1)
            subproblem, start = method.subproblem(problem, None, *sizes), method.control
            control, _ = method.fit(subproblem, start, start, stage, state.key)
            return jax.vmap(control)(stage.x, stage.v)

        controls.append(first_control(problem, method, state))
    np.testing.assert_allclose(controls[1], controls[0], atol=1e-5)
