"""Whether the density of a run can be trusted: what its own checks say."""

from collections.abc import Mapping

import numpy as np

RESOLVED = 0.08  # of `unresolved`; see "Checks of the density" in docs/design_decisions.md


def checks_of_density(columns: Mapping[str, np.ndarray]) -> tuple[str | None, str | None]:
    """A line on the checks of a series, and a warning if they fail; None where there is none."""
    found, warning = [], None
    time, unresolved = columns["time"], columns.get("unresolved")
    if unresolved is not None:
        worst = int(np.nanargmax(unresolved))
        found.append(f"unresolved at most {unresolved[worst]:.2g} (t = {time[worst]:.4g})")
        if not unresolved[worst] <= RESOLVED:
            first = int(np.argmax(~(unresolved <= RESOLVED) & ~np.isnan(unresolved)))
            warning = (
                f"the density is not resolved from t = {time[first]:.4g} on: entropy and free"
                f" energy may be wrong by {unresolved[worst]:.2g}; take more particles, or"
                " solver.control.kind = ridges with solver.fit.kind = levenberg-marquardt"
            )
    mass = columns.get("mass_check")
    if mass is not None:
        worst = int(np.nanargmax(np.abs(np.log(mass[1:]))) + 1) if len(mass) > 1 else 0
        found.append(f"mass check {mass[worst]:.4f} (t = {time[worst]:.4g})")
    return ("density: " + ", ".join(found) if found else None), warning
