"""Commands that write, show and explain cases."""

import tomllib

import pytest
from commands import kjko, line

from kjko.case import load
from kjko.cli import new_case

QUICK = ["--set", "particles.number=200", "--set", "solver.end_time=0.2"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def on_a_terminal(monkeypatch):
    monkeypatch.setattr(new_case, "_is_asked", lambda: True)


@pytest.mark.parametrize(
    ("equation", "law", "d"),
    [("potential", "normal", 2), ("potential", "beams", 1), ("plasma", "wave", 3)],
)
def test_a_written_case_is_valid(equation, law, d, tmp_path):
    options = ["--equation", equation, "--law", law, "--dimension", d]
    written = kjko("init", "mine.toml", *options, "--set", "particles.number=4096")
    assert written.stdout == "mine.toml: written; `kjko run mine.toml` runs it\n"
    assert kjko("validate", "mine.toml").stdout == "mine.toml: valid\n"
    case = load("mine.toml")
    assert (case.problem.dimension, case.particles.number) == (d, 4096)
    experiment = case.build()
    assert bool(experiment.problem.own_fields) == (equation == "plasma")
    if equation == "plasma":  # its plasma frequency is one
        assert float(experiment.problem.plasma_frequency) == pytest.approx(1.0)


def test_a_written_case_runs_and_says_what_its_keys_are(tmp_path):
    assert kjko("init", "mine.toml", *QUICK).exit_code == 0
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    (rate,) = [text for text in lines if text.startswith("collision_rate = ")]
    assert rate.endswith("  # ε; 0 is without collisions [1/time]")
    assert any(text.startswith("# seed = 0 ") for text in lines)  # left out: with its default
    assert kjko("run", "mine.toml", "--out", "run", "--quiet").exit_code == 0
    assert (tmp_path / "run" / "series.jsonl").read_text().count("\n") == 3


def test_what_is_left_out_is_the_default(tmp_path):
    """Without the signs of a comment the file is the same case, all of it in force."""
    kjko("init", "mine.toml", "--equation", "plasma")
    text = (tmp_path / "mine.toml").read_text()
    (tmp_path / "all.toml").write_text(text.replace("\n# ", "\n"))
    assert len(tomllib.loads((tmp_path / "all.toml").read_text())["solver"]) == 7
    assert load("all.toml") == load("mine.toml")


def test_several_forces_in_a_written_case():
    force = "[{kind = 'poisson', number_of_cells = 16}, {kind = 'uniform', acceleration = [0.1]}]"
    options = ["--equation", "plasma", "--set", f"problem.force={force}"]
    assert kjko("init", "mine.toml", *options).exit_code == 0
    given = load("mine.toml").problem.force
    assert [table.kind for table in given] == ["poisson", "uniform"]
    assert (given[0].number_of_cells, given[1].acceleration) == (16, [0.1])


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    assert line(kjko("init", "mine.toml"), 2).startswith("mine.toml: expected a new file")
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert line(kjko("init", "mine.txt"), 2).startswith("mine.txt: expected a new file")


def test_options_that_do_not_go_together(tmp_path):
    assert line(kjko("init", "--law", "wave"), 2) == (
        "--law: expected one of normal, beams, got wave"
    )
    assert line(kjko("init", "--dimension", "4"), 2).startswith("--dimension: expected one of 1,")
    assert line(kjko("init", "--set", "solver.tme_step=1"), 2).startswith("solver.tme_step: unk")
    bad = ["--set", "problem.potential.kind=sine"]
    assert line(kjko("init", *bad), 2).startswith("problem.potential.kind: sine is periodic and")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_cannot_be_taken_is_asked_again(on_a_terminal):
    answers = ["x", "plasma", "beams", "ampere", "0.01", "-1", "", "1e3", "7"]
    result = kjko("init", "mine.toml", "--dimension", "1", stdin="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    assert "problem.collision_rate: ε; 0 is without collisions [0.1]: " in result.stdout
    refused = [text for text in result.stderr.splitlines() if text.startswith("kjko: ")]
    assert refused[0] == "kjko: --equation: expected one of potential, plasma, got x"
    assert refused[1].startswith("kjko: problem.temperature: expected a number greater than 0")
    assert len(refused) == 2
    case = load("mine.toml")
    assert case.problem.force.kind == "ampere" and case.problem.collision_rate == 0.01
    assert case.problem.temperature == 1.0 and case.particles.number == 1000
    assert case.solver.end_time == 7.0 and len(case.problem.law.velocity.means) == 2


def test_what_an_option_says_is_not_asked(on_a_terminal):
    options = ["--equation", "potential", "--law", "normal", "--dimension", "1"]
    options += ["--set", "problem.potential={kind='multiwell'}", "--set", "solver.end_time=3"]
    result = kjko("init", *options, stdin="2\n\n\n")
    assert result.exit_code == 0
    asked = [text.partition(":")[0] for text in result.stdout.splitlines() if "]: " in text]
    assert asked == ["problem.collision_rate", "problem.temperature", "particles.number"]
    case = load("case.toml")
    assert (case.problem.potential.kind, case.problem.collision_rate) == ("multiwell", 2.0)


def test_no_answer_stops(on_a_terminal, tmp_path):
    result = kjko("init", stdin="potential\n")
    assert result.exit_code == 130 and result.stderr.endswith("kjko: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_show_with_keys_set_is_the_case_in_full(tmp_path):
    overrides = ["--set", "solver.time_step=0.05", "--set", "problem.potential.kind=quadratic"]
    shown = kjko("show", "multiwell-1d", *overrides)
    (tmp_path / "mine.toml").write_text(shown.stdout)
    words = [word for word in overrides if word != "--set"]
    assert load("mine.toml") == load("multiwell-1d", words)
    assert tomllib.loads(shown.stdout)["solver"]["fit"]["iterations"] == 20  # a default
    bad = line(kjko("show", "multiwell-1d", "--set", "solver.tim=1"), 2)
    assert bad.startswith("solver.tim: unknown key")


def test_keys_are_told():
    assert kjko("keys", "double-well").stdout.splitlines()[:4] == [
        'problem.potential.kind = "double-well"',
        "    φ = b Σᵢ ((xᵢ/m)² − 1)²",
        "problem.potential.barrier: of double-well; number; > 0; in velocity²; default 1.0",
        "    b, the height between two minima",
    ]
    assert "solver.end_time: number; > 0; in time; required\n" in kjko("keys").stdout
    assert 'solver.fit.kind = "newton", the default\n' in kjko("keys", "fit.kind").stdout
    assert line(kjko("keys", "colour"), 2).startswith("colour: expected a part of a key")
