"""From text to a checked case: TOML, overrides, and one line for what is wrong."""

import difflib
import itertools
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from kjko import cases
from kjko.case.build import Experiment, build, has_coupled_pairs
from kjko.case.checks import BadInput
from kjko.case.keys import keys
from kjko.case.parts import of_kind
from kjko.case.tables import CaseTable

TRAINED = "levenberg-marquardt"
TITLE_VALUE = 40  # characters of a value that a title tells


class Case(CaseTable):
    """A case file. `build` makes the objects; call it under the precision that the case names."""

    def to_toml(self) -> str:
        """The case in full, with its defaults."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def build(self) -> Experiment:
        """Raises BadInput for what only shows when the objects are made."""
        return build(self)


def load(name: str, overrides: list[str] | None = None) -> Case:
    """The case of a built-in name or of a path to a .toml file, with `a.b=value` overrides.

    Raises BadInput if there is no such case, or for the first key that is wrong.
    """
    path = Path(name)
    if name in cases.names():
        return parse_toml(cases.text(name), name, overrides)
    if path.suffix != ".toml" or not path.is_file():
        close = difflib.get_close_matches(path.stem, cases.names(), n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(close)}" if close else "`kjko cases` lists them"
        raise BadInput(f"{name}: no built-in case and no .toml file of that name; {hint}")
    try:
        return parse_toml(path.read_text(encoding="utf-8"), name, overrides)
    except UnicodeDecodeError:
        raise BadInput(f"{name}: not valid TOML: expected UTF-8 text") from None


def parse_toml(text: str, name: str, overrides: list[str] | None = None) -> Case:
    """The case of a TOML text. Raises BadInput for the first key that is wrong."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the decoder's own error is a ValueError
        raise BadInput(f"{name}: not valid TOML: {error}") from None
    changes = set_keys(data, overrides or [])
    try:
        case = Case.model_validate(data)
    except ValidationError as error:
        raise BadInput(_explain(max(error.errors(), key=_weight), data)) from None
    case = _with_functions_of_all_coordinates(case)
    leaves = (tuple(leaf) for path, value in changes for leaf in _leaves(path, value))
    return _titled(case, list(dict.fromkeys(leaves)))


def set_keys(data: dict[str, Any], overrides: list[str]) -> list[tuple[list[str], Any]]:
    """Set keys of nested tables, by `a.b=value`; the paths and values that were. Raises BadInput.

    Tables are set before their keys and a kind before the rest: the order given does not matter.
    """
    changes = sorted(map(_parse_override, overrides), key=_rank)
    for path, value in changes:
        _set(data, path, value)
    return changes


def _with_functions_of_all_coordinates(case: Case) -> Case:
    """The defaults of the solver where f is no product over the pairs and none are given."""
    solver = case.solver
    if {"control", "fit"} & solver.model_fields_set or solver.method.kind != "jko":
        return case
    try:
        if not has_coupled_pairs(case):
            return case
    except BadInput:  # what is wrong is told when the case is built
        return case
    trained = {"control": of_kind("control", "ridges"), "fit": of_kind("fit", TRAINED)}
    return case.model_copy(update={"solver": solver.model_copy(update=trained)})


def _titled(case: Case, changed: list[tuple[str, ...]]) -> Case:
    """With what was set of the equation and the solver added to a title that says otherwise."""
    if ("title",) in changed:
        return case
    told = []
    for path in sorted(path for path in changed if path[0] in ("problem", "solver")):
        value: Any = case.model_dump()
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        text = str(value.get("kind") if isinstance(value, dict) else value)
        told.append(f"{'.'.join(path[1:])} = {text[:TITLE_VALUE]}")
    return case.model_copy(update={"title": "; ".join([case.title, *told])}) if told else case


def _leaves(path: list[str], value: Any) -> list[list[str]]:
    """The keys that a value sets, a table's own ones among them."""
    if not isinstance(value, dict) or not value:
        return [path]
    return [leaf for key, inner in value.items() for leaf in _leaves([*path, key], inner)]


def _parse_override(override: str) -> tuple[list[str], Any]:
    """`a.b=value` as a path and a value: TOML, or else a string."""
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path) or not override.isprintable():
        raise BadInput(f"--set {override!r}: expected KEY.PATH=VALUE, as in solver.time_step=0.05")
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return path, text.strip()  # a bare word is a string


def _rank(override: tuple[list[str], Any]) -> tuple[int, bool]:
    path, _ = override
    return len(path), path[-1] != "kind"


def _set(data: dict[str, Any], path: list[str], value: Any) -> None:
    """Set one key. A new `kind` starts its table anew: the old kind's keys mean nothing to it."""
    *parents, last = path
    table = data
    for i, key in enumerate(parents, start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise BadInput(
                f"--set {'.'.join(path)}: expected a table at {'.'.join(parents[:i])}, got"
                f" {reprlib.repr(table)}; a list is set as a whole"
            )
    if last == "kind" and table.get("kind", value) != value:
        table.clear()
    table[last] = value


def _weight(error: Any) -> tuple[bool, int]:
    """Which error to tell: a misspelt key before the one that it leaves missing; else the deepest,
    which says most of a value that fits none of several types."""
    return error["type"] == "extra_forbidden", len(error["loc"])


def _explain(error: Any, data: dict[str, Any]) -> str:
    """One line for a pydantic error: the key's path, what was expected, what came, what to do."""
    parts = _path(error, data)
    came = error["input"]
    if error["type"].startswith("union_tag"):
        parts.append("kind")
        came = came.get("kind")
    key = ".".join(p if re.fullmatch(r"[\w-]+", p) else repr(p) for p in parts)
    if error["type"] in ("missing", "union_tag_not_found"):
        return f"{key}: expected this key, got none; `kjko show gaussian-1d-paper` has an example"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key here; {_nearest_key(key)}"
    expected = error["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    if error["type"] == "union_tag_invalid":
        expected = f"one of {error['ctx']['expected_tags']}"
    elif error["type"] == "int_type":
        expected = "a whole number"
    elif error["type"] in ("model_type", "model_attributes_type"):
        expected = "a table"
    elif expected.startswith(("greater", "less")):
        expected = f"a number {expected}"
    settable = ".".join(itertools.takewhile(lambda p: not p.isdigit(), parts))
    return (
        f"{key}: expected {expected}, got {reprlib.repr(came)}; change it in the file or by"
        f" --set {settable}=…"
    )


def _path(error: Any, data: dict[str, Any]) -> list[str]:
    """The keys that lead to an error. Its location also has the names of members of unions."""
    path, here = [], data
    *parents, last = error["loc"]
    for part in parents:
        if _holds(here, part):
            here = here[part]
            path.append(str(part))
    if error["type"] in ("missing", "extra_forbidden") or _holds(here, last):
        path.append(str(last))
    return path


def _holds(here: Any, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int)
    return isinstance(here, dict) and part in here and part != here.get("kind")


def _nearest_key(key: str) -> str:
    known = sorted({key.path for key in keys()})
    if key in known:
        return f"another kind has it, see {key.rpartition('.')[0]}.kind"
    names = {k: k.rpartition(".")[2] for k in known}
    close = difflib.get_close_matches(key.rpartition(".")[2], set(names.values()), n=1)
    if not close:
        return "remove it"
    places = [k for k, name in names.items() if name == close[0]]
    return f"did you mean {difflib.get_close_matches(key, places, n=1, cutoff=0)[0]}?"
