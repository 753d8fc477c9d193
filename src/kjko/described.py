"""What arguments of a program are but for their numbers, in JSON, and such objects from it."""

import dataclasses
import functools
import hashlib
from importlib import import_module
from typing import Any

import equinox as eqx
import jax
import numpy as np

BUILT_ON = ("jax", "jaxlib", "equinox", "optax", "numpy")
KNOWN = {"kjko", *BUILT_ON}
PYTHON = ("abc", "typing")  # bases that hold nothing
PLAIN = (bool, int, float, str, type(None))  # and none of their subclasses


class Unknown(Exception):
    """What depends on more than the code of this package and of those it builds on."""


class OnHost:
    """A value that no program depends on: any two are equal, and so is what is traced with them."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnHost)

    def __hash__(self) -> int:
        return hash(OnHost)


def describe(value: Any, constant: bool = False) -> Any:
    """A pytree without the numbers of its arrays: shapes and dtypes, classes and fields, names of
    functions, and all that is static. With `constant`, arrays too are what they hold.

    Raises Unknown for what has code of its own, as a class of another package or a lambda has.
    """
    if type(value) in PLAIN:
        return value
    if eqx.is_array(value):
        return {"array": str(jax.typeof(value)), "holds": _digest(value) if constant else None}
    if type(value) in (tuple, list, dict):
        items = value.items() if isinstance(value, dict) else value
        return {type(value).__name__: [describe(item, constant) for item in items]}
    if isinstance(value, OnHost):
        return {"host": None}
    if hasattr(value, "__qualname__"):  # a function or a class
        return {"name": name_of(value)}
    return {"class": name_of(type(value)), "fields": _fields(value, constant)}


def rebuild(described: Any) -> Any:
    """The object that was described, with a zero for each array. Raises Unknown for a constant."""
    if type(described) in PLAIN:
        return described
    if "array" in described:
        if described["holds"] is not None:
            raise Unknown("an array that is a constant")
        return np.zeros(())
    if "host" in described:
        raise Unknown("a value on the host")
    if "name" in described:
        return _named(described["name"])
    for kind in (tuple, list, dict):
        if kind.__name__ in described:
            return kind(rebuild(item) for item in described[kind.__name__])
    fields = {key: rebuild(field) for key, field in described["fields"].items()}
    made = _named(described["class"])
    if issubclass(made, tuple):
        return made(**fields)
    whole = object.__new__(made)
    for key, field in fields.items():
        object.__setattr__(whole, key, field)
    return whole


def name_of(value: Any) -> str:
    """Module and name of a function or a class.

    Raises Unknown for one of another package, and for what only has the name of another, as what
    wraps a function does.
    """
    name = f"{value.__module__}:{value.__qualname__}"
    if name.partition(".")[0].partition(":")[0] not in KNOWN or _named(name) is not value:
        raise Unknown(name)
    return name


def _fields(value: Any, constant: bool) -> dict[str, Any]:
    if isinstance(value, tuple):
        names = getattr(value, "_fields")  # noqa: B009  of a named tuple
        return {key: describe(getattr(value, key), constant) for key in names}
    if isinstance(value, eqx.Module):
        static = {f.name: "static" in f.metadata for f in dataclasses.fields(value)}
    elif all(base.__module__ in PYTHON or _is_own(base) for base in type(value).__mro__):
        static = dict.fromkeys(vars(value), True)
    else:  # what C keeps of it, as of a partial, is not seen
        raise Unknown(repr(value))
    own = vars(value)
    if not own.keys() <= static.keys():
        raise Unknown(repr(value))
    return {key: describe(own[key], constant or static[key]) for key in own}


def _is_own(base: type) -> bool:
    return base is object or base.__module__.partition(".")[0] == "kjko"


def _named(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        return functools.reduce(getattr, path.split("."), import_module(module))
    except (ImportError, AttributeError):  # a part of a function, say
        raise Unknown(name) from None


def _digest(array: Any) -> str:
    return hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
