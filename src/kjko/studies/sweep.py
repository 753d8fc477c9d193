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
from kjko.case.memory import check_step
from kjko.figures.sweep import draw_sweep
from kjko.observe import NumericalFailure
from kjko.run import loop
from kjko.run.atomic import write_atomically
from kjko.run.checkpoints import NoCheckpoint, newest_step
from kjko.run.claim import claimed, held_by
from kjko.run.damaged import Damaged
from kjko.run.reader import Run, open_run
from kjko.run.sealed import seal, unseal
from kjko.run.status import status as status_of_run
from kjko.signals import RESUMABLE, exit_at_once
from kjko.simulation import number_of_steps
from kjko.studies.tables import aligned, summary

if TYPE_CHECKING:
    import xarray

PLAN = "sweep.json"
SEED = "particles.seed"
ONE = (  # what all runs have in common: jax is set up for it, and data sets have its dimensions
    "solver.precision",
    "problem.dimension",
    "problem.velocity_dimension",
)
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

    Raises BadInput for the first case of them that is wrong.
    """
    if seeds < 1:
        raise BadInput(f"--seeds {seeds}: expected 1 or more; leave it out for one")
    fixed, axes = [], {}
    for override in overrides:
        key, values = override.partition("=")[0].strip(), _alternatives(override.partition("=")[2])
        if key in axes or len(set(values)) < len(values):
            raise BadInput(f"--set {override}: expected each key and value once; set it once")
        if len(values) > 1:
            axes[key] = values
        else:
            fixed.append(override)
    first = load(name, [*fixed, *_settings(axes, [values[0] for values in axes.values()])])
    if SEED in axes and seeds > 1:
        raise BadInput(f"--seeds {seeds}: expected {SEED} without a list of values; set either")
    axes.setdefault(SEED, [str(first.particles.seed + i) for i in range(seeds)])
    cases = []
    for values in itertools.product(*axes.values()):
        case = load(name, [*fixed, *_settings(axes, values)])
        for key in ONE:
            if _at(case, key) != _at(first, key):
                raise BadInput(f"{key}: expected one for a whole sweep; make one for each")
        cases.append(case.to_toml())
    return Sweep(folder, _title(name, fixed, first), axes, cases)


def check(sweep: Sweep) -> None:
    """Make each setting once, with jax set up for it. Raises BadInput for what only shows then."""
    first = sweep.axes[SEED][0]
    for member in sweep.members:
        if member.settings[SEED] == first:
            check_step(member.case.build())


def start(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    """Run all members; what went wrong with some, by folder. `progress` is told of each.

    Raises Interrupted after a signal, BadInput if the folder is in use.
    """
    content = {"title": sweep.title, "axes": sweep.axes, "cases": sweep.cases}
    with claimed(sweep.folder):
        loop.check_unused(sweep.folder)
        write_atomically(sweep.folder / PLAN, seal(content, indent=1).encode())
        return _run(sweep, progress)


def resume(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    """Go on with what of a sweep is not done. Raises as `start`."""
    with claimed(sweep.folder):
        return _run(sweep, progress)


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (folder / PLAN).is_file()


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder. Raises FileNotFoundError if it is none, Damaged if it is damaged."""
    try:
        return Sweep(folder, **unseal((folder / PLAN).read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{folder}: not a sweep's folder, it has no {PLAN}") from None
    except (ValueError, TypeError) as error:
        raise Damaged(folder / PLAN, error) from None


def open_sweep(folder: str | Path) -> "xarray.Dataset":
    """The series of all runs of a sweep, over each key that is swept and "time".

        data = kjko.open_sweep("runs/sweep-gaussian-1d")
        data.free_energy.mean("particles.seed").sel({"problem.collision_rate": 0.3})

    Times are those of any run: what a run has not got to, or between its steps, is nan. Raises
    FileNotFoundError if it is no sweep or none of its runs has begun, OSError if a file is damaged,
    ValueError if a run's case.toml is not the one that it was begun with.
    """
    import xarray

    sweep = read_sweep(Path(folder))
    runs = {member.folder: run for member, run in _runs(sweep)}
    if not runs:
        raise FileNotFoundError(f"{folder}: none of its runs has begun")
    every = {folder: _at_round_times(run.series) for folder, run in runs.items()}
    nothing = next(iter(every.values())).isel(time=slice(0, 0))
    members = iter(sweep.members)

    def along(axes: list[str]) -> xarray.Dataset:
        if not axes:
            return every.get(next(members).folder, nothing)
        key, *rest = axes
        parts = [along(rest) for _ in sweep.axes[key]]
        values = xarray.IndexVariable(key, [_value(text) for text in sweep.axes[key]])
        return xarray.concat(parts, dim=values, join="outer", combine_attrs="drop")

    return along(list(sweep.axes)).assign_attrs(title=sweep.title)


def table(sweep: Sweep) -> str:
    """The last records of runs that are done: for each setting the mean over the seeds ± their
    spread.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for member in sweep.members:
        groups.setdefault(_setting(member, sweep), []).append(_last(member))
    done = {name: [last for last in g if last["is_done"]] for name, g in groups.items()}
    found = [last for group in done.values() for last in group]
    shown = {k: v for k, v in {**COLUMNS, **WAVE}.items() if any(k in last for last in found)}
    rows = [["runs", "done", *shown.values()]]
    for name, group in groups.items():
        means = [summary([last.get(key) for last in done[name]]) for key in shown]
        rows.append([name, f"{len(done[name])} of {len(group)}", *means])
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
    groups: dict[str, list[dict[str, np.ndarray]]] = {}
    for member, run in _runs(sweep):
        groups.setdefault(_setting(member, sweep), []).append(run.columns)
    return draw_sweep(sweep.title, groups, sweep.folder / "sweep.png")


def status(sweep: Sweep) -> tuple[str, list[str]]:
    """One line on how far it is, and one on each file of its runs that is damaged."""
    done, by = sum(map(_is_done, sweep.members)), held_by(sweep.folder)
    line = f"{sweep.folder}: {done} of {len(sweep.cases)} runs are done"
    if by is not None:
        line += f"; process {by['process']} on {by['host']} goes on"
    elif done < len(sweep.cases):
        line += f"; `kjko resume {sweep.folder}` goes on"
    return line, [damage for _, run in _runs(sweep) for damage in status_of_run(run)[1]]


def _run(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    """Each run that is not done. What is wrong with one does not keep the others."""
    failures = {}
    with exit_at_once(RESUMABLE, loop.stopped(sweep.folder)):
        for number, member in enumerate(sweep.members, start=1):
            if _is_done(member):
                continue
            progress(f"run {number} of {len(sweep.cases)}: {member.name}")
            run = loop.resume if _has_begun(member) else loop.start
            try:
                run(member.case, member.folder, resumes=sweep.folder)
            except (NumericalFailure, BadInput, Damaged) as error:
                failures[member.folder] = str(error)
            except NoCheckpoint:
                again = "remove the folder and resume the sweep"
                failures[member.folder] = f"no checkpoint that can be read; {again}"
    return failures


def _settings(axes: Iterable[str], values: Iterable[str]) -> list[str]:
    """As --set takes them."""
    return [f"{key}={value}" for key, value in zip(axes, values, strict=True)]


def _title(name: str, fixed: list[str], first: Case) -> str:
    """That of the case without what is swept, if it is one without it."""
    try:
        return load(name, fixed).title
    except BadInput:
        return first.title


def _at(case: Case, key: str) -> Any:
    value: Any = case
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _setting(member: Member, sweep: Sweep) -> str:
    """What members that differ by their seeds alone have in common, with names that tell it."""
    own = {key: value for key, value in member.settings.items() if key != SEED}
    ends = [key.rpartition(".")[2] for key in own]
    names = [end if ends.count(end) == 1 else key for key, end in zip(own, ends, strict=True)]
    told = (f"{name} = {value}" for name, value in zip(names, own.values(), strict=True))
    return ", ".join(told) or sweep.title


def _at_round_times(series: "xarray.Dataset") -> "xarray.Dataset":
    """Times of different steps are the same but for rounding."""
    return series.assign_coords(time=np.round(series.time, 9))


def _has_begun(member: Member) -> bool:
    return (member.folder / "case.toml").exists()


def _is_done(member: Member) -> bool:
    solver = member.case.solver
    return newest_step(member.folder) >= number_of_steps(solver.end_time, solver.time_step)


def _runs(sweep: Sweep) -> Iterator[tuple[Member, Run]]:
    """Those that have a record. Raises as `kjko.open_run`, but BadInput for ValueError."""
    for member in filter(_has_begun, sweep.members):
        try:
            run = open_run(member.folder)
        except ValueError as error:
            raise BadInput(str(error)) from None
        if run.records:
            yield member, run


def _last(member: Member) -> dict[str, Any]:
    """The numbers of a run's last record, of its wave, and whether it is done."""
    if not _has_begun(member):
        return {"is_done": False}
    run = open_run(member.folder)
    last = run.records[-1] if run.records else {}
    numbers = {k: v for k, v in last.items() if isinstance(v, int | float)}
    measured = (run.wave or {}).get("measured") or {}
    waves = {key: measured[key] for key in WAVE if measured.get(key) is not None}
    return {"is_done": _is_done(member), **numbers, **waves}


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
