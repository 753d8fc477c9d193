"""The density of runs by the default against their exact laws, and against what they say of it.

For each run, at times from 0.5 on: the error of `kl_stationary`; mean and root mean square of the
error of log f at the particles; the mean-square error of the score over that of the score; the
marginals along the axes and along 20 random directions of phase space, in units of the error of
independent samples; and over the whole run the largest rise of the free energy in a step and the
largest `score_check` and `unresolved`. Runs by splines, which do not see what couples the
coordinates, are wrong where something does.
"""

import json
import math
import re
import time
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
from record import arguments, machine, tell, write
from scipy.stats import norm

import kjko
from kjko.case import load
from kjko.case.build import build
from kjko.observe import DriftError, Observer, ScoreCheck, Start
from kjko.observe.trust import RESOLVED, SCORE
from kjko.reference.errors import KnownLaw, marginal_error
from kjko.reference.known import GridLaw, known_law
from kjko.reference.mixture import ExactMixture
from kjko.reference.rotated import RotatedLaw
from kjko.simulation import take_step

FROM = 0.5
BETWEEN = 0.25  # two comparisons with the exact law
DIRECTIONS = 20
LEAST = 1e-3  # what a check is drawn as that is smaller
TICKS = {"kl": [0.002, 0.01, 0.05, 0.2], "log_f_rms": [0.02, 0.05, 0.1, 0.2, 0.5]}
SPLINES = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]


def turned(degrees: float) -> list[str]:
    """A rotated well and its two beams in another direction."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    beams = [[1.5 * c, 1.5 * s], [-1.5 * c, -1.5 * s]]
    return [f"problem.potential.direction=[{c}, {s}]", f"problem.law.velocity.means={beams}"]


RUNS: dict[str, tuple[str, list[str]]] = {
    "multiwell-1d": ("multiwell-1d", []),
    "mixture-2d": ("mixture-2d", []),
    "mixture-3d": ("mixture-3d", []),
    "rotated-well-2d": ("rotated-well-2d", []),
    "rotated-well-2d at 20": ("rotated-well-2d", turned(20)),
    "rotated-well-2d at 0": ("rotated-well-2d", turned(0)),
    "rotated-well-3d": ("rotated-well-3d", []),
    "mixture-2d by splines": ("mixture-2d", SPLINES),
    "mixture-3d by splines": ("mixture-3d", SPLINES),
    "rotated-well-2d by splines": ("rotated-well-2d", SPLINES),
    "rotated-well-2d at 20 by splines": ("rotated-well-2d", [*turned(20), *SPLINES]),
    "rotated-well-3d by splines": ("rotated-well-3d", SPLINES),
}


class Projected:
    """The distribution of a law along directions of phase space, for `marginal_error`."""

    def __init__(self, law: KnownLaw, directions: np.ndarray):
        self.law, self.directions = law, directions

    def distribution(self, at: float, number: int, values: np.ndarray) -> np.ndarray:
        """The distribution function along the direction of this number."""
        direction = self.directions[number]
        if isinstance(self.law, ExactMixture):
            below = np.zeros_like(values)
            for weight, part in zip(self.law.weights, self.law.parts, strict=True):
                mean, covariance = part.at(at)
                width = math.sqrt(direction @ covariance @ direction)
                below += weight * norm.cdf(values, direction @ mean, width)
            return below
        assert isinstance(self.law, RotatedLaw)
        return _along(self.law, at, direction, values)


def _along(law: RotatedLaw, at: float, direction: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Cells of the grid along the well, each a normal law across it."""
    d = len(law.frame)
    in_x, in_v = law.frame @ direction[:d], law.frame @ direction[d:]
    assert isinstance(law.along, GridLaw)
    density = law.along.solution.at(at)
    y, w = (a.ravel() for a in np.meshgrid(density.grid.x, density.grid.v, indexing="ij"))
    weights = np.maximum(density.f.ravel(), 0)
    across = np.concatenate([in_x[1:], in_v[1:]])
    mean, covariance = law.across.at(at)
    centre = in_x[0] * y + in_v[0] * w + across @ mean
    width = math.sqrt(across @ covariance @ across)
    bins = np.linspace(values.min() - 1, values.max() + 1, 4001)
    mass = np.histogram(centre, bins, weights=weights / weights.sum())[0]
    middle = 0.5 * (bins[1:] + bins[:-1])
    kept = mass > 0
    nodes = np.linspace(values.min(), values.max(), 800)
    below = norm.cdf((nodes[:, None] - middle[kept]) / max(width, 1e-9)) @ mass[kept]
    return np.interp(values, nodes, below)


