"""Figures: their look, and how they are written."""

import io
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kjko.run.atomic import write_atomically

DOTS = 150  # an inch
LETTERS = 13  # of a title, an inch
# Okabe and Ito's, told apart with any colour vision. Black is for what a result is held against.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(
    title: str,
    rows: int = 1,
    columns: int = 1,
    panel: tuple[float, float] = (5.0, 3.6),
    **options: Any,
) -> tuple[Figure, Any]:
    """A figure and its axes, an array (rows, columns)."""
    figure = Figure((panel[0] * columns, panel[1] * rows + 0.3), layout="constrained")
    title = textwrap.fill(title, int(LETTERS * panel[0] * columns))
    figure.suptitle(title, fontsize=10, color="0.35", parse_math=False)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="0.92", linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """As PNG, all of it or nothing."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DOTS)
    write_atomically(path, data.getvalue())
    return path
