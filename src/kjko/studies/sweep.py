"""A case for each of several values of its keys and several seeds: runs in one folder."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kjko.case import BadInput, Case, load, parse_toml
from kjko.case.memory import check_step
from kjko.observe import NumericalFailure
from kjko.run import loop
from kjko.run.atomic import write_atomically
from kjko.run.checkpoints import NoCheckpoint, newest_step
from kjko.run.claim import claimed
from kjko.run.damaged import Damaged
from kjko.run.sealed import seal, unseal
from kjko.signals import RESUMABLE, exit_at_once
from kjko.simulation import number_of_steps

PLAN = "sweep.json"
SEED = "particles.seed"
ONE = (  # what all runs have in common: jax is set up for it, and data sets have its dimensions
    "solver.precision",
    "problem.dimension",
    "problem.velocity_dimension",
)


class Member(NamedTuple):
    """A run of a sweep: its folder, what is its own, and its case."""

    folder: Path
    settings: dict[str, str]
    case: Case

    @property
    def name(self) -> str:
        return ", ".join(f"{key} = {value}" for key, value in self.settings.items())

    @property
    def has_begun(self) -> bool:
        return (self.folder / "case.toml").exists()

    @property
    def is_done(self) -> bool:
        solver = self.case.solver
        return newest_step(self.folder) >= number_of_steps(solver.end_time, solver.time_step)


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


def _run(sweep: Sweep, progress: Callable[[str], None]) -> dict[Path, str]:
    """Each run that is not done. What is wrong with one does not keep the others."""
    failures = {}
    with exit_at_once(RESUMABLE, loop.stopped(sweep.folder)):
        for number, member in enumerate(sweep.members, start=1):
            if member.is_done:
                continue
            progress(f"run {number} of {len(sweep.cases)}: {member.name}")
            run = loop.resume if member.has_begun else loop.start
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
