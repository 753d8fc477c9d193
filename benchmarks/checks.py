"""Measured numbers beside what they are held to, read from the folders of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kjko
from kjko.case import load
from kjko.reference.known import known_law
from kjko.run.conserved import conserved
from kjko.run.loop import read_case
from kjko.run.reader import Run
from kjko.studies.verify import Verification, verify

Check = dict[str, Any]
FROM, LATE = 0.5, 2.0  # times from which densities are held to a law
SAME_TIME = 1e-6
KL = f"relative entropy, largest error from t = {FROM:g} on"
RMS = "log f, largest rms error at snapshots"
SAID = ("largest `score_check`", "largest `unresolved`")


def check(
    quantity: str,
    measured: Sequence[float | None],
    *,
    exact: float | None = None,
    source: str = "",
    within: float | None = None,
    relative: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Check:
    """A number of each run, and its bound: `exact`, by this `source`, within so much or within a
    part of it, or a largest or least value; without any of them it is only told.
    """
    bounds = {"exact": exact, "within": within, "relative": relative}
    bounds |= {"at_most": at_most, "at_least": at_least}
    kept = {name: value for name, value in bounds.items() if value is not None}
    where = {"source": source} if source else {}
    return {"quantity": quantity, "measured": list(measured), **kept, **where}


def runs(folder: Path) -> list[Run]:
    """All runs of a folder, in the order in which they were made."""
    return [kjko.open_run(path.parent) for path in sorted(folder.rglob("case.toml"))]


def verified(folder: Path) -> list[Verification]:
    """Each run held to the law that is known."""
    return [verify(read_case(run.folder), run.folder) for run in runs(folder)]


def gaussian(
    folder: Path, drift: float | None = None, energy: float | None = None, last: float | None = None
) -> list[Check]:
    """The score and the free energy of runs of Example 1 against the Gaussian law, with bounds on
    the drift error over time, the error of the free energy at the end, and the last drift error.
    """
    found = runs(folder)
    end = found[0].columns["time"][-1]
    exact = known_law(found[0].experiment().problem, [end]).free_energy(end)
    errors = [run.columns["drift_error"][1:] for run in found]
    free = [run.columns["free_energy"] for run in found]
    checks = [check("rms drift error (34)", [np.sqrt(e.mean()) for e in errors], at_most=drift)]
    if last is not None:
        final = [e[-1] for e in errors]
        checks.append(check("mean-square drift error at the end", final, at_most=last))
    law = {"exact": exact, "source": "closed form"}
    checks.append(check("free energy at the end", [f[-1] for f in free], within=energy, **law))
    return [*checks, rises(folder)]


def rises(folder: Path) -> Check:
    """No step of the exact equation raises the free energy."""
    free = [run.columns["free_energy"] for run in runs(folder)]
    largest = [max(0.0, float(np.diff(f).max() / max(1.0, abs(f[0])))) for f in free]
    return check("largest rise of the free energy in a step", largest, at_most=1e-3)


def density(
    folder: Path,
    kl: float | None = None,
    late: float | None = None,
    rms: float | None = None,
    mean: float | None = None,
    says: bool = False,
) -> list[Check]:
    """log f and the relative entropy from t = 0.5 on against the law, with bounds on the error of
    the relative entropy, the same from t = 2 on, and rms and mean of the error of log f.

    `says`: what the runs themselves say of their density, too.
    """
    held = verified(folder)
    errors = [_from(FROM, each.times, each.series["KL error"]) for each in held]
    later = [_from(LATE, each.times, each.series["KL error"]) for each in held]
    widths = [_from(FROM, each.snapshot_times, each.density) for each in held]
    marginals = [_from(FROM, each.snapshot_times, each.marginal) for each in held]
    checks = [
        check(KL, errors, at_most=kl),
        check(f"the same from t = {LATE:g} on", later, at_most=late),
        check(RMS, widths, at_most=rms),
    ]
    if mean is not None:
        means = [_mean_error(run) for run in runs(folder)]
        checks += [check("log f, largest mean error at snapshots", means, at_most=mean)]
    checks += [check("marginals, error over that of exact samples", marginals)]
    return [*checks, *(_said(folder) if says else []), rises(folder)]


def _from(start: float, times: np.ndarray, values: np.ndarray) -> float:
    """The largest absolute value from a time on."""
    return float(np.nanmax(np.abs(values[times > start - SAME_TIME])))


def _mean_error(run: Run) -> float:
    """The largest |mean of log f less the law's| at the snapshots from t = 0.5 on."""
    law = known_law(run.experiment().problem, run.times.tolist())
    errors = []
    for snapshot in run.snapshots():
        time = float(snapshot["time"])
        if time > FROM - SAME_TIME:
            x, v, log_f = (np.asarray(snapshot[key], float) for key in ("x", "v", "log_f"))
            errors.append(abs(np.mean(log_f - law.log_f(time, x, v))))
    return float(max(errors, default=np.nan))


