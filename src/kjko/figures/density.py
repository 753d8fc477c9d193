"""The figure of the density, in one dimension or as a slice of more."""

import contextlib
from typing import NamedTuple

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from scipy.spatial import QhullError

from kjko.figures.canvas import new_figure
from kjko.figures.shown import Shown
from kjko.run.carried import carried
from kjko.run.reader import Arrays

NEIGHBOURS = 200  # particles under a kernel of the density map: 7 % of noise
NODES = 240  # a side
SLICED = 48  # a side of a slice, each of whose nodes is taken back to the start
DIGITS = 2  # to which coordinates of a slice are rounded


class Maps(NamedTuple):
    """What is drawn of each snapshot, on its own nodes (x₁, v₁), and the same of the stationary law
    where it is known.
    """

    of_snapshots: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    what: str
    law: np.ndarray | None
    of_law: tuple[np.ndarray, np.ndarray]


def density(run: Shown) -> Figure:
    """f in one dimension; in more a slice of f, or, of a run whose density is known at its
    particles only, the density of (x₁, v₁). Over contours of the stationary law, as Figures 3 and
    5.
    """
    maps = _plane(run) or _slices(run) or _smooth(run)
    shape = (1, len(run.snapshots), (2.3, 2.5))
    figure, grid = new_figure(run.title, *shape, sharex=True, sharey=True)
    largest = max(np.nanmax(values) for *_, values in maps.of_snapshots)
    norm = PowerNorm(0.5, 0.0, largest)  # shows thin tails too
    for axes, snapshot, (x, v, values) in zip(
        grid[0], run.snapshots, maps.of_snapshots, strict=True
    ):
        image = axes.pcolormesh(x, v, values.T, norm=norm, cmap="inferno")
        if maps.law is not None:
            levels = maps.law.max() * np.array([0.05, 0.2, 0.4, 0.6, 0.8])
            axes.contour(*maps.of_law, maps.law.T, levels=levels, colors="#7FDBFF", linewidths=0.7)
        axes.set(xlim=run.view("x", 0), ylim=run.view("v", 0), facecolor="black")
        axes.set(xlabel=run.name("x", 0), title=run.at(snapshot["time"]))
        axes.title.set_fontsize(10)
        axes.grid(False)
    grid[0, 0].set_ylabel(run.name("v", 0))
    label = maps.what + ("" if maps.law is None else "\nlines: stationary law")
    figure.colorbar(image, ax=grid, label=label, pad=0.01)
    return figure


def _plane(run: Shown) -> Maps | None:
    """f by what its particles carry; None in more dimensions, or for particles on a line."""
    if not run.has_density or run.number("v") > 1:
        return None
    x, v = _nodes(run, NODES)
    length = float(np.ptp(run.snapshots[0]["edges_x"][0])) if run.periodic else None
    with contextlib.suppress(QhullError):
        maps = [(x, v, run.mass * carried(each, x, v, length)) for each in run.snapshots]
        return Maps(maps, f"$f${_names(run)}", _marginal_law(run, x, v), (x, v))
    return None


def _slices(run: Shown) -> Maps | None:
    """f where the other coordinates have their means at the end; None if it is not known there."""
    if not run.has_density or not run.run.has_passages:
        return None
    x, v = _nodes(run, SLICED)
    last = run.snapshots[-1]
    held = {
        f"{kind}{i + 1}": round(float(np.mean(last[kind][:, i])), DIGITS) + 0.0
        for kind in "xv"
        for i in range(1, run.number(kind))
    }
    from kjko.slices import slice_of, stationary_slice

    on = {"x1": x, "v1": v, **held}
    try:
        history = run.run.history
        slices = [slice_of(history, float(s["time"]), on) for s in run.snapshots]
    except (OSError, ValueError):  # a file is damaged, or the density has no such map
        return None
    at = ", ".join(f"${name[0]}_{{{name[1:]}}} = {value:g}$" for name, value in held.items())
    maps = [(x, v, run.mass * each.to_numpy()) for each in slices]
    law = stationary_slice(history, on)
    law = None if law is None else law.to_numpy()
    return Maps(maps, f"$f${_names(run)}\n{at}", law, (x, v))


def _smooth(run: Shown) -> Maps:
    """The density of (x₁, v₁), by their histograms."""
    maps = [
        (snapshot["edges_x"][0], snapshot["edges_v"][0], smoothed(run, snapshot))
        for snapshot in run.snapshots
    ]
    x, v = _nodes(run, NODES)
    return Maps(maps, f"density of {_names(run)}", _marginal_law(run, x, v), (x, v))


def _nodes(run: Shown, number: int) -> tuple[np.ndarray, np.ndarray]:
    x, v = (np.linspace(*run.view(kind, 0), number) for kind in "xv")
    return x, v


def _names(run: Shown) -> str:
    return f"({run.name('x', 0)}, {run.name('v', 0)})"


def _marginal_law(run: Shown, x: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    """The stationary law of (x₁, v₁), a product."""
    if not run.stationary:
        return None
    return np.outer(np.interp(x, *run.target("x", 0)), np.interp(v, *run.target("v", 0)))


def smoothed(run: Shown, snapshot: Arrays) -> np.ndarray:
    """The density of (x₁, v₁) by a Gaussian kernel, as narrow as the number of particles allows."""
    mass, number = snapshot["histogram_x1_v1"], run.particles
    # The chance that two particles share a bin: a sum of squares, less each particle's own part.
    together = max(np.sum(mass**2) - 1 / number, 1 / (number * mass.size))
    width = np.clip(np.sqrt(NEIGHBOURS / (4 * np.pi * number * together)), 0.5, 6.0)
    # Periodic along v and an unbounded x too: there is next to nothing at their ends.
    gain = [np.exp(-2 * (np.pi * width * np.fft.fftfreq(bins)) ** 2) for bins in mass.shape]
    smooth = np.fft.ifft2(np.fft.fft2(mass) * np.outer(*gain)).real.clip(0.0)
    return smooth / np.outer(np.diff(snapshot["edges_x"][0]), np.diff(snapshot["edges_v"][0]))
