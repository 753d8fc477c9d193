"""One problem by several methods, from the same particles, held to the law that is known."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from kjko.case import BadInput, Case, load
from kjko.interfaces import Record
from kjko.observe import DEFAULT, DriftError, NumericalFailure, UntrustedDensity
from kjko.reference.errors import KnownLaw, marginal_error, sliced_wasserstein
from kjko.reference.gaussian import ExactGaussian
from kjko.reference.known import known_law
from kjko.simulation import number_of_steps
from kjko.studies.comparison import COLUMNS, Comparison, Outcome

MEASURED = 20  # times at most at which marginals, and a grid's score, are looked at
NETWORK = ("solver.control.kind=mlp", "solver.fit.kind=adam")
WIDER = (  # where the case has no network: the whole budget for all
    "solver.control.widths=[32, 32]",
    "solver.fit.steps=200",
    "solver.fit.tolerance=0.0",
)
PRINTED = (
    "solver.method.log_det=linear",
    "solver.fit.steps=50",
    "solver.fit.learning_rate=0.001",
    "solver.fit.schedule=constant",
    "solver.fit.held_out=0.0",
    "solver.fit.tolerance=0.0",
    "solver.fit.warm_start=false",
)
EULER = ("solver.integrator.kind=symplectic-euler",)
UNSPLIT_EULER = ("solver.integrator.kind=unsplit", "solver.integrator.map=symplectic-euler")
# What is set for a method. Those that learn take the case's control and fit where it has a network.
METHODS: dict[str, tuple[str, ...]] = {
    "jko": ("solver.method.kind=jko",),
    "jko-network": ("solver.method.kind=jko", *NETWORK),
    "jko-unsplit": ("solver.method.kind=jko", *NETWORK, "solver.integrator.kind=unsplit"),
    "jko-paper": ("solver.method.kind=jko", *NETWORK, *PRINTED),
    "score": ("solver.method.kind=score", *NETWORK),
    "score-end-to-end": ("solver.method.kind=score-end-to-end", *NETWORK),
    "velocity-matching": ("solver.method.kind=velocity-matching", *NETWORK),
    "langevin": ("solver.method.kind=langevin",),
}


def check_methods(methods: list[str], seeds: int) -> None:
    """Raise BadInput for a method that is not known or given twice, or no seed."""
    for method in methods:
        if method not in METHODS:
            raise BadInput(f"--methods: expected some of {', '.join(METHODS)}, got {method!r}")
    if len(set(methods)) < len(methods):
        raise BadInput("--methods: expected each method once")
    if seeds < 1:
        raise BadInput(f"--seeds: expected a number of runs, 1 or more, got {seeds}")


def cases_of(name: str, overrides: list[str], methods: list[str]) -> dict[str, Case]:
    """The case of each method. Raises BadInput for one that cannot solve the problem."""
    given = load(name, overrides)
    has_network = given.solver.control.kind in ("mlp", "affine")
    cases = {}
    for method in methods:
        extra = [*METHODS[method]]
        if method == "jko-paper":  # (32) for a field of the particles' own, else (18)
            extra += EULER if given.problem.force is None else UNSPLIT_EULER
        if given.solver.control.kind == "affine":
            extra.remove(NETWORK[0])
        if NETWORK[0] in extra and not has_network:
            asked = {setting.partition("=")[0] for setting in (*extra, *overrides)}
            extra += [setting for setting in WIDER if setting.partition("=")[0] not in asked]
        cases[method] = load(name, [*overrides, *extra])
    return cases


def compare(
    name: str,
    overrides: list[str],
    methods: list[str],
    seeds: int,
    progress: Callable[[str], None],
    save: Callable[[Comparison], None],
) -> Comparison:
    """Run the methods with `seeds` seeds, counted from the case's own.

    `progress` is told of every run, and what there is so far is given to `save` after every seed.
    Raises NumericalFailure if all runs fail.

    Of each run: the time averages of the score error E|u − u*|², of |KL − exact| and of
    |free energy − exact|; the root mean square of the marginal error, and the mean sliced
    Wasserstein-2 distance to reference samples, both over that of exact samples; wall time without
    compilation; gradient (or Newton) steps. A run shares nothing with those beside it.
    """
    cases = cases_of(name, overrides, methods)
    for case in cases.values():
        case.build()  # refuse all that can be refused before the first run
    law, steps = _known(next(iter(cases.values())), progress)
    outcomes = []
    for seed in range(seeds):
        for method, case in cases.items():
            number = case.particles.seed + seed
            particles = case.particles.model_copy(update={"seed": number})
            outcome = _run(method, case.model_copy(update={"particles": particles}), law, steps)
            outcomes.append(outcome)
            errors = (f"{k} {v:.3g}" for k, v in outcome.errors.items() if v is not None)
            progress(f"{method}, seed {number}: {outcome.failure or ', '.join(errors)}")
        times = [record["time"] for record in max((o.records for o in outcomes), key=len)]
        free_energy = [] if law is None else [(t, law.free_energy(t)) for t in times]
        result = Comparison(cases, outcomes, free_energy)
        save(result)
    if all(o.failure for o in outcomes):
        raise NumericalFailure("every run failed; try a smaller solver.time_step")
    return result


def _known(case: Case, progress: Callable[[str], None]) -> tuple[KnownLaw | None, list[int]]:
    """The law, and the steps at which it is known on a grid: at their ends and their middles."""
    dt = case.solver.time_step
    total = number_of_steps(case.solver.end_time, dt)
    spread = np.linspace(1, total, min(total, MEASURED)).round().astype(int)
    steps = sorted({int(step) for step in spread})
    times = [time for step in steps for time in ((step - 0.5) * dt, step * dt)]
    problem = case.build().problem
    try:
        return known_law(problem, times), steps
    except ValueError as error:
        progress(f"no law is known to hold the runs to: {error}")
        return None, steps


def _run(name: str, case: Case, law: KnownLaw | None, steps: list[int]) -> Outcome:
    experiment = case.build()
    held = [DriftError(law) if isinstance(each, DriftError) else each for each in DEFAULT]
    run = experiment.simulate(held)
    marginals, sliced, failure = [], [], None
    with np.errstate(all="ignore"):
        _, first = next(run)  # t = 0, which no step's time and compilation counts to
    records = [first]
    with _Compilation() as compilation, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrustedDensity)  # the table has the errors themselves
        try:
            for now, record in run:
                records.append(record)
                if law is not None and record["step"] in steps:
                    at = now.particles
                    x, v = np.asarray(at.x, dtype=float), np.asarray(at.v, dtype=float)
                    marginals.append(marginal_error(law, record["time"], x, v))
                    sliced.append(_sliced_ratio(law, record["time"], x, v))
        except NumericalFailure as error:
            failure = str(error)
    errors = dict.fromkeys(COLUMNS)
    if failure is None:
        iterations = sum(r["fit_iterations"] or 0 for r in records)
        errors |= _errors(law, records) | {
            "marginal_error": _root_mean_square(marginals),
            "sliced_wasserstein": _mean(sliced),
            "wall_seconds": sum(r["seconds"] for r in records[1:]) - compilation.seconds,
            "compile_seconds": compilation.seconds,
            "iterations": float(iterations) or None,
        }
    return Outcome(name, case.particles.seed, records, errors, failure)


def _errors(law: KnownLaw | None, records: list[Record]) -> dict[str, float | None]:
    """Time averages, from the first step on."""

    def deviation(key, exact):
        known = [(r[key], r["time"]) for r in records[1:] if r[key] is not None]
        return _mean([abs(value - exact(time)) for value, time in known])

    if law is None:
        return dict.fromkeys(("score_error", "kl_error", "free_energy_error"))
    return {
        "score_error": _mean([r["drift_error"] for r in records[1:]]),
        "kl_error": deviation("kl_stationary", law.kl),
        "free_energy_error": deviation("free_energy", law.free_energy),
    }


def _sliced_ratio(law: KnownLaw, time: float, x: np.ndarray, v: np.ndarray) -> float | None:
    """To samples of the law, over the distance between two samples of it; None in one dimension."""
    if not isinstance(law, ExactGaussian) or x.shape[1] == 1:
        return None
    one, other = (law.sample(time, len(x), seed) for seed in (1, 2))
    return sliced_wasserstein(np.concatenate([x, v], axis=1), one) / sliced_wasserstein(other, one)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _root_mean_square(values: list[float]) -> float | None:
    return math.sqrt(np.mean(np.square(values))) if values else None


class _Compilation:
    """Seconds that jax spends on tracing and compiling in this process, meanwhile."""

    seconds = 0.0

    def __enter__(self) -> "_Compilation":
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        jax.monitoring.unregister_event_duration_listener(self._note)

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            self.seconds += duration_secs
