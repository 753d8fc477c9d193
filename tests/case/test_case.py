"""Case files: what is accepted, what --set does, and that the rest gives BadInput only."""

import copy
import datetime
import tomllib

import hypothesis.strategies as st
import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from small_cases import refusal, small

import kjko
from kjko import cases
from kjko.case import BadInput, load, parse_toml
from kjko.simulation import number_of_steps

BUILT_IN = cases.names()
NONE_LIKE = ("gaussian-1d", "multiwell-1d", "periodic-1d", "landau-1d")  # of every law and domain


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_case_survives_its_own_toml(name):
    case = load(name)
    assert parse_toml(case.to_toml(), name) == case
    assert case.title
    assert "log_det" in tomllib.loads(case.to_toml())["solver"]["method"]  # a default, filled in


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_builds(name):
    experiment = small(name).build()
    problem, particles, table = experiment.problem, experiment.particles, load(name).problem
    assert particles.x.shape == (20, table.dimension)
    assert particles.v.shape == (20, table.velocity_dimension or table.dimension)
    assert np.isfinite(particles.log_f).all()
    assert experiment.time_step == load(name).solver.time_step
    assert (problem.box is None) == (table.domain is None)
    assert problem.mass == table.mass


def test_printed_settings_of_the_paper():
    method = small("gaussian-1d-paper").build().method
    assert isinstance(method, kjko.JKO) and method.log_det == "linear"
    assert method.splitting == kjko.SymplecticEuler()
    assert (method.fit.steps, method.fit.learning_rate, method.fit.held_out) == (50, 0.001, 0.0)


@pytest.mark.parametrize(
    ("settings", "fit"),
    [([], kjko.Newton()), (["solver.fit.kind=adam", "solver.control.kind=mlp"], kjko.Adam())],
    ids=["newton", "adam"],
)
def test_defaults_are_those_of_the_library(settings, fit):
    method = small("multiwell-1d", *settings).build().method
    library = kjko.JKO(method.control, fit)
    assert (method.splitting, method.log_det) == (library.splitting, library.log_det)
    assert method.fit == fit


def test_the_default_control_is_splines_for_the_number_of_fitted_particles():
    for number, most in ((20, 50_000), (3000, 50_000), (3000, 20)):
        settings = [f"particles.number={number}", f"solver.fit.particles={most}"]
        control = load("multiwell-1d", settings).build().method.control
        assert control.basis == kjko.Splines(1, particles=min(number, most))


@pytest.mark.parametrize(
    ("overrides", "integrator"),
    [
        (["kind=strang-midpoint"], kjko.StrangMidpoint()),
        (["kind=symplectic-euler"], kjko.SymplecticEuler()),
        (["kind=lie"], kjko.Lie(kjko.StormerVerlet())),
        (["map=symplectic-euler", "kind=lie"], kjko.Lie(kjko.DriftKick())),
        (["kind=unsplit", "map=symplectic-euler"], kjko.Unsplit(kjko.DriftKick())),
    ],
)
def test_integrators_by_name(overrides, integrator):
    case = small("gaussian-1d", *(f"solver.integrator.{o}" for o in overrides))
    assert case.build().method.splitting == integrator


@pytest.mark.parametrize(
    ("overrides", "basis", "size"),
    [
        (["kind=fourier-hermite", "size=90"], kjko.FourierHermite, None),
        (["kind=random-tanh", "size=7"], kjko.RandomTanh, 7),
        (["kind=quadratic"], kjko.Quadratics, 0),
        (["kind=splines", "cells=[12, 5]"], kjko.Splines, None),
        ([], kjko.Splines, None),
    ],
)
@pytest.mark.parametrize("name", ["multiwell-1d", "multiwell-3d", "periodic-1d", "two-stream-1d3v"])
def test_controls_that_newton_fits_by_name(name, overrides, basis, size):
    table = [] if overrides else ["solver.control={}", "solver.fit={}"]
    settings = [f"solver.control.{o}" for o in overrides]
    case = small(name, "solver.fit.kind=newton", "solver.fit.iterations=2", *table, *settings)
    experiment = case.build()
    problem, method, particles = experiment.problem, experiment.method, experiment.particles
    assert method.fit == kjko.Newton(iterations=2)
    assert isinstance(method.control, kjko.Gradient)
    assert isinstance(method.control.basis, basis)
    d_x, d = particles.x.shape[1], particles.v.shape[1]
    number = kjko.Quadratics(d_x, problem.box is not None, d).size
    if size is not None:
        assert method.control.coefficients.size == number + size
    if "cells=[12, 5]" in overrides:
        assert method.control.basis.cells == (12, 5)
    assert method.control(particles.x[0], particles.v[0]).shape == (d,)


