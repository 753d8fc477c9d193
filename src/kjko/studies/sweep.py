"""A case for each of several values of its keys and several seeds: runs in one folder."""

import csv
import io
import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kjko.case import BadInput, Case, load, parse_toml
from kjko.figures.sweep import draw_sweep
from kjko.observe import NumericalFailure
from kjko.run import loop
from kjko.run.atomic import write_atomically
from kjko.run.checkpoints import newest_step
from kjko.run.claim import claimed, held_by
from kjko.run.damaged import Damaged
from kjko.run.reader import Run, open_run
from kjko.run.sealed import seal, unseal
from kjko.signals import RESUMABLE, Interrupted
from kjko.simulation import number_of_steps
from kjko.studies.tables import aligned, summary

if TYPE_CHECKING:
    import xarray

PLAN = "sweep.json"
SEED = "particles.seed"
COLUMNS = {  # of the table, where they are known at the end of a run, and their headings
    "free_energy": "free energy",
    "kl_stationary": "relative entropy",
    "energy_kinetic": "kinetic energy",
    "drift_error": "drift error",
    "score_check": "score check",
    "unresolved": "unresolved",
}
WAVE = {"frequency": "omega", "rate": "gamma"}  # of the wave, measured


class Member(NamedTuple):
    """A run of a sweep: its folder, what is its own, and its case."""

    folder: Path
    settings: dict[str, str]
    case: Case

    @property
    def name(self) -> str:
        return ", ".join(f"{key} = {value}" for key, value in self.settings.items())


class Sweep(NamedTuple):
    """What is swept, by key the values as --set takes them, and the cases as text, the last key
    fastest.
    """

    folder: Path
    title: str
    axes: dict[str, list[str]]
    cases: list[str]

    @property
    def members(self) -> Iterator[Member]:
        width = len(str(len(self.cases) - 1))
        settings = itertools.product(*self.axes.values())
        for number, (values, case) in enumerate(zip(settings, self.cases, strict=True)):
            folder = self.folder / f"{number:0{width}}"
            own = dict(zip(self.axes, values, strict=True))
            yield Member(folder, own, parse_toml(case, str(folder)))


def plan(name: str, overrides: list[str], seeds: int, folder: Path) -> Sweep:
    """The sweep over all that `overrides` give several values of, as in a.b=1,2,3, and over so many
    seeds from the case's own on.

    Raises BadInput for the first case of them that is wrong, before any is run.
    """
    fixed, axes = [], {}
    for override in overrides:
        key, _, text = override.partition("=")
        values = _alternatives(text)
        if len(values) > 1:
            axes[key.strip()] = values
        else:
            fixed.append(override)
    if seeds < 1 or (seeds > 1 and SEED in axes):
        raise BadInput(f"--seeds {seeds}: expected 1 or more, and {SEED} not to be set; name one")
    first = load(name, [*fixed, *_settings(axes, next(itertools.product(*axes.values())))])
    if SEED not in axes:
        axes[SEED] = [str(first.particles.seed + i) for i in range(seeds)]
    cases = []
    for values in itertools.product(*axes.values()):
        case = load(name, [*fixed, *_settings(axes, values)])
        if case.solver.precision != first.solver.precision:
            raise BadInput("solver.precision: expected one for a whole sweep; make two of it")
        if str(case.particles.seed) == axes[SEED][0]:
            case.build()
        cases.append(case.to_toml())
    return Sweep(folder, load(name).title, axes, cases)


