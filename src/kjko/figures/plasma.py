"""Figures of runs with a self-consistent field: field energy, phase space."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from kjko.figures.canvas import COLORS, new_figure
from kjko.figures.shown import Shown
from kjko.figures.smooth import smooth

POINTS = 20_000  # of a scatter
CELLS = 96  # of a density, a side


def field_energy(run: Shown) -> Figure:
    """∫|E|² dx on a log axis, with the measured rate and that of linear theory, as Figure 9."""
    figure, ((axes,),) = new_figure(run.title)
    time, energy = run.series["time"], run.series["field_energy"]
    axes.semilogy(time, np.where(energy > 0, energy, np.nan), color=COLORS[0], label="particles")
    axes.set(xlabel=run.time_name, ylabel=r"$\int |E|^2\,dx$")
    if run.noise is not None:
        label = "noise of a random start"
        axes.axhline(run.noise, color="0.5", linestyle=":", lw=1.2, label=label)
    if run.wave:
        _draw_rates(axes, run, time, energy)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_rates(axes: Axes, run: Shown, time: np.ndarray, energy: np.ndarray) -> None:
    """Lines of the rates, through the highest peak where a wave was measured; else that of theory
    from the start on.
    """
    sources, wave = [("theory", "black", "--")], run.wave or {}
    inside, top = np.ones(time.size, bool), 0
    if "measured" in wave:
        low, high = wave["window"]
        inside = (time >= low) & (time <= high)
        sources.insert(0, ("measured", COLORS[1], "-"))
        top = np.argmax(np.where(inside, energy, 0))
    for source, color, dashes in sources:
        rate = _rate(run, source)
        line = energy[top] * np.exp(2 * rate * (time - time[top]))
        label = rf"{source}: $\gamma = {rate:.4g}$"
        axes.plot(time[inside], line[inside], dashes, color=color, lw=1.2, label=label)


def _rate(run: Shown, source: str) -> float:
    return (run.wave or {})[source]["rate"]


def phase_space(run: Shown) -> Figure:
    """Particles and their density in (x₁, v₁) at the times of the snapshots, as Figures 10, 11."""
    shape = (2, len(run.snapshots), (2.3, 2.1))
    figure, grid = new_figure(run.title, *shape, sharex=True, sharey=True)
    (x_low, x_high), (v_low, v_high) = run.view("x", 0), _velocities(run)
    random, planes = np.random.default_rng(0), []
    for snapshot in run.snapshots:
        ends = [(x_low, x_high), (v_low, v_high)]
        counts, *edges = np.histogram2d(snapshot["x1"], snapshot["v1"], bins=CELLS, range=ends)
        planes.append((smooth(counts, run.periodic), edges))
    norm = PowerNorm(0.5, 0.0, max(plane.max() for plane, _ in planes))
    for column, snapshot, (plane, edges) in zip(grid.T, run.snapshots, planes, strict=True):
        shown = random.permutation(len(snapshot["x1"]))[:POINTS]  # a quiet start has a pattern
        dots = {"markersize": 0.4, "alpha": 0.5, "color": COLORS[0], "rasterized": True}
        column[0].plot(snapshot["x1"][shown], snapshot["v1"][shown], ".", **dots)
        image = column[1].pcolormesh(*edges, plane.T, norm=norm, cmap="inferno")
        column[0].set_title(run.at(snapshot["time"]), fontsize=10)
        column[1].set(xlabel=run.name("x", 0), xlim=(x_low, x_high), ylim=(v_low, v_high))
        for axes in column:
            axes.grid(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(run.name("v", 0))
    figure.colorbar(image, ax=grid[1], label="particles a cell", pad=0.01)
    return figure


def _velocities(run: Shown) -> tuple[float, float]:
    """The ends of v₁ that hold all but a thousandth of the particles at every time."""
    ends = [np.quantile(snapshot["v1"], [5e-4, 1 - 5e-4]) for snapshot in run.snapshots]
    low, high = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
    return float(low - 0.1 * (high - low)), float(high + 0.1 * (high - low))
