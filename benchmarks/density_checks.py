"""What a run says of its own density, against what is wrong with it.

For each run the largest `score_check` and `unresolved` from the first step on, and the largest
error of `kl_stationary` and root mean square of the error of log f from t = 0.5 on, by the exact
law. Runs by splines, which do not see what couples the coordinates, are wrong where it does.
"""

import json
import math
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
from record import arguments, machine, tell, write

import kjko
from kjko.case import load
from kjko.case.build import build
from kjko.observe import Observer, ScoreCheck, Start
from kjko.reference import known_law
from kjko.run.trust import RESOLVED, SCORE
from kjko.simulation import take_step

FROM, TO = 0.5, 5.0
EVERY = 5  # steps between two comparisons with the exact law
SPLINES = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]


def turned(degrees: float) -> list[str]:
    """A rotated well and its two beams in another direction."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    beams = [[1.5 * c, 1.5 * s], [-1.5 * c, -1.5 * s]]
    return [f"problem.potential.direction=[{c}, {s}]", f"problem.law.velocity.means={beams}"]


RUNS: list[tuple[str, list[str], int]] = [
    ("multiwell-1d", [], 0),
    ("mixture-2d", [], 0),
    ("mixture-2d", [], 1),
    ("mixture-2d", SPLINES, 0),
    ("rotated-well-2d", [], 0),
    ("rotated-well-2d", turned(0), 2),
    ("rotated-well-2d", turned(20), 1),
    ("rotated-well-2d", SPLINES, 0),
    ("rotated-well-2d", [*turned(20), *SPLINES], 1),
    ("mixture-3d", [], 0),
    ("mixture-3d", SPLINES, 0),
    ("rotated-well-3d", [], 1),
    ("rotated-well-3d", SPLINES, 1),
]


def run(case: str, overrides: list[str], seed: int) -> dict[str, Any]:
    """The numbers of one run."""
    experiment = build(load(case, [f"particles.seed={seed}", *overrides]))
    problem, method, dt = experiment.problem, experiment.method, experiment.time_step
    steps = round(min(TO, experiment.steps * dt) / dt)
    held = [k for k in range(EVERY, steps + 1, EVERY) if k * dt > FROM - 1e-6]
    law = known_law(problem, [k * dt for k in held])
    assert law is not None
    observables = (kjko.Entropies(), kjko.FitReport(), ScoreCheck())
    observer = Observer(Start(problem, method, experiment.particles), observables)
    state, checks, errors = experiment.init(), [], []
    for k in range(1, steps + 1):
        state, info = take_step(problem, method, state)
        record = observer(state, info)
        checks.append((record["score_check"], record["unresolved"]))
        if k in held:
            x, v, log_f = (np.asarray(a, float) for a in jax.tree.leaves(state.particles))
            square = np.mean((log_f - law.log_f(k * dt, x, v)) ** 2)
            errors.append((abs(record["kl_stationary"] - law.kl(k * dt)), square**0.5))
    score, unresolved = np.nanmax(np.asarray(checks, float), axis=0)
    kl, rms = np.max(errors, axis=0)
    return {
        "case": case,
        "kind": "splines" if overrides[-2:] == SPLINES else "default",
        "seed": seed,
        "overrides": overrides,
        "score_check": float(score),
        "unresolved": float(unresolved),
        "kl_error": float(kl),
        "log_f_error": float(rms),
    }


def draw(results: list[dict[str, Any]], path: Any) -> None:
    """Both checks against both errors, with the limits above which a run warns."""
    figure, grid = plt.subplots(2, 2, figsize=(8, 6), layout="constrained", sharex="col")
    limits = {"score_check": SCORE, "unresolved": RESOLVED}
    labels = {"kl_error": "error of the relative entropy", "log_f_error": "rms error of log f"}
    for axes_of_row, (check, limit) in zip(grid, limits.items(), strict=True):
        for axes, (error, label) in zip(axes_of_row, labels.items(), strict=True):
            for kind, marker in (("default", "o"), ("splines", "x")):
                of_kind = [r for r in results if r["kind"] == kind]
                numbers = [[max(r[key], 1e-4) for r in of_kind] for key in (error, check)]
                name = "default" if kind == "default" else "splines where coordinates couple"
                axes.loglog(*numbers, marker, label=name)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.axhline(limit, color="k", lw=0.8, ls="--")
            axes.set(ylabel=f"largest {check}" if error == "kl_error" else "")
            axes.set(xlabel=f"largest {label}" if check == "unresolved" else "")
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    options = arguments("density_checks", __doc__).parse_args()
    found: list[dict[str, Any]] = []
    for case, overrides, seed in RUNS[:2] if options.quick else RUNS:
        found.append(run(case, overrides, seed))
        tell(json.dumps(found[-1]))
        write(options.out, {"machine": machine(), "runs": found})
    draw(found, options.out.with_suffix(".png"))
