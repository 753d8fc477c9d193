"""A finished run, held to the law that is known."""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from kjko.case import BadInput, Case
from kjko.error_figures import draw_verification
from kjko.reference import KnownLaw, density_error, known_law, marginal_error
from kjko.store import read_series

SERIES = {  # of the series, by heading: each less the law's own
    "KL error": "kl_stationary",
    "free-energy error": "free_energy",
    "field-energy error": "field_energy",
}


class Verification(NamedTuple):
    """Errors of a run. Over its series by time, and at its snapshots; nan where unknown.

    `series`: of the relative entropy, the free energy and the field energy, where the run has them.
    `drift_error`: (34), as it was recorded. `marginal`: over that of exact samples. `density`: root
    mean square of log f less the law's.
    """

    times: np.ndarray
    series: dict[str, np.ndarray]
    drift_error: np.ndarray
    snapshot_times: np.ndarray
    marginal: np.ndarray
    density: np.ndarray

    def table(self) -> str:
        """A line for each snapshot."""
        headings = ["t", *self.series, "score error", "marginal error / floor", "rms log f error"]
        rows = [headings]
        for i, time in enumerate(self.snapshot_times):
            at = int(np.argmin(np.abs(self.times - time)))
            numbers = [values[at] for values in self.series.values()]
            numbers += [self.drift_error[at], self.marginal[i], self.density[i]]
            rows.append([f"{time:g}", *("-" if np.isnan(n) else f"{n:.3g}" for n in numbers)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def verify(case: Case, folder: Path) -> Verification:
    """Hold the run in a folder to the exact law or to a grid solution.

    Raises BadInput if neither is known or there is no snapshot, OSError if one cannot be read.
    """
    files = sorted((folder / "snapshots").glob("step_*.h5"))
    records = read_series(folder)
    if not files or not records:
        raise BadInput(
            f"{folder}: expected a run with a series and snapshots, got one without; set"
            " output.snapshot_times"
        )
    snapshots = [_particles(file) for file in files]
    times = [float(s["time"]) for s in snapshots]
    end = records[-1]["time"]
    problem = case.build().problem
    try:
        law = known_law(problem, [*times, end])
    except ValueError as error:
        raise BadInput(
            f"{folder}: no law is known to hold it to; expected a Gaussian problem, or one that a"
            f" grid resolves ({error})"
        ) from None
    return _hold(law, records, times, snapshots)


def _hold(
    law: KnownLaw, records: list[dict], times: list[float], snapshots: list[dict]
) -> Verification:
    columns = {
        key: np.array([record[key] for record in records], dtype=float)
        for key in ("time", "drift_error", *SERIES.values())
    }
    exact = dict(zip(SERIES.values(), (law.kl, law.free_energy, law.field_energy), strict=True))
    series = {
        heading: columns[key] - [exact[key](time) for time in columns["time"]]
        for heading, key in SERIES.items()
        if not np.isnan(columns[key]).all()
    }
    at = list(zip(times, snapshots, strict=True))
    return Verification(
        times=columns["time"],
        series=series,
        drift_error=columns["drift_error"],
        snapshot_times=np.array(times),
        marginal=np.array([marginal_error(law, t, s["x"], s["v"]) for t, s in at]),
        density=np.array([density_error(law, t, s["x"], s["v"], s["log_f"]) for t, s in at]),
    )


def draw(title: str, result: Verification, folder: Path) -> Path:
    """The errors over time, into folder/figures."""
    series = {k: (result.times, v) for k, v in result.series.items()}
    if not np.isnan(result.drift_error).all():
        series["score error"] = (result.times, result.drift_error)
    snapshots = {"marginals / exact sampling": (result.snapshot_times, result.marginal)}
    if not np.isnan(result.density).all():
        snapshots["rms of log f"] = (result.snapshot_times, result.density)
    return draw_verification(title, series, snapshots, folder / "figures" / "verify.png")


def _particles(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            names = ("x", "v", "log_f")
            arrays = {name: np.asarray(file[name], dtype=float) for name in names}
            return arrays | {"time": np.asarray(file.attrs["time"])}
    except (OSError, KeyError) as error:
        raise OSError(f"{path}: cannot be read: {error}") from None
