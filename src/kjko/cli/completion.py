"""What the shell offers: cases, run folders, keys. Without jax, so at once."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from kjko import cases

MARKS = ("case.toml", "sweep.json")  # of the folder of a run, of a sweep


def names_of_cases(incomplete: str) -> list[str]:
    """Built-in cases, and files."""
    return [*_begin_with(cases.names(), incomplete), *_paths(incomplete, _is_case)]


def folders(incomplete: str) -> list[str]:
    """Of runs and sweeps, those in runs/ among them."""
    found = _paths(incomplete, _is_run)
    return found or (_paths("runs/", _is_run) if not incomplete else [])


def overrides(context: typer.Context, incomplete: str) -> list[str]:
    """Keys that the case or a built-in one has."""
    texts = [cases.text(name) for name in cases.names()]
    files = [path for path in map(Path, context.args) if _is_case(path) and path.is_file()]
    try:
        texts += [path.read_text(encoding="utf-8") for path in files]
        known = {f"{key}=" for text in texts for key in _keys(tomllib.loads(text))}
    except (OSError, ValueError):  # the case is no TOML, which is not to be told here
        return []
    return _begin_with(sorted(known), incomplete)


def _begin_with(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _paths(incomplete: str, fits: Callable[[Path], bool]) -> list[str]:
    """Paths that begin so, and fit or are folders on the way to what does."""
    given = Path(incomplete)
    parent, start = (given, "") if incomplete.endswith("/") else (given.parent, given.name)
    if not parent.is_dir():
        return []
    found = sorted(path for path in parent.iterdir() if path.name.startswith(start))
    ends = [(path, "" if fits(path) else "/") for path in found if fits(path) or path.is_dir()]
    return [f"{path}{end}" for path, end in ends if not path.name.startswith(".")]


def _is_case(path: Path) -> bool:
    return path.suffix == ".toml"


def _is_run(path: Path) -> bool:
    return any((path / mark).is_file() for mark in MARKS)


def _keys(table: dict[str, Any], parent: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{parent}{name}.")
        else:
            yield f"{parent}{name}"
