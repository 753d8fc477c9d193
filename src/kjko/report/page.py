"""`kjko report`: one HTML file of one run or of several, which needs nothing beside it."""

import base64
import io
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jinja2
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


class Comparison(NamedTuple):
    """Runs beside each other, a column each: `tables` by their headings."""

    names: list[str]
    tables: list[tuple[str, list[list[str]]]]
    picture: Picture | None


def write_report(runs: Sequence[Run], path: Path) -> None:
    """Write the report of runs to a file; of several with a comparison first.

    Their figures are drawn again. Raises OSError if a file is damaged or the report cannot be
    written.
    """
    sections = [_section(run) for run in runs]
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(files("kjko.report").joinpath("page.html").read_text(encoding="utf-8"))
    title = sections[0].title if len(runs) == 1 else f"{len(runs)} runs of kinetic-jko"
    comparison = _comparison(runs, sections) if len(runs) > 1 else None
    page = template.render(title=title, sections=sections, comparison=comparison)
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
            _picture(path, caption(path.stem, run)) for path in _figures(run, verified is not None)
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
    drawn = draw(run.folder)
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


def _comparison(runs: Sequence[Run], sections: Sequence[Section]) -> Comparison:
    keys = dict.fromkeys(key for section in sections for key in section.parameters)
    cases = {key: [section.parameters.get(key, "–") for section in sections] for key in keys}
    folders = [str(run.folder) for run in runs]
    names = [_name(run) for run in runs]
    names = names if len(set(names)) == len(names) else folders
    picture = None
    if any(set(COMPARED) & set(run.columns) for run in runs):
        with tempfile.TemporaryDirectory() as folder:
            named = {name: [run.columns] for name, run in zip(names, runs, strict=True)}
            path = draw_sweep("", named, Path(folder) / "comparison.png")
            picture = _picture(path, "What is measured over time, a line a run.")
    return Comparison(
        names=names,
        tables=[
            (
                "Where the cases differ",
                [[k, *row] for k, row in cases.items() if len(set(row)) > 1],
            ),
            (
                "Results at the end",
                _beside([{n: last for n, _, last in s.results} for s in sections]),
            ),
            (
                "Checks",
                _beside([{check.name: check.value for check in s.checks} for s in sections]),
            ),
            ("Cost", _beside([dict(section.cost) for section in sections])),
        ],
        picture=picture,
    )


def _beside(tables: Sequence[dict[str, str]]) -> list[list[str]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return [[name, *(table.get(name, "–") for table in tables)] for name in names]
