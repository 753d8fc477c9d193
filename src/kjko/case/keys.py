"""Every key of a case, from the tables and signatures that declare it, and their docstrings."""

import inspect
import math
import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel

from kjko.case.parts import Part
from kjko.case.tables import CaseTable

DESCRIBED = re.compile(r"(?P<key>\w+)(?: \[(?P<unit>[^]]+)\])?: (?P<text>.+)")
WORDS: dict[type, str] = {float: "number", int: "whole number", str: "text", bool: "boolean"}
SIGNS = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "min_length": "length >=",
    "max_length": "length <=",
}


class Key(NamedTuple):
    """A key: its `path` in a case, the `kind` of the table that has it (empty where all have it),
    its type, what it may be, its unit, the `default` (None: none, or that of a table in its own
    keys), whether it is `required` in its table, and what it is. Of `kind` there is a row a kind.
    """

    path: str
    kind: str
    type: str
    range: str
    unit: str
    default: Any
    required: bool
    description: str

    def told(self) -> str:
        """Two lines: what it takes, and what it is."""
        return f"{self.path}{self._takes()}\n    {self.description}"

    def _takes(self) -> str:
        if self.path.endswith(".kind"):
            return f" = {toml(self.kind)}{', the default' if self.kind == self.default else ''}"
        facts = (
            f"of {self.kind}" if self.kind else "",
            self.type,
            self.range,
            f"in {self.unit}" if self.unit else "",
            "required" if self.required else "",
            "" if self.default is None else f"default {toml(self.default)}",
        )
        return f": {'; '.join(filter(None, facts))}"


def toml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def keys() -> list[Key]:
    """All of them, those of a table after it."""
    return list(_of_table(CaseTable, "", ""))


def find(pattern: str) -> list[Key]:
    """Those that have a text in their path or kind."""
    return [key for key in keys() if pattern.lower() in f"{key.path} {key.kind}".lower()]


def _of_table(table: type[BaseModel], parent: str, kind: str, default: Any = None) -> Iterator[Key]:
    """`default`: a table with the values that are in force where none is given."""
    what, described = _described(table)
    if issubclass(table, Part):
        (kind,) = get_args(table.model_fields["kind"].annotation)
        usual = default.kind if isinstance(default, Part) else None
        yield Key(f"{parent}kind", kind, "text", "", "", usual, usual is None, what)
    for name, field in table.model_fields.items():
        if name == "kind":
            continue
        unit, text = described.get(name, ("", ""))
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        plain = None if isinstance(value, BaseModel) else value
        type_, range_ = _words(field.annotation), _range(field.annotation, field.metadata)
        path, required = f"{parent}{name}", field.is_required()
        yield Key(path, kind, type_, range_, unit, plain, required, text)
        for inner in _tables(field.annotation):
            yield from _of_table(inner, f"{path}.", kind, value)


def _described(table: type[BaseModel]) -> tuple[str, dict[str, tuple[str, str]]]:
    """What a docstring says of a table, and the unit and description of each of its keys."""
    what, *paragraphs = re.split(r"\n\s*\n", inspect.getdoc(table) or "")
    described: dict[str, tuple[str, str]] = {}
    for line in "\n".join(paragraphs).replace("\n    ", " ").splitlines():
        found = DESCRIBED.fullmatch(line)
        if found:
            described[found["key"]] = found["unit"] or "", found["text"]
    return " ".join(what.split()).rstrip("."), described


def _members(annotation: Any) -> Iterator[Any]:
    """What a value may be of, without None."""
    of = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(of) in (Union, UnionType):
        for member in get_args(of):
            yield from _members(member)
    elif of is not type(None):
        yield annotation


def _plain(member: Any) -> tuple[Any, list[Any]]:
    """A type and what is asked of its values."""
    if get_origin(member) is not Annotated:
        return member, []
    of, *metadata = get_args(member)
    return of, [asked for m in metadata for asked in getattr(m, "metadata", [m])]


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """The tables that it may be, or be a list of, each once."""
    found: list[type[BaseModel]] = []
    for member in _members(annotation):
        of, _ = _plain(member)
        if get_origin(of) is list:
            found += _tables(get_args(of)[0])
        elif isinstance(of, type) and issubclass(of, BaseModel):
            found.append(of)
    return list(dict.fromkeys(found))


def _words(annotation: Any, many: str = "") -> str:
    """A type in words; `many`: the ending of the plural."""
    words = []
    for member in _members(annotation):
        of, _ = _plain(member)
        if get_origin(of) is list:
            words.append(f"list{many} of {_words(get_args(of)[0], 's')}")
        else:
            words.append(("text" if get_origin(of) is Literal else WORDS.get(of, "table")) + many)
    return " or ".join(dict.fromkeys(words))


def _range(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What its numbers or texts may be."""
    return " or ".join(
        dict.fromkeys(filter(None, (_of(m, metadata) for m in _members(annotation))))
    )


def _of(member: Any, metadata: Sequence[Any]) -> str:
    of, asked = _plain(member)
    told = [
        f"{sign} {_written(getattr(bound, name))}"
        for name, sign in SIGNS.items()
        for bound in [*asked, *metadata]
        if getattr(bound, name, None) is not None
    ]
    if get_origin(of) is Literal:
        told.insert(0, ", ".join(map(str, get_args(of))))
    elif get_origin(of) is list:
        told.insert(0, _range(get_args(of)[0]))
    return ", ".join(filter(None, told))


def _written(bound: float) -> str:
    power = math.log2(abs(bound)) if bound else 0.0
    is_large = power >= 31 and power.is_integer()
    return f"{'-' if bound < 0 else ''}2^{power:.0f}" if is_large else f"{bound:g}"
