"""What a sweep has left: all series as one data set, a table, a figure."""

import csv
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kjko.case import BadInput
from kjko.figures.sweep import draw_sweep
from kjko.run.atomic import write_atomically
from kjko.run.claim import held_by
from kjko.run.reader import Run, open_run
from kjko.run.status import status as status_of_run
from kjko.studies.sweep import SEED, Member, Sweep, read_sweep
from kjko.studies.tables import aligned, summary

if TYPE_CHECKING:
    import xarray

COLUMNS = {  # of the table, where they are known at the end of a run, and their headings
    "free_energy": "free energy",
    "kl_stationary": "relative entropy",
    "energy_kinetic": "kinetic energy",
    "drift_error": "drift error",
    "score_check": "score check",
    "unresolved": "unresolved",
}
WAVE = {  # of a run that has one: ω and γ, measured and of linear theory
    "omega": ("measured", "frequency"),
    "omega_theory": ("theory", "frequency"),
    "gamma": ("measured", "rate"),
    "gamma_theory": ("theory", "rate"),
}


def open_sweep(folder: str | Path) -> "xarray.Dataset":
    """The series of all runs of a sweep, over each key that is swept and "time".

        data = kjko.open_sweep("runs/sweep-gaussian-1d")
        data.free_energy.mean("particles.seed").sel({"problem.collision_rate": 0.3})

    Times are those of any run: what a run has not got to, or between its steps, is nan. Where a
    wave of linear theory is known there are `omega` and `gamma`, nan if not seen, and with
    `_theory` those that it should have.

    Raises FileNotFoundError if it is no sweep or none of its runs has begun, OSError if a file is
    damaged, ValueError if a run's case.toml is not the one that it was begun with.
    """
    import xarray

    sweep = read_sweep(Path(folder))
    runs = {member.folder: run for member, run in runs_of(sweep)}
    if not runs:
        raise FileNotFoundError(f"{folder}: none of its runs has begun")
    every = {f: _at_round_times(run.series).assign(_wave(run)) for f, run in runs.items()}
    nothing = next(iter(every.values())).isel(time=slice(0, 0))
    nothing = nothing.assign(dict.fromkeys(set(WAVE) & set(nothing), np.nan))
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
    """What the runs have come to, as text: see `rows_of`."""
    return aligned(rows_of(sweep))


def rows_of(sweep: Sweep) -> list[list[str]]:
    """Headings, and of the last records of runs that are done, for each setting, the mean over the
    seeds ± their spread.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for member in sweep.members:
        groups.setdefault(_setting(member, sweep), []).append(_last(member))
    done = {name: [last for last in g if last["is_done"]] for name, g in groups.items()}
    found = [last for group in done.values() for last in group]
    headings = {**COLUMNS, **{key: key.replace("_", ", ") for key in WAVE}}
    known = {key for last in found for key in last}
    if known & set(WAVE):  # what was not seen is told of
        known |= set(WAVE)
    shown = {key: heading for key, heading in headings.items() if key in known}
    rows = [["runs", "done", *shown.values()]]
    for name, group in groups.items():
        means = [summary([last.get(key) for last in done[name]]) for key in shown]
        rows.append([name, f"{len(done[name])} of {len(group)}", *means])
    return rows


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
    for member, run in runs_of(sweep):
        groups.setdefault(_setting(member, sweep), []).append(run.columns)
    return draw_sweep(sweep.title, groups, sweep.folder / "sweep.png")


def status(sweep: Sweep) -> tuple[str, list[str]]:
    """One line on how far it is, and one on each file of its runs that is damaged."""
    done, by = sum(member.is_done for member in sweep.members), held_by(sweep.folder)
    line = f"{sweep.folder}: {done} of {len(sweep.cases)} runs are done"
    if by is not None:
        line += f"; process {by['process']} on {by['host']} goes on"
    elif done < len(sweep.cases):
        line += f"; `kjko resume {sweep.folder}` goes on"
    return line, [damage for _, run in runs_of(sweep) for damage in status_of_run(run)[1]]


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


def runs_of(sweep: Sweep) -> Iterator[tuple[Member, Run]]:
    """Those that have a record. Raises as `kjko.open_run`, but BadInput for ValueError."""
    for member in (member for member in sweep.members if member.has_begun):
        try:
            run = open_run(member.folder)
        except ValueError as error:
            raise BadInput(str(error)) from None
        if run.records:
            yield member, run


def _last(member: Member) -> dict[str, Any]:
    """The numbers of a run's last record, of its wave, and whether it is done."""
    if not member.has_begun:
        return {"is_done": False}
    run = open_run(member.folder)
    last = run.records[-1] if run.records else {}
    numbers = {k: v for k, v in last.items() if isinstance(v, int | float)}
    waves = {key: number for key, number in _wave(run).items() if not np.isnan(number)}
    return {"is_done": member.is_done, **numbers, **waves}


def _wave(run: Run) -> dict[str, float]:
    """By the keys of `WAVE`; nan for what was not seen, nothing of a run without a wave."""
    if not run.wave:
        return {}
    found = {key: run.wave.get(source, {}).get(name) for key, (source, name) in WAVE.items()}
    return {key: np.nan if number is None else number for key, number in found.items()}


def _value(text: str) -> Any:
    """A number where it is one, else the text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
