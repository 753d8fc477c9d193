"""`kjko report`: an HTML file of a run, of several or of a sweep, which needs nothing beside it."""

import base64
import io
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from PIL import Image

from kjko.figures.canvas import DOTS
from kjko.figures.run_figures import draw
from kjko.figures.sweep import LABELS as COMPARED
from kjko.figures.sweep import draw_sweep
from kjko.observe.trust import checks_of_density
from kjko.report.captions import caption
from kjko.report.equation import equation
from kjko.report.summary import Check, checks, cost, manifest, parameters, results, wave
from kjko.run.atomic import write_atomically
from kjko.run.reader import Run
from kjko.run.status import status
from kjko.studies import sweep_results
from kjko.studies.sweep import Sweep

SCREEN = 96  # pixels an inch


class Picture(NamedTuple):
    """`source`: the picture itself, as the address of an image. `width` on a screen, in pixels."""

    source: str
    width: int
    text: str


class Section(NamedTuple):
    """What is told of one run."""

    name: str
    folder: str
    title: str
    status: str
    warning: str | None
    equation: list[str]
    parameters: dict[str, str]
    results: list[tuple[str, str, str]]
    wave: list[tuple[str, str, str]]
    checks: list[Check]
    verified: str | None
    pictures: list[Picture]
    cost: list[tuple[str, str]]
    manifest: list[tuple[str, str]]


class Table(NamedTuple):
    heading: str
    columns: list[str]
    rows: list[list[str]]


class Overview(NamedTuple):
    """What is told of several runs together."""

    status: str | None
    equation: list[str]
    tables: list[Table]
    picture: Picture | None


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write the report of runs to a file; of several with a comparison first.

    Their figures are drawn again. Raises OSError if a file is damaged or the report cannot be
    written.
    """
    sections = [_section(run) for run in runs]
    title = sections[0].title if len(runs) == 1 else f"{len(runs)} runs of kinetic-jko"
    _write(path, title, _comparison(runs, sections) if len(runs) > 1 else None, sections)


def write_sweep_report(sweep: Sweep, path: Path) -> None:
    """Write the report of a sweep to a file: what is swept, and what its runs have come to.

    Its figure is drawn again. Raises as `write_report`, and BadInput for a run whose case was
    changed.
    """
    _write(path, sweep.title, _overview(sweep), [])


def _write(path: Path, title: str, overview: Overview | None, sections: list[Section]) -> None:
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(files("kjko.report").joinpath("page.html").read_text(encoding="utf-8"))
    page = template.render(title=title, sections=sections, overview=overview)
    write_atomically(path, page.encode())


def _section(run: Run) -> Section:
    _, warning = checks_of_density(run.columns)
    line, damage = status(run)
    verified = _verified(run)
    return Section(
        name=_name(run),
        folder=str(run.folder),
        title=run.title,
        status=line.removeprefix(f"{run.folder}: "),
        warning=warning,
        equation=equation(run.case["problem"]),
        parameters=parameters(run.case),
        results=results(run),
        wave=wave(run),
        checks=checks(run, damage),
        verified=verified,
        pictures=[
            _picture(path, caption("animation" if path.suffix == ".webp" else path.stem, run))
            for path in _figures(run, verified is not None)
        ],
        cost=cost(run),
        manifest=manifest(run),
    )


def _name(run: Run) -> str:
    return run.folder.resolve().name


def _verified(run: Run) -> str | None:
    """What `kjko verify` has found, of the run as it is now: with a line for its last snapshot."""
    path = run.folder / "verify.txt"
    if not path.exists() or not run.snapshot_files:
        return None
    table = path.read_text(encoding="utf-8", errors="replace")
    *_, last = table.split("\n")[-2:-1] or [""]
    return table if last.split(" ")[0] == f"{run.times[-1]:g}" else None


def _figures(run: Run, is_verified: bool) -> list[Path]:
    """Those drawn now, and that of `kjko verify`."""
    drawn = draw(run.folder, film=False)
    verified = run.folder / "figures" / "verify.png"
    return [*drawn, verified] if is_verified and verified.exists() else drawn


def _picture(path: Path, text: str) -> Picture:
    """A still picture without loss, an animation as it is."""
    data = path.read_bytes()
    image = Image.open(io.BytesIO(data))
    width = round(image.width * SCREEN / DOTS) if path.suffix == ".png" else image.width
    if path.suffix == ".png":
        packed = io.BytesIO()
        image.convert("RGB").save(packed, format="WEBP", lossless=True)
        data = packed.getvalue()
    return Picture("data:image/webp;base64," + base64.b64encode(data).decode(), width, text)


def _comparison(runs: Sequence[Run], sections: Sequence[Section]) -> Overview:
    keys = dict.fromkeys(key for section in sections for key in section.parameters)
    cases = {key: [section.parameters.get(key, "–") for section in sections] for key in keys}
    names = [_name(run) for run in runs]
    names = names if len(set(names)) == len(names) else [str(run.folder) for run in runs]
    picture = None
    if any(set(COMPARED) & set(run.columns) for run in runs):
        with tempfile.TemporaryDirectory() as folder:
            named = {name: [run.columns] for name, run in zip(names, runs, strict=True)}
            path = draw_sweep("", named, Path(folder) / "comparison.png")
            picture = _picture(path, "What is measured over time, a line a run.")
    told = {
        "Where the cases differ": [[k, *row] for k, row in cases.items() if len(set(row)) > 1],
        "Results at the end": _beside([{n: last for n, _, last in s.results} for s in sections]),
        "Checks": _beside([{check.name: check.value for check in s.checks} for s in sections]),
        "Cost": _beside([dict(section.cost) for section in sections]),
    }
    tables = [Table(heading, ["", *names], rows) for heading, rows in told.items()]
    return Overview(None, [], tables, picture)


def _overview(sweep: Sweep) -> Overview:
    line, damage = sweep_results.status(sweep)
    first = next(sweep.members).case.model_dump(mode="json", exclude_none=True)
    headings, *rows = sweep_results.rows_of(sweep)
    runs = list(sweep_results.runs_of(sweep))
    seconds = [float(np.nansum(run.columns.get("seconds", 0.0))) for _, run in runs]
    doubtful = [
        [str(member.folder), member.name, warning]
        for member, run in runs
        if (warning := checks_of_density(run.columns)[1])
    ]
    tables = [
        Table(
            "What is swept", ["key", "values"], [[k, ", ".join(v)] for k, v in sweep.axes.items()]
        ),
        Table("Results at the end: mean over the seeds ± standard deviation", headings, rows),
        Table("Runs whose density cannot be trusted", ["run", "with", "why"], doubtful),
        Table("Damaged files", [], [[each] for each in damage]),
        Table("Cost", [], [["all steps of all runs", f"{sum(seconds):.4g} s"]]),
    ]
    text = "What is measured over time, a line a setting, with two standard errors over the seeds."
    is_drawn = any(set(COMPARED) & set(run.columns) for _, run in runs)
    picture = _picture(sweep_results.draw(sweep), text) if is_drawn else None
    return Overview(line, equation(first["problem"]), tables, picture)


def _beside(tables: Sequence[dict[str, str]]) -> list[list[str]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return [[name, *(table.get(name, "–") for table in tables)] for name in names]