def test_settings_of_newton():
    settings = {"held_out": 0.3, "particles": 700, "tolerance": 0.25, "iterations": 3}
    case = small("multiwell-1d", *(f"solver.fit.{key}={value}" for key, value in settings.items()))
    assert case.build().method.fit == kjko.Newton(**settings)


@pytest.mark.parametrize(
    "setting",
    ["fit.tolerance=0", "fit.tolerance=-1", "fit.iterations=0", "fit.particles=9"]
    + ["fit.held_out=0", "fit.held_out=1", "fit.steps=3", "control.widths=[3]"]
    + [f"control.cells={cells}" for cells in ("[12]", "[12, 4, 4]", "[0, 4]", "[12.5, 4]", "12")],
)
def test_settings_of_newton_and_splines_that_are_refused(setting):
    key = f"solver.{setting.split('=')[0]}"
    assert refusal(lambda: small("multiwell-1d", f"solver.{setting}")).startswith(key)


@pytest.mark.parametrize("control", ["mlp", "affine"])
@pytest.mark.parametrize("name", ["multiwell-1d", "periodic-1d"])
def test_controls_that_adam_fits_by_name(name, control):
    kinds = [f"solver.control.kind={control}", "solver.fit.kind=adam", "solver.fit.steps=3"]
    method = small(name, *kinds).build().method
    assert method.fit == kjko.Adam(steps=3)
    inner = method.control.control if name == "periodic-1d" else method.control
    assert isinstance(inner, kjko.MLP if control == "mlp" else kjko.Affine)


@pytest.mark.parametrize("layers", ["all", "last"])
def test_gauss_newton_by_name(layers):
    settings = ["kind=gauss-newton", f"layers={layers}", "adam_steps=4", "steps=7"]
    case = small("gaussian-1d", "solver.fit={}", *(f"solver.fit.{o}" for o in settings))
    expected = kjko.GaussNewton(7, layers=layers, first=kjko.Adam(steps=4))
    assert case.build().method.fit == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["control.kind=fourier-hermite", "fit.kind=adam"],
            "solver.fit: Adam fits every number of a control, and those of a basis are its scales",
        ),
        (
            ["control.kind=mlp", "fit.kind=newton"],
            "solver.fit: Newton fits a control that is linear in its coefficients",
        ),
        (
            ["control.cells=[10, 5]"],
            "solver.control.cells: must be a multiple of 3 from 6 on in x and at least 3 in v, got"
            " 10 and 5",
        ),
        (
            ["fit.kind=gauss-newton"],
            "solver.fit: GaussNewton fits every number of a control",
        ),
        (
            ["fit.kind=gauss-newton", "control.kind=mlp", "method.log_det=linear"],
            "solver.fit: GaussNewton needs the curvature of its loss, and JKO as it is",
        ),
        (
            ["fit.kind=gauss-newton", "control.kind=affine", "fit.layers=last"],
            "solver.fit: GaussNewton: layers = 'last' needs a network (MLP)",
        ),
        (["integrator.kind=symplectic-euler"], "solver.fit: Newton needs an optimality condition"),
        (["integrator.kind=unsplit"], "solver.fit: Newton needs an optimality condition"),
        (["method.log_det=linear"], "solver.fit: Newton needs an optimality condition"),
    ],
)
def test_fits_that_do_not_go_with_the_rest(overrides, message):
    case = small("multiwell-1d", *(f"solver.{o}" for o in overrides))
    refused = refusal(case.build)
    assert refused.startswith(message)
    assert "\n" not in refused and ("cells" in message or "; set solver.fit.kind=adam" in refused)


def test_what_a_message_says_to_set_helps():
    linear = ["solver.method.log_det=linear", "solver.integrator.kind=symplectic-euler"]
    small("multiwell-1d", *linear, "solver.fit.kind=adam", "solver.control.kind=mlp").build()


