"""Comparisons of methods and verification of runs: what is asked, found, written and refused."""

import csv
import json

import numpy as np
import pytest
from commands import kjko as command
from commands import line

from kjko.case import BadInput, load
from kjko.cli import telling
from kjko.observe import trust
from kjko.reference.known import known_law
from kjko.run.loop import read_case, start
from kjko.run.series import read_series
from kjko.studies.compare import METHODS, _sliced_ratio, cases_of, compare
from kjko.studies.comparison import COLUMNS
from kjko.studies.verify import verify


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """An empty working directory, and no figures of runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telling, "draw", lambda folder: None)


SMALL = ["particles.number=60", "solver.end_time=0.2", "solver.fit.steps=4"]


def study(methods, seeds=1, name="gaussian-1d", overrides=SMALL):
    return compare(name, overrides, methods, seeds, lambda text: None, lambda result: None)


def numbers(outcome):
    """All but what depends on the clock."""
    clock = ("seconds", "wall_seconds", "compile_seconds")
    records = [{k: v for k, v in r.items() if k not in clock} for r in outcome.records]
    return outcome.seed, records, {k: v for k, v in outcome.errors.items() if k not in clock}


def test_company_makes_no_difference():
    """Nor does the order; and the same seed gives the same numbers."""
    alone = study(["score"], 2)
    beside = study(["velocity-matching", "langevin", "score"], 2)
    of_score = [o for o in beside.outcomes if o.method == "score"]
    assert [numbers(o) for o in alone.outcomes] == [numbers(o) for o in of_score]
    assert of_score[0].records[0]["energy_kinetic"] != of_score[1].records[0]["energy_kinetic"]
    first = {o.method: o.records[0]["energy_kinetic"] for o in beside.outcomes if o.seed == 0}
    assert len(set(first.values())) == 1  # the same particles


@pytest.mark.filterwarnings("error")
def test_every_method_has_its_numbers(monkeypatch):
    """And none warns of its density, as the table has its errors."""
    (key, _, told), *_ = trust.LIMITS
    monkeypatch.setattr(trust, "LIMITS", ((key, -1.0, told),))
    result = study(list(METHODS))
    for outcome in result.outcomes:
        assert outcome.failure is None
        assert list(outcome.errors) == list(COLUMNS)
        unknown = {key for key, value in outcome.errors.items() if value is None}
        expected = {"sliced_wasserstein"}
        if outcome.method == "langevin":
            expected |= {"score_error", "kl_error", "free_energy_error", "iterations"}
        assert unknown == expected
    iterations = {o.method: o.errors["iterations"] for o in result.outcomes}
    assert iterations["score"] == iterations["score-end-to-end"] == 8.0
    assert iterations["jko-paper"] == 100.0


def test_what_each_method_is_given():
    """The case's network and fit; the printed scheme; a network where the case has none."""
    same = cases_of("gaussian-1d", [], list(METHODS))
    given = load("gaussian-1d").solver
    for method in ("jko", "score", "score-end-to-end", "velocity-matching"):
        assert same[method].solver.control == given.control
        assert same[method].solver.fit == given.fit
    printed = load("gaussian-1d-paper").solver
    ours = same["jko-paper"].solver
    assert (ours.integrator, ours.method, ours.fit, ours.control) == (
        *(printed.integrator, printed.method, printed.fit, printed.control),
    )
    other = cases_of("multiwell-1d", [], list(METHODS))
    assert other["jko"].solver == load("multiwell-1d").solver
    for method in ("jko-network", "score", "velocity-matching"):
        assert other[method].solver.control.kind == "mlp"
        assert other[method].solver.control == other["score-end-to-end"].solver.control
        assert other[method].solver.fit == other["score-end-to-end"].solver.fit
    assert other["jko-paper"].solver.fit == printed.fit


def test_a_failed_run_has_no_errors_and_stops_no_other():
    """The explicit step of the score folds the map where εΔt is large and the fit is wild."""
    wild = ["solver.fit.learning_rate=5.0", "solver.fit.held_out=0.0", "solver.fit.steps=4"]
    strong = ["problem.collision_rate=20.0", "solver.time_step=0.5", "solver.end_time=2.0"]
    result = study(["score", "langevin"], overrides=[*SMALL[:1], *wild, *strong])
    failed, good = result.outcomes
    assert failed.failure is not None and "parts fine enough" in failed.failure
    assert set(failed.errors.values()) == {None}
    assert good.failure is None and "score (1 of 1 failed)" in result.table()


