"""Cost of a step against the number of particles, the dimension and the size of the control.

The default (Newton on Splines, Strang, Δt = 0.1) on Example 2, everything included: force,
fit, push with density, energies, entropy and histograms of `kjko.simulate`. Every number is the
median over the steps of a run in a process of its own, without the first step, which compiles;
peak resident memory is that process's. The exponents are slopes of log seconds against log size:
`exponent` over all sizes, `exponent_last` over the largest two.

    python benchmarks/scaling.py [--quick] [--large] [--out FILE]     --large: 10^7 particles too
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # jax factorises with it; it spins on busy cores

import multiprocessing
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import arguments, machine, summary, tell, write

DT, STEPS = 0.1, 8


class Run(NamedTuple):
    """What is run: splines on so many `cells`, or an MLP of two layers of `width` by Adam."""

    number: int
    dimension: int = 1
    cells: int = 90 * 24
    width: int | None = None


SERIES = {
    "number": [Run(n) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)],
    "dimension": [Run(100_000, d) for d in (1, 2, 3)],
    "cells": [Run(100_000, cells=c) for c in (45 * 12, 90 * 24, 180 * 48)],
    "width": [Run(10_000, width=w) for w in (16, 32, 64, 128)],
}


def measure(run: Run, steps: int) -> dict[str, Any]:
    """Seconds of each step, and the peak memory; to be called in a fresh process."""
    import jax
    import jax.numpy as jnp

    import kjko

    d = run.dimension
    position = kjko.GaussianPosition(jnp.zeros(d), jnp.eye(d))
    beams = jnp.stack([jnp.full(d, -1.5), jnp.full(d, 1.5)])
    law = kjko.Product(position, beams, jnp.stack([jnp.eye(d)] * 2), jnp.full(2, 0.5))
    problem = kjko.Problem(kjko.External(kjko.Multiwell()), law=law)
    if run.width is None:
        side = round((run.cells / (90 * 24)) ** 0.5 * 24)
        method = kjko.JKO(kjko.Gradient(kjko.Splines(d, (side * 90 // 24, side))))
    else:
        network = kjko.MLP(d, (run.width, run.width), key=jax.random.key(0))
        method = kjko.JKO(network, kjko.Adam())
    start = time.perf_counter()
    particles = kjko.sample(law, run.number)
    sampling = time.perf_counter() - start
    run = kjko.simulate(problem, method, particles, time_step=DT, end_time=(steps + 1) * DT)
    records = [record for _, record in run]
    seconds = [r["seconds"] for r in records[1:]]
    return {
        **run._asdict(),
        "seconds": summary(seconds[1:]),
        "first_step": seconds[0],
        "sampling_seconds": sampling,
        "particle_steps_per_second": run.number / float(np.median(seconds[1:])),
        "peak_memory_gib": _peak_memory(),
    }


def _peak_memory() -> float | None:
    """Of this process since it started, in GiB; None where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 2**20 if found else None


def apart(run: Run, steps: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (run, steps))


def exponents(runs: list[dict], size: str) -> dict[str, float]:
    """Slopes of log seconds against log size."""
    x = np.log([r[size] for r in runs])
    y = np.log([r["seconds"]["median"] for r in runs])
    return {
        "exponent": float(np.polyfit(x, y, 1)[0]),
        "exponent_last": float((y[-1] - y[-2]) / (x[-1] - x[-2])),
    }


def main() -> None:
    parser = arguments("scaling", __doc__)
    parser.add_argument("--large", action="store_true", help="10^7 particles too")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "series": {}, "exponents": {}}
    steps = 3 if options.quick else STEPS
    for size, series in SERIES.items():
        runs = results["series"][size] = []
        for run in series:
            runs.append(apart(run, steps))
            _tell(runs[-1])
        results["exponents"][size] = exponents(runs, size)
        tell(f"{size}: {results['exponents'][size]}")
        write(options.out, results)
    if options.large:
        results["large"] = apart(Run(10_000_000), 3)
        _tell(results["large"])
        write(options.out, results)


def _tell(run: dict[str, Any]) -> None:
    what = {k: run[k] for k in ("number", "dimension", "cells", "width")}
    memory = run["peak_memory_gib"] or float("nan")
    tell(
        f"{what}: {1e3 * run['seconds']['median']:.4g} ms a step,"
        f" {run['particle_steps_per_second']:.3g} particle-steps/s, {memory:.2f} GiB"
    )


if __name__ == "__main__":
    main()
