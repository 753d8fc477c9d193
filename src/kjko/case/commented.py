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
        value, usual = table.get(name), _usual(key, known)
        if value is None and usual is not None:
            yield _line(f"# {name} = {toml(usual)}", key)
        elif value is not None and not isinstance(value, dict):
            yield _line(f"{name} = {toml(value)}", key)
    names = {key.path.removeprefix(parent): key for key in own}
    for name in (name for name in table if name not in names):  # which are refused when it is read
        yield f"{name} = {toml(table[name])}"
    for name, key in names.items():
        inner = table.get(name)
        if isinstance(inner, dict):
            yield from ("", f"[{key.path}]  # {key.description}")
            yield from _lines(inner, f"{key.path}.", known)


def _is_of(key: Key, table: dict[str, Any], parent: str) -> bool:
    """Whether it is a key of this table itself, of the kind that the table is of."""
    if not key.path.startswith(parent) or "." in key.path.removeprefix(parent):
        return False
    return key.kind == table["kind"] if "kind" in table else True


def _usual(key: Key, known: list[Key]) -> Any:
    """What holds where a key is not given; of a table its kind."""
    kinds = [inner.default for inner in known if inner.path == f"{key.path}.kind"]
    return {"kind": kinds[0]} if kinds and kinds[0] else key.default


def _line(entry: str, key: Key) -> str:
    unit = f" [{key.unit}]" if key.unit else ""
    return f"{entry:{WIDTH}}  # {key.description}{unit}"