def test_whole_numbers_stand_for_floats():
    case = small(
        "gaussian-1d",
        "title=the same",
        "solver.time_step=1",
        "problem.law.mean=[0, 1]",
        "problem.law.covariance=[[2, 1], [1, 3]]",
        "problem.potential.stiffness=2",
        "output.snapshot_times=[0, 1]",
    )
    assert case.solver.time_step == 1.0 and isinstance(case.solver.time_step, float)
    floats = ("solver.time_step=1.0", "output.snapshot_times=[0.0, 1.0]")
    assert case == small("gaussian-1d", "title=the same", *floats)
    case.build()


@pytest.mark.parametrize(
    ("end_time", "time_step", "steps"),
    [(1.0, 0.1, 10), (0.3, 0.1, 3), (1.1, 0.1, 11), (1.05, 0.1, 11), (0.01, 0.1, 1)],
)
def test_number_of_steps(end_time, time_step, steps):
    assert number_of_steps(end_time, time_step) == steps


@pytest.mark.parametrize("end_time", [0.0, -1.0, np.nan, np.inf, 1e300])
def test_no_number_of_steps(end_time):
    with pytest.raises(ValueError, match="end_time: expected"):
        number_of_steps(end_time, 0.1)


def test_set_takes_toml_values_and_bare_words():
    case = small(
        "gaussian-1d",
        "title=two words",
        "particles.sampling=low-discrepancy",
        'solver.precision="double"',
        "solver.fit.kind=adam",
        "solver.fit.warm_start=true",
        "solver.control.kind=mlp",
        "solver.control.widths=[8, 4]",
        "problem.potential = {kind = 'quadratic', stiffness = [[3.0]]}",
        "solver.time_step=5e-2",
    )
    assert case.title == "two words"
    assert case.particles.sampling == "low-discrepancy"
    assert case.solver.precision == "double"
    assert case.solver.fit.warm_start is True
    assert case.solver.control.widths == [8, 4]
    assert case.problem.potential.stiffness == [[3.0]]
    assert case.solver.time_step == 0.05


def test_a_new_kind_starts_its_table_anew():
    case = small("periodic-1d", "problem.potential.kind=cosine")
    assert case.problem.potential.amplitude == 0.2  # the default, not what the sine had
    with_mode = small("periodic-1d", "problem.potential.kind=cosine", "problem.potential.mode=2")
    assert with_mode.problem.potential.mode == 2
    affine = small("gaussian-1d", "solver.control.kind=affine")  # the widths are gone
    assert affine.solver.control.kind == "affine"


def test_the_same_kind_keeps_its_table():
    case = small("periodic-1d", "problem.potential.amplitude=0.7", "problem.potential.kind=sine")
    assert case.problem.potential.amplitude == 0.7
    text = cases.text("gaussian-1d") + '[solver.method]\nlog_det = "linear"\n'  # kind by default
    assert parse_toml(text, "x", ["solver.method.kind=jko"]).solver.method.log_det == "linear"


def test_a_table_without_a_kind_is_of_the_default_one():
    default = load("multiwell-1d").solver
    case = small("multiwell-1d", "solver.fit.held_out=0.35")
    assert (case.solver.fit.kind, case.solver.fit.held_out) == (default.fit.kind, 0.35)
    assert small("multiwell-1d", "solver.control={}", "solver.integrator={}").solver == default


def test_the_order_of_overrides_does_not_matter():
    overrides = [
        "problem.potential.kind=cosine",
        "problem.potential.mode=2",
        "problem.law={kind='product', velocity={means=[[0.0]], widths=[1.0]}}",
        "problem.law.position.kind=cosine",
        "problem.law.position.amplitude=[0.1]",
        "problem.law.position.mode=[1]",
    ]
    assert small("periodic-1d", *overrides) == small("periodic-1d", *reversed(overrides))
    assert small("gaussian-1d", "solver.fit.steps=1", "solver.fit.steps=2").solver.fit.steps == 2


