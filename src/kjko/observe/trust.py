"""Whether the density of a run can be trusted: what its own checks say."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from kjko.interfaces import Record

# See "Checks of the density" in docs/design_decisions.md.
SCORE = 0.07  # of `score_check`
RESOLVED = 0.15  # of `unresolved`
ADVICE = (
    "take more particles, or a control that sees more: if it is not ridges by levenberg-marquardt,"
    " try that"
)
LIMITS = (
    ("score_check", SCORE, "the score is wrong by {:.2g} of its size or more at t = {:.4g}"),
    ("unresolved", RESOLVED, "{:.2g} of the relative entropy is not resolved at t = {:.4g}"),
)


class UntrustedDensity(UserWarning):
    """By its own checks the density of a simulation cannot be trusted from some time on: neither
    log f nor entropies and free energies. Moments and marginals may be good still.
    """


def warn_of_density(records: Sequence[Record]) -> bool:
    """Warn of the first of these records whose checks fail, with its number if they are several;
    return whether one did.
    """
    for member, record in enumerate(records):
        for key, limit, told in LIMITS:
            number = record.get(key)
            if number is not None and number > limit:
                found = told.format(number, record["time"])
                where = f"member {member}: " if len(records) > 1 else ""
                message = f"{where}the density cannot be trusted: {found}; {ADVICE}"
                warnings.warn(message, UntrustedDensity, stacklevel=3)
                return True
    return False


def checks_of_density(columns: Mapping[str, np.ndarray]) -> tuple[str | None, str | None]:
    """A line on the checks of a series, and a warning if they fail; None where there is none."""
    found, failed = [], []
    for key, limit, told in LIMITS:
        known = _known(columns, key)
        if not known:
            continue
        worst, when = max(known)
        name = key.replace("_", " ")
        found.append(f"{name} at most {worst:.2g} (t = {when:.4g}; trusted up to {limit:g})")
        beyond = [t for number, t in known if number > limit]
        if beyond:
            failed.append(told.format(worst, when) + f", above {limit:g} from {min(beyond):.4g} on")
    warning = None
    if failed:
        warning = f"the density cannot be trusted: {'; '.join(failed)}; {ADVICE}"
    if (mass := worst_mass(columns)) is not None:
        found.append(f"mass check {mass[0]:.4f} (t = {mass[1]:.4g})")
    return ("density: " + ", ".join(found) if found else None), warning


def worst_mass(columns: Mapping[str, np.ndarray]) -> tuple[float, float] | None:
    """The `mass_check` that is farthest from one, and its time; None if none is known."""
    mass = [(number, t) for number, t in _known(columns, "mass_check") if number > 0]
    return max(mass, key=lambda pair: abs(np.log(pair[0])), default=None)


def _known(columns: Mapping[str, np.ndarray], key: str) -> list[tuple[float, float]]:
    """The numbers of a column that are known, with their times."""
    if key not in columns:
        return []
    pairs = zip(columns[key].tolist(), columns["time"].tolist(), strict=True)
    return [(number, t) for number, t in pairs if np.isfinite(number)]
