"""Figures: their look, and how they are written."""

import io
import textwrap
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rc_params_from_file
from matplotlib.figure import Figure

from kjko.run.atomic import write_atomically

DOTS = 150  # an inch
LETTERS = 13  # of a title, an inch
STYLE = rc_params_from_file(Path(__file__).with_name("style.mplstyle"), use_default_template=False)
COLORS: tuple[str, ...] = tuple(STYLE["axes.prop_cycle"].by_key()["color"])


def new_figure(
    title: str,
    rows: int = 1,
    columns: int = 1,
    panel: tuple[float, float] = (5.0, 3.6),
    **options: Any,
) -> tuple[Figure, Any]:
    """A figure and its axes, an array (rows, columns)."""
    with rc_context(STYLE):
        figure = Figure((panel[0] * columns, panel[1] * rows + 0.3))
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    width = int(LETTERS * panel[0] * columns)
    told = "\n".join(textwrap.fill(line, width) for line in title.split("\n"))
    figure.suptitle(told, fontsize=10, color="0.35", parse_math=False)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """As PNG, all of it or nothing."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DOTS)
    write_atomically(path, data.getvalue())
    return path