def test_a_set_that_injects_lines_is_refused():
    message = refusal(lambda: load("gaussian-1d", ["title='a'\nparticles.number = 3"]))
    assert message.startswith("--set ") and "\n" not in message


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("solver.tme_step", "did you mean solver.time_step?"),
        ("solver.learning_rate", "did you mean solver.fit.learning_rate?"),
        ("temperature", "did you mean problem.temperature?"),
        ("problem.potential.center_", "did you mean problem.potential.center?"),
        ("problem.potential.amplitude", "another kind has it, see problem.potential.kind"),
        ("zzzz", "remove it"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    message = refusal(lambda: small("gaussian-1d", f"{key}=1"))
    assert message == f"{key}: unknown key here; {nearest}"


def test_a_misspelt_key_is_told_before_what_it_leaves_missing():
    text = cases.text("gaussian-1d").replace("time_step", "time_stp")
    assert "did you mean solver.time_step?" in refusal(lambda: parse_toml(text, "x"))


def test_a_missing_key_is_named():
    text = cases.text("gaussian-1d").replace("time_step = 0.1", "")
    assert refusal(lambda: parse_toml(text, "x")).startswith("solver.time_step: ")
    text = cases.text("gaussian-1d").replace('kind = "quadratic", ', "")
    assert refusal(lambda: parse_toml(text, "x")).startswith("problem.potential.kind: ")


def test_an_overflow_is_left_to_the_first_check():
    """Without a warning: there, one line tells of it."""
    small("multiwell-1d", "problem.law.velocity.widths=[1e30, 1.0]").build()


def test_nearest_names_of_cases():
    assert "gaussian-1d" in refusal(lambda: load("gausian-1d"))
    assert "gaussian-3d" in refusal(lambda: load("somewhere/gaussian-3d.toml"))
    assert "kjko cases" in refusal(lambda: load("qqq"))


def test_files_that_are_no_toml(tmp_path):
    path = tmp_path / "bad.toml"
    for content in (b"title = ", b"\xff\xfe\x00", b"a = " + b"[" * 20_000, b"a = " + b"9" * 5_000):
        path.write_bytes(content)
        message = refusal(lambda: load(str(path)))
        assert message.startswith(f"{path}: not valid TOML: ")
        assert "\n" not in message


def leaves(table: dict, path=()):
    """The paths of all values of a nested dictionary, tables too, and into its lists."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def parent_of(table, path):
    for key in path[:-1]:
        table = table[key]
    return table


SCALARS = st.one_of(
    st.sampled_from([-1, 0, 1, 2, 7, 2**31, 2**32, 2**63, 10**30, True, False]),
    st.sampled_from([np.nan, np.inf, -np.inf, -1.0, -0.0, 0.5, 1e-320, 1e-40, 1e38, 1e308]),
    st.sampled_from(["", "gaussian", "cosine", "sine", "quadratic", "lie", "mlp", "double"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.just(datetime.date(2020, 1, 1)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["kind", "mean", "a"]), inner, max_size=2),
    ),
    max_leaves=5,
)
NAMES = st.one_of(
    st.sampled_from(["kind", "mean", "gaussian", "quadratic", "mode", "a.b", "", "x\ny", "widths"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@st.composite
def damaged_cases(draw):
    """A built-in in full, with one to three of its keys dropped, renamed or given other values."""
    data = tomllib.loads(small(draw(st.sampled_from(NONE_LIKE))).to_toml())
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(leaves(data), key=repr)))
        parent = parent_of(data, path)
        how = draw(st.sampled_from(["drop", "rename", "retype", "retype"]))
        if how == "retype":
            parent[path[-1]] = draw(VALUES)
        else:
            value = parent.pop(path[-1])
            if how == "rename" and isinstance(parent, dict):
                parent[draw(NAMES)] = value
        if not data:
            break
    return data


@settings(max_examples=150, deadline=None, derandomize=True)
@given(damaged_cases())
def test_a_damaged_case_is_valid_or_refused_in_one_line(data):
    try:
        case = parse_toml(tomli_w.dumps(data), "damaged")
        case.build()
    except BadInput as error:
        assert str(error)
        assert str(error).isprintable()
    else:
        assert parse_toml(case.to_toml(), "again") == case


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["=", "", ".kind=", "=="]))
def test_any_override_is_valid_or_refused_in_one_line(key, value, between):
    try:
        load("gaussian-1d", [f"{key}{between}{value}"])
    except BadInput as error:
        assert str(error).isprintable()
