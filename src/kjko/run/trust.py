"""Whether the density of a run can be trusted: what its own checks say."""

from collections.abc import Mapping

import numpy as np

RESOLVED = 0.08  # of `unresolved`; see "Checks of the density" in docs/design_decisions.md


def checks_of_density(columns: Mapping[str, np.ndarray]) -> tuple[str | None, str | None]:
    """A line on the checks of a series, and a warning if they fail; None where there is none."""
    found, warning = [], None
    unresolved = _known(columns, "unresolved")
    if unresolved:
        worst, when = max(unresolved)
        found.append(f"unresolved at most {worst:.2g} (t = {when:.4g})")
        beyond = [t for number, t in unresolved if number > RESOLVED]
        if beyond:
            warning = (
                f"the density is not resolved from t = {min(beyond):.4g} on: the relative entropy"
                f" may be wrong by {worst:.2g}; take more particles, or functions that see all"
                " coordinates: solver.control.kind = ridges, solver.fit.kind = levenberg-marquardt"
            )
    mass = [(number, t) for number, t in _known(columns, "mass_check") if number > 0]
    if mass:
        worst, when = max(mass, key=lambda pair: abs(np.log(pair[0])))
        found.append(f"mass check {worst:.4f} (t = {when:.4g})")
    return ("density: " + ", ".join(found) if found else None), warning


def _known(columns: Mapping[str, np.ndarray], key: str) -> list[tuple[float, float]]:
    """The numbers of a column that are known, with their times."""
    if key not in columns:
        return []
    pairs = zip(columns[key].tolist(), columns["time"].tolist(), strict=True)
    return [(number, t) for number, t in pairs if np.isfinite(number)]
