"""One figure from the JSON files of the benchmarks, for the README.

python benchmarks/figure.py [--results DIR] [--out FILE.png]
"""

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from record import RESULTS

COLOURS = {"printed": "C3", "network": "C1", "default": "C0", "eager": "C3", "compile": "C1"}
NAMES = {
    "printed": "printed scheme, Adam",
    "network": "network, exact log det, Adam",
    "default": "default (Newton)",
    "eager": "PyTorch eager",
    "compile": "torch.compile",
}


def draw_same_work(axes: Axes, results: dict) -> None:
    """PyTorch's time over ours: bars of the medians, whiskers between the quartiles."""
    groups = list(results["configurations"].items())
    for i, kind in enumerate(("eager", "compile")):
        for j, what in enumerate(("gradient", "step")):
            found = [
                (place, c["exact"][what]["ratio"][kind])
                for place, (_, c) in enumerate(groups)
                if kind in c["exact"].get(what, {"ratio": {}})["ratio"]
            ]
            if not found:
                continue
            places = np.array([p for p, _ in found]) + 0.2 * (2 * i + j - 1.5)
            middle = np.array([r["median"] for _, r in found])
            ends = np.array([[r["lower_quartile"], r["upper_quartile"]] for _, r in found]).T
            axes.bar(
                places,
                middle,
                0.18,
                color=COLOURS[kind],
                alpha=1.0 if what == "step" else 0.5,
                label=f"{NAMES[kind]}, {what}",
            )
            axes.errorbar(places, middle, np.maximum([middle - ends[0], ends[1] - middle], 0),
                          fmt="none", ecolor="0.2", elinewidth=1)  # fmt: skip
    axes.axhline(1.0, color="0.2", linewidth=0.8)
    axes.set_xticks(range(len(groups)), [name.replace(", ", "\n") for name, _ in groups])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("time of PyTorch / ours")
    axes.set_title("(a) same objective, same weights")
    axes.legend(fontsize=7, frameon=False)


def draw_time_to_accuracy(axes: Axes, case: dict, error: str, title: str) -> None:
    """Wall time and error of every run."""
    for method in ("printed", "network", "default"):
        runs = [r for r in case["runs"].values() if r["method"] == method]
        axes.loglog(
            [r["seconds"]["median"] for r in runs],
            [r["errors"][error] for r in runs],
            "o",
            color=COLOURS[method],
            label=NAMES[method],
        )
    default = [(k, r) for k, r in case["runs"].items() if r["method"] == "default"]
    for number, (name, run) in enumerate(default):
        place = (run["seconds"]["median"], run["errors"][error])
        label = "N = {}\nΔt = {}".format(*name.split(", ")[1:])
        offset, side = ((-3, -18), "right") if number % 2 else ((3, 4), "left")  # runs are close
        axes.annotate(label, place, offset, textcoords="offset points", fontsize=6, ha=side)
    axes.set_xlabel("wall time to T = 10, without compilation [s]")
    axes.set_title(title)
    axes.margins(0.25)
    axes.legend(fontsize=7, frameon=False)


def draw_scaling(axes: Axes, results: dict) -> None:
    """Seconds a step against N, and slope 1."""
    runs = results["series"]["number"] + [r for r in [results.get("large")] if r]
    number = np.array([r["number"] for r in runs])
    middle = np.array([r["seconds"]["median"] for r in runs])
    axes.loglog(number, middle, "o-", color="C0", label="default, 1D1V, with density")
    axes.loglog(number, number / 1e6, "--", color="0.5", label="10⁶ particle-steps/s")
    axes.set_xlabel("particles")
    axes.set_ylabel("seconds a step")
    axes.set_title("(c) everything included")
    axes.legend(fontsize=7, frameon=False)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=RESULTS / "benchmarks.png")
    options = parser.parse_args()
    same_work, accuracy, scaling = (
        json.loads((options.results / f"{name}.json").read_text())
        for name in ("same_work", "time_to_accuracy", "scaling")
    )
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    draw_same_work(axes[0, 0], same_work)
    cases = accuracy["cases"]
    draw_time_to_accuracy(axes[0, 1], cases["gaussian-1d"], "drift", "(b) Example 1")
    axes[0, 1].set_ylabel("rms drift error")
    if "multiwell-1d" in cases:
        draw_time_to_accuracy(axes[1, 0], cases["multiwell-1d"], "kl", "(b) Example 2")
    axes[1, 0].set_ylabel("largest error of the relative entropy")
    draw_scaling(axes[1, 1], scaling)
    figure.savefig(options.out, dpi=130)


if __name__ == "__main__":
    main()
