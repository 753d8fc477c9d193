"""A case as a file to edit: each key with what it is, and those left out with their defaults."""

from collections.abc import Iterator
from typing import Any

from kjko.case.keys import Key, keys, toml

WIDTH = 40  # of a key and its value, before what it is


def commented(tables: dict[str, Any]) -> str:
    """The TOML of nested tables, whose keys a case has.

    Keys that are left out, of the tables that are there, follow as comments.
    """
    return "\n".join(_lines(tables, "", keys())).strip() + "\n"


def _lines(table: dict[str, Any], parent: str, known: list[Key]) -> Iterator[str]:
    own = [key for key in known if _is_of(key, table, parent)]
    for key in own:
        name = key.path.removeprefix(parent)
        value = table.get(name, key.default)
        if key.type.startswith("table"):
            usual = _usual(key, known)
            if name not in table and usual:
                yield _line(f"# {name} = {{ kind = {toml(usual)} }}", key)
        elif name in table:
            yield _line(f"{name} = {toml(value)}", key)
        elif value is not None:
            yield _line(f"# {name} = {toml(value)}", key)
    for key in own:
        inner = table.get(key.path.removeprefix(parent))
        if isinstance(inner, dict):
            yield from ("", f"[{key.path}]  # {key.description}")
            yield from _lines(inner, f"{key.path}.", known)


def _is_of(key: Key, table: dict[str, Any], parent: str) -> bool:
    """Whether it is a key of this table itself, of the kind that the table is of."""
    if not key.path.startswith(parent) or "." in key.path.removeprefix(parent):
        return False
    return key.kind == table["kind"] if "kind" in table else True


def _usual(key: Key, known: list[Key]) -> str | None:
    """The kind of a table that is not given, if it has one."""
    kinds = [inner for inner in known if inner.path == f"{key.path}.kind"]
    return kinds[0].default if kinds else None


def _line(entry: str, key: Key) -> str:
    unit = f" [{key.unit}]" if key.unit else ""
    return f"{entry:{WIDTH}}  # {key.description}{unit}"
