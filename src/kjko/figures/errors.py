"""Figures of errors against a known law: comparisons of methods, and one run's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator

from kjko.figures.canvas import COLORS, new_figure, save

Curves = tuple[np.ndarray, np.ndarray]  # times (m), values (seeds x m)
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 3)))


def draw_figure_2(
    title: str,
    drift: Mapping[str, Curves],
    free_energy: Mapping[str, Curves],
    exact: Sequence[tuple[float, float]],
    path: Path,
) -> Path:
    """Drift error of each method over time, and the free energy over the exact one, as Figure 2.

    Lines are medians over the seeds, bands from the least to the largest.
    """
    figure, ((left, right),) = new_figure(title, 1, 2)
    for axes, curves in ((left, drift), (right, free_energy)):
        for i, (label, (times, values)) in enumerate(curves.items()):
            known = ~np.isnan(values).all(axis=0) if values.size else np.zeros(0, dtype=bool)
            if not known.any():
                continue
            low, median, high = np.quantile(values[:, known], [0.0, 0.5, 1.0], axis=0)
            axes.plot(times[known], median, color=COLORS[i % 6], ls=STYLES[i % 7], label=label)
            axes.fill_between(times[known], low, high, color=COLORS[i % 6], alpha=0.2, lw=0)
        axes.set(xlabel="$t$")
    left.set(yscale="log" if left.lines else "linear", ylabel="mean-square drift error")
    right.set(ylabel="free energy")
    if exact:
        right.plot(*np.transpose(exact), color="black", lw=1, label="exact")
    for axes in (left, right):
        if axes.lines:
            axes.legend(frameon=False, fontsize=7, ncols=2)
    return save(figure, path)


def draw_cost(
    title: str,
    runs: Mapping[str, Sequence[tuple[float | None, float | None, float | None]]],
    path: Path,
) -> Path:
    """Score error and marginal error of every run against its wall time.

    `runs`: for each method, score error, marginal error and seconds of each run.
    """
    figure, (panels,) = new_figure(title, 1, 2)
    labels = ("mean-square score error", "marginal error / exact sampling")
    for axes, label, column in zip(panels, labels, (0, 1), strict=True):
        for i, (method, points) in enumerate(runs.items()):
            known = np.array([(p[2], p[column]) for p in points if p[column] is not None])
            if known.size:
                axes.plot(*known.T, "os^Dv<>"[i % 7], color=COLORS[i % 6], label=method)
        if axes.lines:
            axes.set(xscale="log", yscale="log")
        axes.set(xlabel="wall time, seconds", ylabel=label)
    panels[1].axhline(1.0, color="black", linestyle=":", label="exact sampling")
    panels[1].legend(frameon=False, fontsize=7)
    return save(figure, path)


def draw_verification(
    title: str, series: Mapping[str, Curves], snapshots: Mapping[str, Curves], path: Path
) -> Path:
    """Errors over time: of the series on the left, at the snapshots on the right."""
    figure, (panels,) = new_figure(title, 1, 2)
    for axes, curves, style in zip(panels, (series, snapshots), (".-", "o"), strict=True):
        for i, (label, (times, values)) in enumerate(curves.items()):
            axes.plot(times, np.abs(values), style, color=COLORS[i % 6], label=label)
        if curves:
            axes.set_yscale("log")
            axes.legend(frameon=False, fontsize=8)
        axes.set(xlabel="$t$", ylabel="error")
    return save(figure, path)


def draw_convergence(
    time_steps: Sequence[float], errors: Mapping[str, Any], orders: Mapping[str, float], path: Path
) -> None:
    """Errors (> 0) against Δt with their fitted orders, over lines of whole order, as Figure 1."""
    steps = np.asarray(time_steps)
    figure, ((axes,),) = new_figure("Error against the exact law")
    below: dict[int, float] = {}  # whole order: coefficient of a line under the errors
    for i, (name, error) in enumerate(errors.items()):
        label = f"{name}: order {orders[name]:.2f}"
        axes.loglog(steps, error, "os^Dv"[i % 5] + "-", color=COLORS[i % 6], label=label)
        if orders[name] > 0.5:
            order = round(orders[name])
            below[order] = min(below.get(order, np.inf), 0.7 * np.min(error / steps**order))
    for (order, coefficient), dashes in zip(sorted(below.items()), ("--", "-.", ":"), strict=False):
        label = r"$\propto \Delta t$" if order == 1 else rf"$\propto \Delta t^{order}$"
        axes.plot(steps, coefficient * steps**order, dashes, color="black", lw=1, label=label)
    axes.set(xlabel=r"time step $\Delta t$", ylabel="error")
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False)
    save(figure, path)
