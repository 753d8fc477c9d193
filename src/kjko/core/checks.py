"""Checks of what objects are made from. Numbers that jax is tracing pass: none are there yet."""

from collections.abc import Callable
from typing import Any, get_args

import jax
import numpy as np


def is_traced(value: Any) -> bool:
    """Whether jax is tracing a value, so that it is no number yet."""
    return isinstance(value, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]


def expect(name: str, value: Any, holds: Callable[[np.ndarray], Any], expected: str) -> None:
    """Raise ValueError unless `holds` is true of all of a value; `expected` says what should be."""
    if is_traced(value):
        return
    array = np.asarray(value)
    if not np.all(holds(array.astype(float))):
        raise ValueError(f"{name}: must be {expected}, got {array!s}")


def expect_one_of(name: str, value: Any, choices: Any) -> None:
    """Raise ValueError unless a value is one of the `choices`, a Literal."""
    if value not in get_args(choices):
        listed = " or ".join(repr(choice) for choice in get_args(choices))
        raise ValueError(f"{name}: expected {listed}, got {value!r}")
