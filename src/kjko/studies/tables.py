"""Numbers as text: means with their spread, and columns that stand below each other."""

import math
from collections.abc import Sequence

import numpy as np

FINEST = 1e-6  # of a number: what it is uncertain by, to be told of
PLAIN = 6  # places on either side of the point, beyond which a number is told with its power of ten


def summary(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation of what is known, and of how many that is if not of all."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    told = uncertain(float(np.mean(known)), float(np.std(known, ddof=1)) if known[1:] else None)
    return told if len(known) == len(values) else f"{told} ({len(known)} of {len(values)})"


def uncertain(value: float, error: float | None) -> str:
    """A number to the place that it is certain to, as "-0.1531 ± 0.0002"; to four digits where that
    is not known, and to six where the error is below a millionth, which is not told.
    """
    if error is None or not np.isfinite(error):
        return f"{value:.4g}"
    if error <= FINEST * abs(value):
        return f"{value:.6g}"
    place = math.floor(math.log10(float(f"{error:.1g}")))
    value, error = (round(number, -place) + 0.0 for number in (value, error))
    if abs(place) > PLAIN or abs(value) >= 10**PLAIN:
        digits = max(1, math.floor(math.log10(abs(value))) - place + 1) if value else 1
        return f"{value:.{digits}g} ± {error:.1g}"
    return f"{value:.{max(0, -place)}f} ± {error:.{max(0, -place)}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
