"""Time to accuracy: the wall time of a run to T = 10, and the errors it ends with.

Examples 1 and 2 in 1D by the printed scheme (symplectic Euler, linear log-determinant, 50 Adam
steps of 0.001, warm start), by the default (Newton on Splines, Strang), by a network with
the exact log-determinant and the default Adam, and by stochastic particles. All times are of runs
in alternation, diagnostics included; `compile_seconds` comes on top, once a process.

Errors: `drift`, the root of the time-averaged mean-square drift error (34), Example 1; `kl`, the
largest |estimated − exact| relative entropy at the times 0.5, 1, … from 0.5 on; `moments`, the
largest error of mean and covariance (norm), Example 1; `marginal`, the relative entropy of the
histogram of x to the stationary one at the end, about 80/N at best. Stochastic particles have no
log f, hence no drift and no kl: they are compared by moments and marginal alone.

    python benchmarks/time_to_accuracy.py [--quick] [--few] [--out FILE]
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # jax factorises with it; it spins on busy cores

import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from langevin import langevin
from record import arguments, machine, summary, tell, write

import kjko
from kjko.case import load
from kjko.observe import Start
from kjko.observe.bins import histogram
from kjko.reference.gaussian import ExactGaussian

# Exact relative entropy of Example 2 from a grid solution: Strang splitting, spectral advection,
# exact Chang-Cooper collisions, 768 x 257 cells, time step 0.01; tests hold grid_solution to it.
EXACT_MULTIWELL = {0.5: 0.3017, 1: 0.1189, 1.5: 0.0649, 2: 0.0397, 3: 0.0180, 4: 0.0107}
EXACT_MULTIWELL |= {5: 0.00668, 6: 0.00423, 8: 0.00174, 10: 0.00074}
LEVELS = {"drift": (0.3, 0.1, 0.05, 0.02), "kl": (0.1, 0.03, 0.01, 0.005)}
CASES = ("multiwell-1d", "gaussian-1d")
KEY = jax.random.key(0)


def methods(few: bool) -> dict[str, tuple[str, int, str, float, kjko.JKO]]:
    """Kind, number of particles, sampling, time step and method of every run."""
    network = kjko.MLP(1, (16, 16), key=KEY)
    adam = kjko.Adam(50, 1e-3, "constant", held_out=0.0, tolerance=0.0, warm_start=True)
    printed = kjko.JKO(network, adam, kjko.SymplecticEuler(), "linear")
    exact = kjko.JKO(network, kjko.Adam())
    runs = {
        "printed": ("printed", 10_000, "random", 0.1, printed),
        "network": ("network", 10_000, "low-discrepancy", 0.1, exact),
    }
    sizes = [(500, 0.25), (800, 0.25), (1_000, 0.25), (2_000, 0.25), (10_000, 0.25), (10_000, 0.1)]
    for number, dt in sizes if few else [*sizes, (1_000, 0.1), (100_000, 0.1)]:
        method = kjko.JKO(kjko.Gradient(kjko.Splines(1, particles=number)))
        runs[f"default, {number}, {dt:g}"] = ("default", number, "low-discrepancy", dt, method)
    return runs


def phase(particles: kjko.Particles) -> np.ndarray:
    return np.concatenate([particles.x, particles.v], axis=1).astype(float)


def moment_error(exact: ExactGaussian | None, t: float, mean: np.ndarray, covariance: np.ndarray):
    """Norm of the errors of mean and covariance; nan without an exact law."""
    if exact is None:
        return float("nan")
    known_mean, known = exact.at(t)
    return float(np.hypot(np.linalg.norm(mean - known_mean), np.linalg.norm(covariance - known)))


def exact_kl(refs: Start, times: np.ndarray) -> dict[float, float]:
    """Relative entropy at those of the times where it is known."""
    known = {}
    for t in times[times > 0.49]:
        t = round(float(t), 6)
        if refs.exact is None:
            known |= {t: EXACT_MULTIWELL[t]} if t in EXACT_MULTIWELL else {}
        elif abs(2 * t - round(2 * t)) < 1e-6:
            mean, covariance = refs.exact.at(t)
            second = np.diag(covariance + np.outer(mean, mean))
            energy = 0.5 * second[1] + second[0]  # v²/2 + x²
            known[t] = energy + refs.exact.entropy(t) + refs.stationary.log_normaliser
    return known


def solve(refs: Start, dt: float, end_time: float) -> tuple[float, dict]:
    """Seconds of a run, and its errors."""
    records, moments = [], []
    failure = None
    problem, method, particles = refs.problem, refs.method, refs.particles
    run = kjko.simulate(problem, method, particles, time_step=dt, end_time=end_time)
    while True:
        try:
            state, record = next(run)
        except (StopIteration, kjko.NumericalFailure) as error:
            failure = str(error) or None
            break
        records.append(record)
        z = phase(state.particles)
        moments.append(moment_error(refs.exact, record["time"], z.mean(0), np.cov(z.T, bias=True)))
    drift = [r["drift_error"] for r in records[1:]]
    times = np.array([r["time"] for r in records])
    known = exact_kl(refs, times)
    kl = {round(r["time"], 6): r["kl_stationary"] for r in records}
    errors = {
        "failure": failure,  # the errors are then of the run until there
        "drift": None if drift[0] is None else float(np.sqrt(np.mean(drift))),
        "kl": max((abs(kl[t] - value) for t, value in known.items() if t in kl), default=None),
        "kl_least": min(kl.values()),
        "moments": None if refs.exact is None else max(moments),
        "marginal": records[-1]["marginal_kl_x"][0],
    }
    return sum(r["seconds"] for r in records[1:]), errors


def solve_langevin(refs: Start, dt: float, end_time: float) -> tuple[float, dict]:
    steps, start = round(end_time / dt), time.perf_counter()
    run = langevin(refs.problem, refs.particles, dt, steps)
    last, (means, covariances) = jax.block_until_ready(run)
    seconds = time.perf_counter() - start
    moments = [
        moment_error(refs.exact, dt * (i + 1), np.asarray(m), np.asarray(c))
        for i, (m, c) in enumerate(zip(means, covariances, strict=True))
    ]
    part = np.asarray(histogram(last.x, refs.bins.x_edges))[0]
    ratio = np.log(np.where(part > 0, part, 1.0) / np.maximum(refs.bins.x_mass[0], 1e-30))
    return seconds, {
        "moments": None if refs.exact is None else max(moments),
        "marginal": float(np.sum(np.where(part > 0, part * ratio, 0.0))),
    }


def runs_of(problem: kjko.Problem, few: bool) -> dict[str, tuple[str, Callable]]:
    """Name: method, and the call that gives seconds and errors of a run to an end time."""
    calls = {}
    for name, (kind, number, sampling, dt, method) in methods(few).items():
        refs = Start(problem, method, kjko.sample(problem.law, number, 0, sampling))
        calls[name] = (kind, partial(solve, refs, dt))
    for number in (10_000, 1_000_000):
        particles = kjko.sample(problem.law, number, 0, "low-discrepancy")
        refs = Start(problem, kjko.Langevin(), particles)
        calls[f"langevin, {number}"] = ("langevin", partial(solve_langevin, refs, 0.1))
    return calls


def compare(name: str, end_time: float, few: bool, rounds: int) -> dict:
    """All runs of a case."""
    problem = load(name).build().problem
    result: dict = {}
    runs = runs_of(problem, few)
    for run, (method, call) in runs.items():
        start = time.perf_counter()
        call(end_time if method == "langevin" else 0.1)  # one step compiles it
        result[run] = {"method": method, "compile_seconds": time.perf_counter() - start}
        tell(f"{name}, {run}: first step in {result[run]['compile_seconds']:.3g} s")
    seconds: dict[str, list[float]] = {run: [] for run in runs}
    for turn in range(rounds):
        for run, (_, call) in runs.items():
            taken, errors = call(end_time)
            seconds[run].append(taken)
            result[run]["errors"] = errors
            shown = {
                k: e if isinstance(e, str) else float(f"{e:.3g}")
                for k, e in errors.items()
                if e is not None
            }
            tell(f"{name}, round {turn}, {run}: {taken:.3g} s, {shown}")
    for run, taken in seconds.items():
        result[run]["seconds"] = summary(taken)
    return {"runs": result, "reached": reached(result), "against_printed": against(result)}


def cheapest(runs: dict, method: str, goals: dict[str, float]) -> dict | None:
    """The run of the method that takes the least time to errors no larger than these."""
    good = [
        (run["seconds"]["median"], name)
        for name, run in runs.items()
        if run["method"] == method
        and not run["errors"].get("failure")
        and all(run["errors"].get(e) is not None and run["errors"][e] <= goals[e] for e in goals)
    ]
    if not good:
        return None
    seconds, name = min(good)
    return {"run": name, "seconds": seconds, "compile_seconds": runs[name]["compile_seconds"]}


def reached(runs: dict) -> dict:
    """For every error and level: what it takes each method, None if no run of it gets there."""
    methods = ("printed", "network", "default")
    return {
        f"{error} <= {level:g}": {m: cheapest(runs, m, {error: level}) for m in methods}
        for error, levels in LEVELS.items()
        if runs["printed"]["errors"][error] is not None
        for level in levels
    }


def against(runs: dict) -> dict:
    """The least time in which the default has all errors of the printed scheme or less."""
    printed = runs["printed"]
    goals = {e: printed["errors"][e] for e in LEVELS if printed["errors"][e] is not None}
    found = cheapest(runs, "default", goals)
    if found is None:
        return {"goals": goals, "default": None}
    fraction = found["seconds"] / printed["seconds"]["median"]
    all_of_printed = printed["seconds"]["median"] + printed["compile_seconds"]
    with_compile = (found["seconds"] + found["compile_seconds"]) / all_of_printed
    return {
        "goals": goals,
        "default": found,
        "fraction_of_wall_time": fraction,
        "fraction_with_compilation": with_compile,
    }


def main() -> None:
    parser = arguments("time_to_accuracy", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", action="store_true", help="six runs of the default, not eight")
    options = parser.parse_args()
    end_time, rounds = (2.0, 1) if options.quick else (10.0, options.rounds)
    results: dict = {"machine": machine(), "end_time": end_time, "rounds": rounds, "cases": {}}
    for name in CASES:
        results["cases"][name] = compare(name, end_time, options.quick or options.few, rounds)
        tell(f"{name}: {results['cases'][name]['against_printed']}")
        write(options.out, results)


if __name__ == "__main__":
    main()
