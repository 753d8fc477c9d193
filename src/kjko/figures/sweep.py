"""A sweep: what is measured over time, a line for each setting with the spread of its seeds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kjko.figures.canvas import COLORS, new_figure, save

MOST = 12  # lines that can be told apart
LABELS = {
    "kl_stationary": "relative entropy to $f_\\infty$",
    "free_energy": "free energy",
    "energy_field": "field energy",
}
STYLES = ("-", "--")


def draw_sweep(
    title: str,
    groups: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]],
    path: Path,
) -> Path:
    """`groups`: by its name, the times of a setting and by quantity its values (seeds, times).

    Lines are means, bands two standard errors of them.
    """
    found = [k for k in LABELS if any(k in values for _, values in groups.values())]
    figure, (panels,) = new_figure(title, 1, max(1, len(found)))
    for axes, key in zip(panels, found, strict=False):
        for i, (name, (times, values)) in enumerate(list(groups.items())[:MOST]):
            if key not in values:
                continue
            mean, error = _mean(values[key])
            color, style = COLORS[i % len(COLORS)], STYLES[i // len(COLORS)]
            axes.plot(times, mean, color=color, ls=style, label=name)
            axes.fill_between(
                times, mean - 2 * error, mean + 2 * error, color=color, alpha=0.2, lw=0
            )
        axes.set(xlabel="$t$", ylabel=LABELS[key])
        shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        if 0 < 10 * np.nanmin(shown) < np.nanmax(shown):
            axes.set_yscale("log")
    if len(groups) > 1 and found:
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    return save(figure, path)


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the seeds that are known, and its standard error; zero of a single one."""
    known = np.sum(~np.isnan(values), axis=0)
    total = np.nansum(values, axis=0)
    mean = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    square = np.nansum((values - mean) ** 2, axis=0)
    return mean, np.sqrt(square / np.maximum(known - 1, 1) / np.maximum(known, 1))
