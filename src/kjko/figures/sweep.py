"""A sweep: what is measured over time, a line for each setting with the spread of its seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    title: str, groups: Mapping[str, Sequence[Mapping[str, np.ndarray]]], path: Path
) -> Path:
    """`groups`: by the name of a setting the columns of the series of its runs.

    Lines are means over the runs that have a time, bands two standard errors of them.
    """
    drawn = dict(list(groups.items())[:MOST])
    if len(groups) > MOST:
        title += f" (the first {MOST} of {len(groups)} settings)"
    found = [k for k in LABELS if any(k in run for runs in drawn.values() for run in runs)]
    figure, (panels,) = new_figure(title, 1, max(1, len(found)))
    handles: dict[str, Any] = {}
    for axes, key in zip(panels, found, strict=False):
        for i, (name, runs) in enumerate(drawn.items()):
            having = [run for run in runs if key in run]
            if not having:
                continue
            times, mean, error = _mean(having, key)
            color, style = COLORS[i % len(COLORS)], STYLES[i // len(COLORS)]
            (handles[name],) = axes.plot(times, mean, color=color, ls=style, label=name)
            axes.fill_between(
                times, mean - 2 * error, mean + 2 * error, color=color, alpha=0.2, lw=0
            )
        axes.set(xlabel="$t$", ylabel=LABELS[key])
        shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        if 0 < 10 * np.nanmin(shown) < np.nanmax(shown):
            axes.set_yscale("log")
    if len(handles) > 1:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=7,
        )
    return save(figure, path)


def _mean(
    runs: Sequence[Mapping[str, np.ndarray]], key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, and at them the mean and its standard error, which is zero of a single run."""
    at: dict[float, list[float]] = {}
    for run in runs:
        for time, value in zip(np.round(run["time"], 9), run[key], strict=True):
            if np.isfinite(value):
                at.setdefault(float(time), []).append(float(value))
    times = sorted(at)
    deviations = [np.std(at[t], ddof=1) if len(at[t]) > 1 else 0.0 for t in times]
    errors = [s / np.sqrt(len(at[t])) for s, t in zip(deviations, times, strict=True)]
    return np.array(times), np.array([np.mean(at[t]) for t in times]), np.array(errors)
