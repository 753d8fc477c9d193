"""The figures of a run folder, drawn from its files alone; with jax only for slices of f."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kjko.figures import plasma
from kjko.figures.animation import animate
from kjko.figures.canvas import COLORS, new_figure, save
from kjko.figures.density import density
from kjko.figures.shown import Shown
from kjko.run.conserved import conserved

AVERAGE = 40  # particles in a bin that is drawn, at least
KL = r"$D_\mathrm{KL}(f\,|\,f_\infty)$"


class Panel(NamedTuple):
    """Lines over time by label, and a level to hold them against: label, value and line style."""

    ylabel: str
    lines: Mapping[str, np.ndarray]
    scale: str = "log"
    level: tuple[str, float, str] | None = None


def draw(folder: Path, film: bool = True) -> list[Path]:
    """Draw every figure that the folder has data for into folder/figures; their paths. Without a
    `film` of the animation it is a picture alone.

    Raises FileNotFoundError if it is no run folder, OSError if a file is damaged or cannot be
    written, ValueError if case.toml is not the one that the run was begun with.
    """
    run = Shown(folder)
    figures = {name: _over_time(run, panels) for name, panels in _panels(run)}
    if run.snapshots:
        figures |= {"density": density(run), "marginals": _marginals(run)}
    if "field_energy" in run.series:
        figures |= {"field_energy": plasma.field_energy(run)}
        if run.snapshots:
            figures |= {"phase_space": plasma.phase_space(run)}
    paths = [save(f, folder / "figures" / f"{name}.png") for name, f in figures.items()]
    if run.frames:
        paths += animate(run, folder / "figures", film)
    return paths


def _panels(run: Shown) -> Iterator[tuple[str, list[Panel]]]:
    """The figures over time: what should be kept, 4B, 6 and 8 (relative entropies), 2 (drift error
    and energy).
    """
    series = run.series
    if changes := conserved(run.run):
        yield "conservation", [Panel("relative change", changes)]
    if "kl_stationary" in series:
        yield "kl", [Panel(KL, {"particles": series["kl_stationary"]})]
    floor = None
    if run.snapshots and run.is_random:
        bins = run.snapshots[0]["histogram_v"].shape[1]
        floor = ("mean of random samples", (bins - 1) / (2 * run.particles), ":")
    marginals = []
    for kind in [kind for kind in "xv" if f"marginal_kl_{kind}" in series]:
        columns = series[f"marginal_kl_{kind}"].T
        lines = {run.name(kind, i): column for i, column in enumerate(columns)}
        marginals.append(Panel(f"{KL} of ${kind}$ marginals", lines, level=floor))
    if marginals:
        yield "marginal_kl", marginals
    if "energy_kinetic" in series:
        parts = {"kinetic": series["energy_kinetic"], "potential": series["energy_potential"]}
        level = None
        if "free_energy" in series:  # not without a density
            entropy = {r"$T_0 \int f\,\log f$": run.temperature * series["entropy"]}
            parts = {"free energy": series["free_energy"]} | parts | entropy
        if "free_energy" in series and (law := run.stationary):
            least = math.log(run.mass) - float(law["log_normaliser"])
            level = ("stationary law", run.mass * run.temperature * least, "--")
        unit = "energy per particle" if run.mass == 1 and "field_energy" not in series else "energy"
        yield "energy", [Panel(unit, parts, "linear", level)]
    if "drift_error" in series:
        yield "drift_error", [Panel("mean-square drift error", {"drift": series["drift_error"]})]
    if "loss_heldout" in series:
        fitted, held_out = series["loss"], series["loss_heldout"]
        gain = Panel(
            "gain of the objective, $J(0) - J(u)$", {"fitted": -fitted, "held out": -held_out}
        )
        gap = Panel("$J(u)$, held out − fitted", {"gap": held_out - fitted}, "linear")
        yield "overfitting", [gain, gap]


def _over_time(run: Shown, panels: list[Panel]) -> Figure:
    """Panels side by side; on a log axis, values that are not positive are marked at the bottom."""
    time = run.series["time"]
    figure, grid = new_figure(run.title, 1, len(panels))
    for axes, panel in zip(grid[0], panels, strict=True):
        axes.set_yscale(panel.scale)
        axes.set(xlabel=run.time_name, ylabel=panel.ylabel)
        for i, (label, values) in enumerate(panel.lines.items()):
            hidden = (values <= 0) & (panel.scale == "log")
            style = {"color": COLORS[i % 6], "markersize": 3}
            axes.plot(time, np.where(hidden, np.nan, values), ".-", label=label, **style)
            if hidden.any():
                note = f"≤ 0 at {hidden.sum()} of {len(time)} times, not on a log axis"
                style |= {"transform": axes.get_xaxis_transform(), "clip_on": False}
                axes.plot(time[hidden], np.zeros(hidden.sum()), "v", label=note, **style)
        if panel.level:
            label, value, dashes = panel.level
            axes.axhline(value, color="black", linestyle=dashes, label=label)
        if len(axes.lines) > 1:
            style = {"ncols": 2, "fontsize": 8, "columnspacing": 1.2, "handlelength": 1.5}
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, **style)
    return figure


def _marginals(run: Shown) -> Figure:
    """Marginals of every coordinate beside stationary ones, as Figures 4A, 6 and, in d > 1, 7."""
    shown = run.snapshots[-1:] if run.dimension == 1 else run.snapshots
    coordinates = [(kind, i) for kind in "xv" for i in range(run.number(kind))]
    shape = (len(shown), len(coordinates), (4.0, 3.0) if run.dimension == 1 else (2.0, 1.5))
    figure, grid = new_figure(run.title, *shape, sharex="col", sharey="col")
    for (row, column), axes in np.ndenumerate(grid):
        (kind, i), snapshot = coordinates[column], shown[row]
        edges, fraction = _wider(
            run, snapshot[f"edges_{kind}"][i], snapshot[f"histogram_{kind}"][i]
        )
        axes.stairs(fraction / np.diff(edges), edges, fill=True, color=COLORS[5], label="particles")
        if run.target(kind, i)[0].size:
            axes.plot(*run.target(kind, i), color="black", linewidth=1.2, label="stationary law")
        axes.set(xlim=run.view(kind, i), ylim=(0, None))
        if row == len(shown) - 1:
            axes.set_xlabel(run.name(kind, i))
        if column == 0:
            axes.set_ylabel(f"density, {run.at(snapshot['time'])}")
    handles = grid[0, -1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _wider(run: Shown, edges: np.ndarray, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins put together where there are few particles, so that one of average height has 40."""
    most = max(10, run.particles // AVERAGE)
    whole = (n for n in range(1, fraction.size + 1) if fraction.size % n == 0)
    together = next(n for n in whole if fraction.size // n <= most)
    return edges[::together], fraction.reshape(-1, together).sum(axis=1)