def _said(folder: Path) -> list[Check]:
    columns = [run.columns for run in runs(folder)]
    return [
        check(quantity, [float(np.nanmax(c[quantity.split("`")[1]])) for c in columns])
        for quantity in SAID
    ]


def three_wells(folder: Path, kl: float) -> list[Check]:
    """Example 4, whose law is that of Example 2 with the beams, and twice without them."""
    found = runs(folder)[0].columns
    kept = found["time"] > FROM - SAME_TIME
    times = found["time"][kept].tolist()
    at_rest = ["problem.law.velocity.means=[[0.0]]", "problem.law.velocity.widths=[1.0]"]
    beams, rest = (
        known_law(load("multiwell-1d", each).build().problem, times) for each in ([], at_rest)
    )
    exact = np.array([beams.kl(t) + 2 * rest.kl(t) for t in times])
    error = float(np.abs(found["kl_stationary"][kept] - exact).max())
    least = float(found["kl_stationary"].min())
    largest = check(KL, [error], at_most=kl)
    return [largest, check("least relative entropy", [least], at_least=-0.02), rises(folder)]


def wave(folder: Path, frequency: bool = True) -> list[Check]:
    """ω and γ of ∫E² as the runs print them beside linear theory, and what they keep or lose."""
    found = runs(folder)
    waves = [run.wave or {} for run in found]
    theory, measured = waves[0]["theory"], [each["measured"] for each in waves]
    checks = []
    for name, key, relative in (("ω", "frequency", 0.01), ("γ", "rate", 0.05)):
        if key == "rate" or frequency:
            values = [each[key] for each in measured]
            checks.append(check(name, values, exact=theory[key], relative=relative,
                                source="linear theory"))  # fmt: skip
    kept = [conserved(run) for run in found]
    if all("total energy" in each for each in kept):
        changes = [float(np.nanmax(each["total energy"])) for each in kept]
        quantity = "change of the total energy over the kinetic"
        return [*checks, check(quantity, changes, at_most=1e-3)]
    return [*checks, rises(folder)]


def same_field(folder: Path) -> list[Check]:
    """Ampère's law against Poisson's equation: the first run and the second."""
    one, other = (run.columns["field_energy"] for run in runs(folder))
    off = float(np.abs(other - one).max() / one.max())
    return [check("largest difference of ∫E² over its largest value", [off], at_most=1e-3)]


def merged(folder: Path) -> list[Check]:
    """Two beams that collisions merge: ∫E² only falls."""
    energy = runs(folder)[0].columns["field_energy"]
    last, most = float(energy[-1] / energy[0]), float(energy.max() / energy[0])
    left = check("∫E² at the end over that at first", [last], at_most=0.1)
    return [left, check("largest ∫E² over that at first", [most], at_most=1.0), rises(folder)]


def orders(folder: Path, least: float) -> list[Check]:
    """The slopes of the errors of a time-step study."""
    (path,) = folder.rglob("convergence.csv")
    names = path.read_text().splitlines()[0].split(",")
    steps, *errors = np.loadtxt(path, delimiter=",", skiprows=1).T
    slopes = [float(np.polyfit(np.log(steps), np.log(values), 1)[0]) for values in errors]
    return [
        check(f"order of the {name}", [slope], at_least=least)
        for name, slope in zip(names[1:], slopes, strict=True)
    ]


def cost(folder: Path) -> list[Check]:
    """Seconds of a step, records included: median of all but the first three."""
    seconds = [np.median(run.columns["seconds"][4:]) for run in runs(folder)]
    number = [run.case["particles"]["number"] for run in runs(folder)]
    rates = [n / s for n, s in zip(number, seconds, strict=True)]
    return [check("a step [s]", seconds), check("particle-steps a second", rates)]
