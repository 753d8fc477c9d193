"""What a run has come to, as rows of a table: results, checks with their verdicts, cost."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kjko.observe.trust import RESOLVED, SCORE, worst_mass
from kjko.run.conserved import conserved
from kjko.run.reader import Run
from kjko.studies.tables import uncertain

QUANTITIES = {  # of the series
    "energy_kinetic": "kinetic energy ∫ ½|v|² f",
    "energy_external": "potential energy ∫ φ f",
    "field_energy": "field energy ∫ |E|² dx",
    "entropy": "∫ f log f",
    "free_energy": "free energy",
    "kl_stationary": "relative entropy to f∞",
}


class Check(NamedTuple):
    """`holds` is None where there is no bound to hold it to."""

    name: str
    value: str
    bound: str
    holds: bool | None


def results(run: Run) -> list[tuple[str, str, str]]:
    """Quantity, its value at the first and at the last record."""
    columns = run.columns
    return [
        (name, f"{columns[key][0]:.6g}", f"{columns[key][-1]:.6g}")
        for key, name in QUANTITIES.items()
        if key in columns and np.isfinite(columns[key][[0, -1]]).all()
    ]


def checks(run: Run, damage: list[str]) -> list[Check]:
    """Those of the density, of the map, of what is conserved, and of the files, with what
    `kjko.run.status` has found of their `damage`.
    """
    files = Check("files of the run", "; ".join(damage) or "whole", "", not damage)
    return [*_of_density(run), *_of_conservation(run), files]


def _of_density(run: Run) -> Iterator[Check]:
    columns = run.columns
    for key, name, bound in (
        ("score_check", "score check: relative error of ∇ᵥ log f, at least", SCORE),
        ("unresolved", "relative entropy that is not resolved, share", RESOLVED),
    ):
        if (worst := _largest(columns, key)) is not None:
            yield Check(name, f"{worst:.2g}", f"≤ {bound:g}", worst <= bound)
    if (mass := worst_mass(columns)) is not None:
        yield Check("mass check, one where no mass is missed", f"{mass[0]:.4f}", "", None)
    if "fit_r2" in columns:
        yield Check("R² of the fit, least", f"{np.nanmin(columns['fit_r2']):.4f}", "", None)
    if "det_min" in columns:
        least = float(np.nanmin(columns["det_min"]))
        yield Check("least determinant of a step's map", f"{least:.3g}", "> 0", least > 0)


def _of_conservation(run: Run) -> Iterator[Check]:
    for name, change in conserved(run).items():
        yield Check(f"{name}, largest relative change", f"{np.nanmax(change):.2g}", "", None)


def _largest(columns: dict[str, np.ndarray], key: str) -> float | None:
    known = columns[key][np.isfinite(columns[key])] if key in columns else np.empty(0)
    return float(known.max()) if known.size else None


def wave(run: Run) -> list[tuple[str, str, str]]:
    """Frequency and rate of the wave: measured, and that of linear theory."""
    if not run.wave:
        return []
    measured, theory = run.wave.get("measured", {}), dict(run.wave["theory"])
    theory["frequency"] = abs(round(theory["frequency"], 9))  # a root's zero is 1e-16
    rows = []
    for key, name in (("frequency", "frequency ω"), ("rate", "growth rate γ")):
        found, error = measured.get(key), measured.get(f"{key}_error")
        told = "not seen" if found is None else uncertain(found, error)
        rows.append((name, told, f"{theory[key]:.5g}"))
    return rows


def cost(run: Run) -> list[tuple[str, str]]:
    """Steps, seconds and speed."""
    seconds = run.columns.get("seconds", np.empty(0))
    seconds = seconds[np.isfinite(seconds)]
    number = _number_of_particles(run)
    rows = [("particles", f"{number:,}")] if number else []
    rows.append(("steps", f"{seconds.size}"))
    if seconds.size > 1:
        median = float(np.median(seconds[1:]))
        rows.append(("first step, compilation included", f"{seconds[0]:.2f} s"))
        rows.append(("a step after it, median", f"{1e3 * median:.3g} ms"))
        rows.append(("all steps", f"{seconds.sum():.4g} s"))
        if number:
            rows.append(("particle-steps a second", f"{number / median:.2g}"))
    return rows


def _number_of_particles(run: Run) -> int | None:
    """Those of a file are counted in the snapshots."""
    if run.snapshot_files:
        first = run.snapshot(run.snapshot_files[0])
        return int(first.get("particles", len(first["x"])))
    particles = run.case["particles"]
    return None if "file" in particles else particles.get("number")


def manifest(run: Run) -> list[tuple[str, str]]:
    """What it ran with."""
    rows = []
    for key, value in run.manifest.items():
        if key in ("case", "crc32"):
            continue
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        rows.append((key.replace("_", " "), str(told)))
    return rows


def parameters(case: dict[str, Any]) -> dict[str, str]:
    """All keys of a case with their values, as text."""
    return dict(_leaves(case))


def _leaves(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value if isinstance(value, str) else str(value)
