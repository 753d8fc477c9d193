"""Checks of a case's values, and the one line that is said of what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class BadInput(ValueError):
    """Input that is refused: one line with the key, what was expected, what came, what to do."""


@contextmanager
def at(path: str, **renamed: str) -> Iterator[None]:
    """Put the key's path before what a constructor says of its arguments; `renamed`: arguments that
    have another name in a case.
    """
    try:
        yield
    except BadInput:
        raise
    except ValueError as error:
        name, colon, rest = str(error).partition(":")
        raise BadInput(f"{path}.{renamed.get(name, name)}{colon}{rest}") from None


def check_range(value: Any, precision: str, *path: str) -> None:
    """Numbers that would become zero or infinite are refused."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            check_range(item, precision, *path, str(key))
    elif isinstance(value, float) and value != 0:
        info = np.finfo(np.float32 if precision == "single" else np.float64)
        tiny, largest = float(info.tiny), float(info.max)
        if not tiny <= abs(value) <= largest:
            raise BadInput(
                f"{'.'.join(path)}: expected zero or a number from {tiny:.0e} to {largest:.0e} in"
                f" {precision} precision, got {value:g}"
            )


def vector(
    path: str, values: list[Any], size: int, source: str = "problem.dimension"
) -> np.ndarray:
    if len(values) != size:
        raise BadInput(
            f"{path}: expected a list of length {size}, got length {len(values)}; it follows from"
            f" {source}"
        )
    return np.array(values, dtype=float)


def positive_definite(path: str, rows: list[list[float]], size: int) -> np.ndarray:
    lengths = [len(row) for row in rows]
    if lengths != [size] * size:
        raise BadInput(
            f"{path}: expected a {size} x {size} matrix, got rows of length {lengths}; it follows"
            " from problem.dimension"
        )
    matrix = np.array(rows, dtype=float)
    if not np.allclose(matrix, matrix.T):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise BadInput(
            f"{path}: expected a symmetric matrix, got {matrix[i, j]:g} in row {i + 1}, column"
            f" {j + 1} and {matrix[j, i]:g} across the diagonal"
        )
    least = np.linalg.eigvalsh(matrix).min()
    if not least > 0:
        raise BadInput(
            f"{path}: expected a positive definite matrix, got one with the eigenvalue {least:.3g}"
        )
    return matrix
