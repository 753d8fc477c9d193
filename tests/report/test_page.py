"""The page of a run: what it tells, and that it needs nothing else."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import kjko, line
from run_folders import SMALL, series, small_case, write_series

from kjko import cases
from kjko.case import load
from kjko.report.equation import equation
from kjko.report.page import write_report
from kjko.run import loop, open_run

LARGEST = 2_000_000  # bytes


class Page(HTMLParser):
    """The text of a page, its pictures and all that it would fetch."""

    def __init__(self, path: Path):
        super().__init__()
        self.words, self.pictures, self.tags, self.fetched = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "img":
            self.pictures.append((given["src"], given["alt"]))
        self.fetched += [given[key] for key in ("src", "href", "srcset") if key in given]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two that differ in ε and Δt alone."""
    folder = tmp_path_factory.mktemp("runs")
    loop.start(small_case(), folder / "one")
    loop.start(small_case("problem.collision_rate=0.25", "solver.time_step=0.2"), folder / "two")
    return folder


def report(*folders: Path) -> Page:
    path = folders[0] / "report.html"
    write_report([open_run(folder) for folder in folders], path)
    assert path.stat().st_size < LARGEST
    page = Page(path)
    assert all(address.startswith("data:image/webp;base64,") for address in page.fetched)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    return page


def test_of_one_run(runs):
    page, last = report(runs / "one"), series(runs / "one")[-1]
    assert "∂ₜf + v·∇ₓf + (−∇φ)·∇ᵥf = ε ∇ᵥ·(v f + T₀ ∇ᵥf) ε = 1, T₀ = 1" in page.text
    assert "finished, 6 steps" in page.text and "Not measured; `kjko verify " in page.text
    for key in ("free_energy", "kl_stationary", "energy_kinetic"):
        assert f"{last[key]:.6g}" in page.text
    texts = [text for _, text in page.pictures]
    assert len(set(texts)) == len(texts) == len(list((runs / "one" / "figures").iterdir()))
    kl = next(text for text in texts if text.startswith("Relative entropy"))
    assert f"{last['kl_stationary']:.3g} at t = 0.6" in kl
    assert "files of the run whole ✓ holds" in page.text


def test_of_a_density_that_cannot_be_trusted(runs, tmp_path):
    loop.start(small_case(), tmp_path / "run")
    records = series(tmp_path / "run")
    write_series(tmp_path / "run", [*records[:-1], records[-1] | {"score_check": 0.5}])
    page = report(tmp_path / "run")
    assert "the density cannot be trusted" in page.text
    assert "0.5 ≤ 0.07 ✗ fails" in page.text


def test_a_comparison_tells_what_differs(runs):
    page = report(runs / "one", runs / "two")
    differences = page.text.partition("Where the cases differ")[2].partition("Results")[0]
    assert "problem.collision_rate 1.0 0.25" in differences
    assert "solver.time_step 0.1 0.2" in differences
    assert "particles.number" not in differences and "problem.temperature" not in differences
    for folder in ("one", "two"):
        assert f"{series(runs / folder)[-1]['entropy']:.6g}" in page.text


def test_what_verify_has_found_is_told(runs):
    result = kjko("verify", runs / "two")
    assert result.exit_code == 0, result.stderr
    page = report(runs / "two")
    row = (runs / "two" / "verify.txt").read_text().splitlines()[-1]
    assert " ".join(row.split()) in page.text and row in result.stdout
    assert any(text.startswith("Errors of the run") for _, text in page.pictures)


def test_what_verify_has_found_of_a_shorter_run_is_not(runs, tmp_path):
    loop.start(small_case("solver.end_time=0.3"), tmp_path / "run")
    kjko("verify", tmp_path / "run")
    assert "rms log f error" in report(tmp_path / "run").text
    text = (tmp_path / "run" / "case.toml").read_text()
    (tmp_path / "run" / "case.toml").write_text(text.replace("end_time = 0.3", "end_time = 0.5"))
    assert kjko("resume", tmp_path / "run").exit_code == 0
    page = report(tmp_path / "run")
    assert "rms log f error" not in page.text
    assert not any(said.startswith("Errors of the run") for _, said in page.pictures)


def test_of_a_sweep(tmp_path):
    """What is swept, the table of the command, and which run is not to be trusted."""
    folder = tmp_path / "sweep"
    given = [word for key in (*SMALL, "problem.collision_rate=1.0,0.25") for word in ("--set", key)]
    told = kjko("sweep", "gaussian-1d", *given, "--seeds", 2, "--out", folder)
    records = series(folder / "3")
    write_series(folder / "3", [*records[:-1], records[-1] | {"score_check": 0.5}])
    assert kjko("report", folder).stdout == f"report: {folder / 'report.html'}\n"
    page = Page(folder / "report.html")
    assert "problem.collision_rate 1.0, 0.25 particles.seed 0, 1" in page.text
    assert f"{folder}: 4 of 4 runs are done" in page.text and "ε = 1, T₀ = 1" in page.text
    assert " ".join(told.stdout.splitlines()[1].split()) in page.text
    told = f"{folder / '3'} problem.collision_rate = 0.25, particles.seed = 1 the density cannot be"
    assert told in page.text
    assert len(page.pictures) == 1 and page.fetched == [page.pictures[0][0]]
    said = line(kjko("report", folder, folder / "0"), 2)
    assert said == f"{folder}: expected runs, or a sweep alone, got it beside others"


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    for folder in ("a", "b"):
        loop.start(small_case(), tmp_path / folder / "run")
    page = report(tmp_path / "a" / "run", tmp_path / "b" / "run")
    assert page.text.count(str(tmp_path / "b" / "run")) >= 4  # a column of each table


def test_an_animation_is_told_of_as_one(tmp_path):
    settings = ["particles.number=200", "solver.end_time=0.1", "output.histogram_every=1"]
    loop.start(load("landau-1d", settings), tmp_path / "run")
    texts = [text for _, text in report(tmp_path / "run").pictures]
    assert len(set(texts)) == len(texts)
    assert [text for text in texts if text.startswith("Phase space over time, an animation")]


def test_a_folder_that_is_no_run(tmp_path):
    assert "not a run folder" in line(kjko("report", tmp_path), 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", cases.names())
def test_every_case_has_an_equation(name):
    first, *others = equation(load(name).model_dump(exclude_none=True)["problem"])
    assert first.startswith("∂ₜf + v·∇ₓf") and " = " in first
    assert not any("{" in line or "None" in line for line in others)


def test_the_equation_of_many_parts():
    forces = "[{kind='poisson'},{kind='magnetic',gyrofrequency=[0.0,0.0,0.5]}]"
    case = load("landau-1d", ["problem.velocity_dimension=3", f"problem.force={forces}"])
    assert equation(case.model_dump(exclude_none=True)["problem"]) == [
        "∂ₜf + v·∇ₓf + (E + v × Ω)·∇ᵥf = 0",
        "E = −∇Φ, −ΔΦ = ρ − ρ̄, ρ = ∫ f dv",
        "Ω = [0.0, 0.0, 0.5]",
        "x ∈ [0, 12.5664], periodic, v ∈ ℝ³, ∫∫ f dx dv = 12.5664",
    ]