def test_without_a_known_law():
    """Only the clock is left; the reason is told, and nothing is refused."""
    told = []
    methods = ["jko-paper", "langevin"]
    result = compare("multiwell-3d", SMALL[:2], methods, 1, told.append, lambda result: None)
    assert told[0].startswith("no law is known to hold the runs to: ")
    for outcome in result.outcomes:
        assert outcome.failure is None and outcome.errors["kl_error"] is None
        assert outcome.errors["wall_seconds"] is not None
    assert result.free_energy == []


def test_sliced_distance_is_one_for_exact_samples():
    short = ["particles.number=500", "particles.sampling=random", "solver.end_time=0.2"]
    [outcome] = study(["langevin"], name="gaussian-3d", overrides=short).outcomes
    assert outcome.errors["sliced_wasserstein"] == pytest.approx(1, abs=0.5)
    law = known_law(load("gaussian-3d").build().problem, [])
    samples = [law.sample(0.5, 500, seed) for seed in range(7, 17)]
    ratios = [_sliced_ratio(law, 0.5, z[:, :3], z[:, 3:]) for z in samples]
    assert np.mean(ratios) == pytest.approx(1, abs=0.3)
    shifted = [_sliced_ratio(law, 0.5, z[:, :3] + 1, z[:, 3:]) for z in samples]
    assert np.mean(shifted) > 3


@pytest.mark.parametrize("rate", [2.0, 5.0])
def test_against_a_grid(rate):
    """The default is close to it, in substeps too."""
    short = ["particles.number=2000", "solver.end_time=0.4", f"problem.collision_rate={rate}"]
    result = study(["jko", "langevin"], name="double-well-1d", overrides=short)
    jko, langevin = result.outcomes
    assert jko.failure is None and langevin.failure is None
    start = jko.records[0]["kl_stationary"]
    assert jko.errors["kl_error"] < 0.02 * start
    drift = [r["drift_error"] for r in jko.records[1:]]
    assert jko.errors["score_error"] == pytest.approx(np.mean(drift))
    assert 0 < jko.errors["score_error"] < 0.1
    assert 0.5 < langevin.errors["marginal_error"] < 2


def test_the_command_writes_a_folder(tmp_path):
    arguments = [word for override in SMALL for word in ("--set", override)]
    result = command("compare", "gaussian-1d", "--methods", "jko, langevin", *arguments)
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "runs" / "compare-gaussian-1d"
    assert sorted(p.name for p in folder.iterdir()) == [
        *("compare.csv", "compare.json", "cost.png", "figure2.png", "series.jsonl", "table.txt")
    ]
    assert result.stdout.startswith((folder / "table.txt").read_text())
    rows = list(csv.DictReader((folder / "compare.csv").read_text().splitlines()))
    assert [row["method"] for row in rows] == ["jko", "langevin"]
    assert rows[1]["score_error"] == ""
    asked = json.loads((folder / "compare.json").read_text())
    assert asked["langevin"]["solver"]["method"]["kind"] == "langevin"
    records = [json.loads(text) for text in (folder / "series.jsonl").read_text().splitlines()]
    assert [(r["method"], r["step"]) for r in records] == [
        (method, step) for method in ("jko", "langevin") for step in (0, 1, 2)
    ]
    again = command("compare", "gaussian-1d", "--methods", "langevin", *arguments)
    assert again.exit_code == 0 and folder.with_name("compare-gaussian-1d-2").is_dir()


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (
            ["--methods", "jko,jkp"],
            "--methods: expected some of jko, jko-network, jko-unsplit, jko-paper",
        ),
        (["--methods", ""], "--methods: expected some of"),
        (["--methods", "jko,jko"], "--methods: expected each method once"),
        (["--seeds", "0"], "--seeds: expected a number of runs, 1 or more, got 0"),
        (["--set", "problem.tempo=1"], "problem.tempo: unknown key here"),
    ],
)
def test_what_a_comparison_refuses(arguments, begins, tmp_path):
    assert line(command("compare", "gaussian-1d", *arguments), 2).startswith(begins)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["score", "score-end-to-end", "velocity-matching"])
def test_newton_with_another_method_is_refused(method):
    case = load("multiwell-1d", [f"solver.method.kind={method}", "solver.fit.kind=newton"])
    with pytest.raises(BadInput, match="^solver.fit: "):
        case.build()


@pytest.mark.parametrize("name", ["gaussian-1d", "multiwell-1d", "periodic-1d"])
@pytest.mark.parametrize("method", ["score", "score-end-to-end", "velocity-matching", "langevin"])
def test_a_method_by_its_name_alone(method, name, tmp_path):
    """Any case, whatever control it has by default; the series has the same keys."""
    few = [] if method == "langevin" else SMALL[2:]
    start(load(name, [f"solver.method.kind={method}", *SMALL[:2], *few]), tmp_path / "run")
    records = read_series(tmp_path / "run")
    assert [r["step"] for r in records] == [0, 1, 2]
    assert (records[-1]["free_energy"] is None) == (method == "langevin")


