"""Numbers as text: means with their spread, and columns that stand below each other."""

from collections.abc import Sequence

import numpy as np


def summary(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation of what is known."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {np.std(known, ddof=1):.1g}" if len(known) > 1 else ""
    return f"{np.mean(known):.3g}{spread}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
