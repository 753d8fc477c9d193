"""A finished run, held to the law that is known."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kjko.case import BadInput, Case
from kjko.figures.errors import draw_verification
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, density_error, marginal_error
from kjko.reference.gibbs import GibbsLaw, gibbs_law
from kjko.reference.known import known_law
from kjko.run.atomic import write_atomically
from kjko.run.reader import Run, open_run

SERIES = {  # of the series, by heading: each less the law's own
    "KL error": "kl_stationary",
    "free-energy error": "free_energy",
    "field-energy error / largest": "field_energy",
}
AT_REST = (
    "held to the stationary law, as that of all times is not known: errors once f has come to rest"
)


class Verification(NamedTuple):
    """Errors of a run. Over its series by time, and at its snapshots; nan where unknown.

    `series`: of the relative entropy, the free energy and the field energy, where the run has them,
    the last over the largest that the law has, nan if that is zero.
    `drift_error`: (34), as it was recorded. `marginal`: over that of exact samples. `density`: root
    mean square of log f less the law's. `note`: what the law is, if it is not that of the time.
    """

    times: np.ndarray
    series: dict[str, np.ndarray]
    drift_error: np.ndarray
    snapshot_times: np.ndarray
    marginal: np.ndarray
    density: np.ndarray
    note: str = ""

    def table(self) -> str:
        """A line for each snapshot, after the note."""
        headings = ["t", *self.series, "score error", "marginal error / floor", "rms log f error"]
        rows = [headings]
        for i, time in enumerate(self.snapshot_times):
            at = int(np.argmin(np.abs(self.times - time)))
            numbers = [values[at] for values in self.series.values()]
            numbers += [self.drift_error[at], self.marginal[i], self.density[i]]
            rows.append([f"{time:g}", *("-" if np.isnan(n) else f"{n:.3g}" for n in numbers)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in ([self.note] if self.note else []) + lines)


def verify(case: Case, folder: Path) -> Verification:
    """Hold the run in a folder to the exact law, a grid solution or else the law it tends to.

    Raises BadInput if none is known or there is no snapshot, OSError if one cannot be read.
    """
    try:
        run = open_run(folder)
    except (FileNotFoundError, ValueError) as error:
        raise BadInput(str(error)) from None
    if not run.snapshot_files or not run.records:
        raise BadInput(
            f"{folder}: expected a run with a series and snapshots, got one without; set"
            " output.snapshot_times"
        )
    times = run.times.tolist()
    end = run.records[-1]["time"]
    problem = case.build().problem
    try:
        law = known_law(problem, [*times, end])
    except ValueError as error:
        law = _at_rest(problem, f"{folder}: no law is known to hold it to: {error}")
    try:
        return _hold(law, run)
    except ValueError as error:
        raise BadInput(f"{folder}: the law is not known at its points: {error}") from None


def _at_rest(problem: Problem, unknown: str) -> GibbsLaw:
    try:
        return gibbs_law(problem)
    except ValueError as error:
        raise BadInput(f"{unknown}; nor one that it tends to: {error}") from None


def _hold(law: KnownLaw, run: Run) -> Verification:
    nothing = np.full(len(run.records), np.nan)
    columns = {
        key: run.columns.get(key, nothing) for key in ("time", "drift_error", *SERIES.values())
    }
    exact = dict(zip(SERIES.values(), (law.kl, law.free_energy, law.field_energy), strict=True))
    series = {}
    for heading, key in SERIES.items():
        if not np.isnan(columns[key]).all():
            known = np.array([exact[key](time) for time in columns["time"]])
            largest = np.max(np.abs(known[np.isfinite(known)]), initial=0.0)
            series[heading] = columns[key] - known
            if key == "field_energy":
                series[heading] /= largest or np.nan
    snapshots = [
        {name: np.asarray(snapshot[name], dtype=float) for name in ("x", "v", "log_f")}
        for snapshot in run.snapshots()
    ]
    at = list(zip(run.times.tolist(), snapshots, strict=True))
    return Verification(
        times=columns["time"],
        series=series,
        drift_error=columns["drift_error"],
        snapshot_times=run.times,
        marginal=np.array([marginal_error(law, t, s["x"], s["v"]) for t, s in at]),
        density=np.array([density_error(law, t, s["x"], s["v"], s["log_f"]) for t, s in at]),
        note=AT_REST if isinstance(law, GibbsLaw) else "",
    )


def keep(result: Verification, folder: Path) -> str:
    """The table, which is left in folder/verify.txt for the report too."""
    write_atomically(folder / "verify.txt", f"{result.table()}\n".encode())
    return result.table()


def draw(title: str, result: Verification, folder: Path) -> Path:
    """The errors over time, into folder/figures."""
    series = {k: (result.times, v) for k, v in result.series.items()}
    if not np.isnan(result.drift_error).all():
        series["score error"] = (result.times, result.drift_error)
    snapshots = {"marginals / exact sampling": (result.snapshot_times, result.marginal)}
    if not np.isnan(result.density).all():
        snapshots["rms of log f"] = (result.snapshot_times, result.density)
    return draw_verification(title, series, snapshots, folder / "figures" / "verify.png")