@pytest.mark.parametrize(("name", "number"), [("gaussian-1d", 400), ("double-well-1d", 2000)])
def test_verify(name, number, tmp_path):
    """The second is the compiled step of `test_against_a_grid`."""
    start(load(name, [f"particles.number={number}", "solver.end_time=0.5"]), tmp_path / "run")
    result = command("verify", "run")
    assert result.exit_code == 0, result.stderr
    heading, *rows, figure = result.stdout.splitlines()
    assert heading.split()[:3] == ["t", "KL", "error"]
    assert [float(row.split()[0]) for row in rows] == [0.0, 0.5]
    assert all(abs(float(row.split()[1])) < 0.3 for row in rows)
    assert figure == "figure: run/figures/verify.png" and (tmp_path / figure[8:]).is_file()


def test_verify_by_the_law_at_the_end(tmp_path):
    """No law is known before: the note says so, and what is relative to it is the entropy."""
    few = ["particles.number=400", "solver.end_time=0.1", "output.snapshot_times=[0.1]"]
    start(load("ring-2d", [*few, "solver.method.kind=score"]), tmp_path / "run")
    result = verify(read_case(tmp_path / "run"), tmp_path / "run")
    note, heading, *_ = result.table().splitlines()
    assert note.startswith("held to the stationary law") and heading.startswith("t  ")
    recorded = [record["kl_stationary"] for record in read_series(tmp_path / "run")]
    np.testing.assert_array_equal(result.series["KL error"], recorded)
    assert result.marginal.min() > 2  # far from rest


def test_verify_without_collisions(tmp_path):
    """log f is carried along exactly, but for the integrator of order two."""
    few = ["particles.number=400", "solver.end_time=0.5", "problem.collision_rate=0"]
    start(load("ring-2d", [*few, "solver.time_step=0.01"]), tmp_path / "run")
    result = verify(read_case(tmp_path / "run"), tmp_path / "run")
    assert result.note == "" and np.abs(result.density).max() < 0.02
    assert np.abs(result.series["free-energy error"]).max() < 0.1  # of the sampling
    assert result.marginal.max() < 1


def test_verify_of_stochastic_particles(tmp_path):
    langevin = ["solver.method.kind=langevin", "particles.number=200", "solver.end_time=0.5"]
    start(load("gaussian-1d", langevin), tmp_path / "run")
    *_, last, _ = command("verify", "run").stdout.splitlines()
    time, score, marginal, density = last.split()  # of nothing that needs log f
    assert (score, density) == ("-", "-")
    assert 0.1 < float(marginal) < 4


def test_verify_of_a_plasma(tmp_path):
    few = ["particles.number=4000", "solver.end_time=0.4", "output.snapshot_times=[0.4]"]
    start(load("landau-1d-collisional", few), tmp_path / "run")
    heading, *rows, _ = command("verify", "run").stdout.splitlines()
    columns = ["free-energy error", "field-energy error / largest", "score error"]
    assert [heading.index(c) for c in columns] == sorted(heading.index(c) for c in columns)
    *_, last = rows
    time, free_energy, field_energy, _, marginal, density = (
        np.nan if word == "-" else float(word) for word in last.split()
    )
    assert time == 0.4 and marginal < 0.5 and density < 0.01
    assert (
        abs(free_energy) < 1e-3 and 1e-3 < abs(field_energy) < 0.15
    )  # 4e-4 at most before it is divided


def test_what_verify_refuses(tmp_path):
    assert "expected a run folder" in line(command("verify", "absent"), 2)
    start(load("landau-2d", ["particles.number=60", "solver.end_time=0.1"]), tmp_path / "run")
    said = line(command("verify", "run"), 2)
    assert said.startswith("run: no law is known to hold it to") and "collisions: f tends" in said
    for file in (tmp_path / "run" / "snapshots").glob("step_*.h5"):
        file.unlink()
    assert "expected a run with a series and snapshots" in line(command("verify", "run"), 2)


def test_errors_of_a_verified_run_are_small(tmp_path):
    """The default fit of a Gaussian problem, from a quiet start: near the exact law throughout."""
    newton = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]
    few = ["particles.number=2000", "solver.end_time=1.0", "output.snapshot_times=[0.5]"]
    start(load("gaussian-1d", [*newton, *few]), tmp_path / "run")
    result = verify(read_case(tmp_path / "run"), tmp_path / "run")
    assert np.abs(result.series["KL error"]).max() < 0.02
    assert result.marginal.max() < 1.0
    assert result.density.max() < 0.05
