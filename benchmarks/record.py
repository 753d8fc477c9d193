"""What the benchmarks share: the machine, progress on stderr, alternated timing, JSON results."""

import json
import os
import platform
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def arguments(name: str, text: str | None) -> ArgumentParser:
    """The options that all benchmarks have."""
    parser = ArgumentParser(description=text)
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    parser.add_argument("--quick", action="store_true", help="a short version, for a first look")
    return parser


def tell(line: str) -> None:
    """A line of progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "torch", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def write(path: Path, results: dict[str, Any]) -> None:
    """The results as JSON; written again as they grow, so that a stopped run leaves what it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def alternate(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call, a number for each round; in a round every call has its turn.

    The first call of a turn is not timed: it finds the caches full of another's data and its own
    threads asleep. The other calls are as many as fill a tenth of a second.
    """
    repeats, long = {}, set()
    for name, call in calls.items():
        for _ in range(2):
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if elapsed > 2:  # long enough for a first call to do no harm
                long.add(name)
                break
        repeats[name] = max(1, round(0.1 / elapsed))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(0.01)  # the other library's threads stop spinning
            if name not in long:
                call()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, quartiles and least: what it takes when nothing else runs."""
    low, middle, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else 3 * seconds
    return {
        "median": middle,
        "lower_quartile": low,
        "upper_quartile": high,
        "least": min(seconds),
    }


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Ratio of the medians and of the least, and the quartiles of the ratios of the rounds."""
    spread = summary([t / o for t, o in zip(theirs, ours, strict=True)])
    median = statistics.median(theirs) / statistics.median(ours)
    return spread | {"median": median, "least": min(theirs) / min(ours)}
