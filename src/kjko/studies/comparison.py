"""What a comparison of methods has found: its table, its files and its figures."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kjko.case import Case
from kjko.figures.errors import draw_cost, draw_figure_2
from kjko.interfaces import Record
from kjko.run.atomic import write_atomically
from kjko.studies.tables import aligned, summary

COLUMNS = {  # of the table: name in the CSV and heading
    "score_error": "score error",
    "kl_error": "KL error",
    "free_energy_error": "free-energy error",
    "marginal_error": "marginal error / floor",
    "sliced_wasserstein": "sliced W2 / floor",
    "wall_seconds": "wall s",
    "compile_seconds": "compile s",
    "iterations": "gradients",
}


class Outcome(NamedTuple):
    """A run of a method: its records, and its errors by the names of COLUMNS; None if unknown.

    `failure`: what went wrong, if something did; the errors are None then.
    """

    method: str
    seed: int
    records: list[Record]
    errors: dict[str, float | None]
    failure: str | None


class Comparison(NamedTuple):
    """All runs. `free_energy`: times, and that of the known law, if there is one."""

    cases: dict[str, Case]
    outcomes: list[Outcome]
    free_energy: list[tuple[float, float]]

    def table(self) -> str:
        """A line for each method: means over the seeds ± their spread, as text."""
        rows = [["method", *COLUMNS.values()]]
        for method in self.cases:
            runs = [o for o in self.outcomes if o.method == method]
            failed = sum(o.failure is not None for o in runs)
            label = f"{method} ({failed} of {len(runs)} failed)" if failed else method
            rows.append([label, *(summary([o.errors[key] for o in runs]) for key in COLUMNS)])
        return aligned(rows)

    def csv(self) -> str:
        """A line for each run."""
        lines = [",".join(["method", "seed", *COLUMNS, "failure"])]
        for o in self.outcomes:
            numbers = ["" if value is None else f"{value:.6g}" for value in o.errors.values()]
            failure = (o.failure or "").replace(",", ";")
            lines.append(",".join([o.method, str(o.seed), *numbers, failure]))
        return "\n".join(lines) + "\n"

    def series(self) -> str:
        """A line of JSON for each record of each run."""
        lines = [{"method": o.method, "seed": o.seed} | r for o in self.outcomes for r in o.records]
        return "".join(json.dumps(line) + "\n" for line in lines)

    def values(self, method: str, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Times, and a quantity at them in all runs of a method that went to the end."""
        runs = [o.records for o in self.outcomes if o.method == method and o.failure is None]
        times = np.array([r["time"] for r in runs[0]]) if runs else np.empty(0)
        return times, np.array([[r[key] for r in run] for run in runs], dtype=float)


def write(result: Comparison, title: str, folder: Path) -> None:
    """What was asked, the table, all records and the figures, into a folder."""
    asked = {method: case.model_dump(mode="json") for method, case in result.cases.items()}
    files = {
        "compare.json": json.dumps(asked, indent=2),
        "compare.csv": result.csv(),
        "series.jsonl": result.series(),
        "table.txt": result.table() + "\n",
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    drift, free_energy = (
        {method: result.values(method, key) for method in result.cases}
        for key in ("drift_error", "free_energy")
    )
    ours = {m: curves for m, curves in free_energy.items() if m.startswith("jko")}
    cost: dict[str, list] = {method: [] for method in result.cases}
    for o in result.outcomes:
        e = o.errors
        if o.failure is None:
            cost[o.method].append((e["score_error"], e["marginal_error"], e["wall_seconds"]))
    draw_figure_2(title, drift, ours, result.free_energy, folder / "figure2.png")
    draw_cost(title, cost, folder / "cost.png")