def start(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    """Run all members; what went wrong with some, by folder. `progress` is told of each.

    Raises Interrupted after a signal, BadInput if the folder is in use.
    """
    content = {"title": sweep.title, "axes": sweep.axes, "cases": sweep.cases}
    with claimed(sweep.folder):
        loop.check_unused(sweep.folder)
        write_atomically(sweep.folder / PLAN, seal(content, indent=1).encode())
        return _run(sweep, progress)


def resume(folder: Path, progress: Callable[[str], None]) -> dict[Path, str]:
    """Go on with what of a sweep is not done. Raises as `start`."""
    with claimed(folder):
        return _run(read_sweep(folder), progress)


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (folder / PLAN).is_file()


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder. Raises Damaged."""
    try:
        return Sweep(folder, **unseal((folder / PLAN).read_bytes()))
    except (ValueError, TypeError) as error:
        raise Damaged(folder / PLAN, error) from None


def open_sweep(folder: str | Path) -> "xarray.Dataset":
    """The series of all runs of a sweep, over each key that is swept and "time".

        data = kjko.open_sweep("runs/sweep-gaussian-1d")
        data.free_energy.mean("particles.seed").sel({"problem.collision_rate": 0.3})

    What a run has not got to is nan. Raises FileNotFoundError if it is no sweep or none of its runs
    has begun, OSError if a file is damaged.
    """
    import xarray

    sweep = read_sweep(Path(folder))
    runs = {m.folder: open_run(m.folder).series for m in sweep.members if _has_begun(m)}
    if not runs:
        raise FileNotFoundError(f"{folder}: none of its runs has begun")
    nothing = next(iter(runs.values())).isel(time=slice(0, 0))
    members = iter(sweep.members)

    def along(axes: list[str]) -> xarray.Dataset:
        if not axes:
            return runs.get(next(members).folder, nothing)
        key, *rest = axes
        parts = [along(rest) for _ in sweep.axes[key]]
        values = xarray.IndexVariable(key, [_value(text) for text in sweep.axes[key]])
        return xarray.concat(parts, dim=values, join="outer", combine_attrs="drop")

    return along(list(sweep.axes)).assign_attrs(title=sweep.title)


def table(sweep: Sweep) -> str:
    """The runs' last records: for each setting the mean over the seeds ± their spread."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for member in sweep.members:
        groups.setdefault(_setting(member, sweep), []).append(_last(member))
    found = [last for group in groups.values() for last in group]
    shown = {k: v for k, v in {**COLUMNS, **WAVE}.items() if any(k in last for last in found)}
    rows = [["runs", "", *shown.values()]]
    for name, group in groups.items():
        done = sum(last.get("is_done", False) for last in group)
        means = [summary([last.get(key) for last in group]) for key in shown]
        rows.append([name, f"{done} of {len(group)}", *means])
    return aligned(rows)


def write_table(sweep: Sweep) -> Path:
    """sweep.csv: a line for each run, with its settings and its last record."""
    rows = [{"run": m.folder.name, **m.settings, **_last(m)} for m in sweep.members]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(sweep.folder / "sweep.csv", text.getvalue().encode())
    return sweep.folder / "sweep.csv"


def draw(sweep: Sweep) -> Path:
    """sweep.png: what is measured over time, for each setting."""
    groups: dict[str, list[Run]] = {}
    for member in sweep.members:
        if _has_begun(member):
            groups.setdefault(_setting(member, sweep), []).append(open_run(member.folder))
    curves = {}
    for name, runs in groups.items():
        longest = max((run.columns for run in runs), key=lambda columns: len(columns["time"]))
        curves[name] = (
            longest["time"],
            {
                key: np.stack([_filled(run.columns[key], len(longest["time"])) for run in runs])
                for key, values in longest.items()
                if values.ndim == 1 and all(key in run.columns for run in runs)
            },
        )
    return draw_sweep(sweep.title, curves, sweep.folder / "sweep.png")


def status(sweep: Sweep) -> str:
    """One line on how far it is."""
    done, by = sum(map(_is_done, sweep.members)), held_by(sweep.folder)
    line = f"{sweep.folder}: {done} of {len(sweep.cases)} runs are done"
    if by is not None:
        return f"{line}; process {by['process']} on {by['host']} goes on"
    return line if done == len(sweep.cases) else f"{line}; `kjko resume {sweep.folder}` goes on"


def _run(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    failures = {}
    stopped = f"stopped; `kjko resume {sweep.folder}` goes on"
    for number, member in enumerate(sweep.members, start=1):
        if _is_done(member):
            continue
        progress(f"run {number} of {len(sweep.cases)}: {member.name}")
        run = loop.resume if _has_begun(member) else loop.start
        try:
            run(member.case, member.folder, at_once=(RESUMABLE, stopped))
        except NumericalFailure as error:
            failures[member.folder] = str(error)
        except Interrupted:
            raise Interrupted(stopped) from None
    return failures


def _settings(axes: Iterable[str], values: Iterable[str]) -> list[str]:
    """As --set takes them."""
    return [f"{key}={value}" for key, value in zip(axes, values, strict=True)]


def _setting(member: Member, sweep: Sweep) -> str:
    """What members that differ by their seeds alone have in common."""
    own = {key: value for key, value in member.settings.items() if key != SEED}
    return ", ".join(f"{key.rpartition('.')[2]} = {v}" for key, v in own.items()) or sweep.title


def _filled(values: np.ndarray, length: int) -> np.ndarray:
    """With nan for what a run has not got to."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])


def _has_begun(member: Member) -> bool:
    return (member.folder / "case.toml").exists()


def _is_done(member: Member) -> bool:
    solver = member.case.solver
    return newest_step(member.folder) == number_of_steps(solver.end_time, solver.time_step)


def _last(member: Member) -> dict[str, Any]:
    """The numbers of a run's last record, of its wave, and whether it is done."""
    if not _has_begun(member):
        return {"is_done": False}
    run: Run = open_run(member.folder)
    records = run.records or [{}]
    last = {k: v for k, v in records[-1].items() if isinstance(v, int | float)}
    measured = (run.wave or {}).get("measured") or {}
    waves = {key: measured[key] for key in WAVE if measured.get(key) is not None}
    return {"is_done": _is_done(member), **last, **waves}


def _alternatives(text: str) -> list[str]:
    """The values of a list like 0.1,0.3,1; commas in brackets and in quotes are none of its."""
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += letter
    return [value.strip() for value in values]


def _value(text: str) -> Any:
    """A number where it is one, else the text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