def run(name: str, seed: int, particles: int, until: float) -> dict[str, Any]:
    """The numbers of one run."""
    case, overrides = RUNS[name]
    overrides = [*overrides, f"particles.seed={seed}", f"particles.number={particles}"]
    experiment = build(load(case, overrides))
    problem, method, dt = experiment.problem, experiment.method, experiment.time_step
    steps, every = round(min(until, experiment.steps * dt) / dt), round(BETWEEN / dt)
    held = [k for k in range(every, steps + 1, every) if k * dt > FROM - 1e-6]
    law = known_law(problem, [k * dt for k in held])
    observables = (kjko.Entropies(), kjko.FitReport(), ScoreCheck(), DriftError(law))
    observer = Observer(Start(problem, method, experiment.particles), observables)
    state, rows = experiment.init(), []
    records = [observer(state, None)]
    d = experiment.particles.v.shape[1]
    directions = np.random.default_rng(0).normal(size=(DIRECTIONS, 2 * d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    start = time.perf_counter()
    for k in range(1, steps + 1):
        state, info = take_step(problem, method, state)
        record = observer(state, info)
        records.append(record)
        if k in held:
            rows.append(_errors(law, k * dt, state.particles, record, directions))
    free = [record["free_energy"] for record in records]
    worst = {key: _largest(records, key) for key in ("score_check", "unresolved")}
    return {
        "name": name,
        "seed": seed,
        "particles": particles,
        **worst,
        "largest_rise": float(np.max(np.diff(free))),
        "seconds_a_step": (time.perf_counter() - start) / steps,
        "at": rows,
    }


def _largest(records: list[dict[str, Any]], key: str) -> float:
    return float(np.nanmax(np.asarray([record[key] for record in records], float)))


def _errors(
    law: KnownLaw, at: float, particles: Any, record: dict[str, Any], directions: np.ndarray
) -> dict[str, float | None]:
    x, v, log_f = (np.asarray(a, float) for a in jax.tree.leaves(particles))
    off = log_f - law.log_f(at, x, v)
    errors: dict[str, float | None] = {
        "time": at,
        "kl": record["kl_stationary"] - law.kl(at),
        "log_f_mean": float(np.mean(off)),
        "log_f_rms": float(np.mean(off**2) ** 0.5),
        "score": None,
        "marginals": marginal_error(law, at, x, v),
        "directions": None,
    }
    if record["drift_error"] is not None:  # of unit rate and temperature
        square = float(np.mean(np.sum(law.score(at, x, v) ** 2, axis=1)))
        errors["score"] = record["drift_error"] / square
    if isinstance(law, (ExactMixture, RotatedLaw)):
        projected: Any = Projected(law, directions)
        z = np.concatenate([x, v], axis=1) @ directions.T
        half = DIRECTIONS // 2
        errors["directions"] = marginal_error(projected, at, z[:, :half], z[:, half:])
    return errors


def draw(results: list[dict[str, Any]], path: Any) -> None:
    """Both checks against both errors, with the limits above which a run warns."""
    figure, grid = plt.subplots(2, 2, figsize=(8, 6), layout="constrained", sharex="col")
    limits = {"score_check": SCORE, "unresolved": RESOLVED}
    labels = {"kl": "error of the relative entropy", "log_f_rms": "rms error of log f"}
    for axes_of_row, (check, limit) in zip(grid, limits.items(), strict=True):
        for axes, (error, label) in zip(axes_of_row, labels.items(), strict=True):
            for by_splines, marker in ((False, "o"), (True, "x")):
                of_kind = [r for r in results if r["name"].endswith("by splines") == by_splines]
                wrong = [max(abs(row[error]) for row in r["at"]) for r in of_kind]
                name = "splines where coordinates couple" if by_splines else "default"
                checks = [max(r[check], LEAST) for r in of_kind]
                axes.loglog(wrong, checks, marker, label=name)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks(TICKS[error], [f"{tick:g}" for tick in TICKS[error]])
            axes.axhline(limit, color="k", lw=0.8, ls="--")
            axes.set(ylabel=f"largest {check}" if error == "kl" else "")
            axes.set(xlabel=f"largest {label}" if check == "unresolved" else "")
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = arguments("density", __doc__)
    parser.add_argument("--runs", default=".*", help="names to run, a regular expression")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--particles", type=int, default=10_000)
    parser.add_argument("--until", type=float, default=5.0)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for name in RUNS:
        if re.fullmatch(options.runs, name):
            for seed in range(1 if options.quick else options.seeds):
                found.append(run(name, seed, options.particles, options.until))
                tell(json.dumps(found[-1]))
                write(options.out, {"machine": machine(), "runs": found})
    draw(found, options.out.with_suffix(".png"))
