"""Sizes at and beyond memory: refused at the door, or run, or ended with a line; never killed."""

import subprocess
import sys
from collections import Counter

import numpy as np
from campaign import ENVIRONMENT, many

MEMORY = 3 * 2**20  # kilobytes that the processes may take
SURE, HOPELESS = 300, 10**8  # sizes that run, and that no way runs
TRAINED = "solver.fit={kind='adam',steps=2}"
BY_VALUES = "solver.fit={kind='newton'}"
SIZES = {
    "particles": lambda n: [f"particles.number={min(n, 2**31 - 1)}"],
    "widths": lambda n: [f"solver.control={{kind='mlp',widths=[{n},{n}]}}", TRAINED],
    "width": lambda n: [f"solver.control={{kind='mlp',widths=[{n}]}}", TRAINED],
    "random-tanh": lambda n: [f"solver.control={{kind='random-tanh',size={n}}}", BY_VALUES],
    "ridges": lambda n: [
        f"solver.control={{kind='ridges',size={n}}}",
        "solver.fit={kind='levenberg-marquardt',iterations=1}",
    ],
    "splines": lambda n: [
        f"solver.control={{kind='splines',cells=[{min(3 * (n // 3), 3000)},{n}]}}",
        BY_VALUES,
    ],
    "in 3D": lambda n: ["CASE multiwell-3d", f"particles.number={min(n, 2**31 - 1)}"],
}


def run(folder, kind, size):
    case, *overrides = [word.removeprefix("CASE ") for word in SIZES[kind](size)]
    if not case.startswith("multiwell"):
        case, overrides = "gaussian-1d", [case, *overrides]
    shown = ["solver.end_time=0.1", "output.snapshot_times=[]", *overrides]
    command = ["bash", "-c", f'ulimit -d {MEMORY} && exec "$@"', "bash"]
    command += [sys.executable, "-m", "kjko", "run", case, "--out", "run"]
    command += [word for setting in shown for word in ("--set", setting)]
    return subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_sizes(tmp_path, report):
    draw, outcomes, kinds = np.random.default_rng(18), Counter(), list(SIZES)
    for number in range(many(200)):
        kind = kinds[number % len(kinds)]
        size = round(10 ** draw.uniform(2, 9.5 if kind != "widths" else 6))
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(folder, kind, size)
        assert done.returncode in (0, 2, 4), (kind, size, done)
        assert "Traceback" not in done.stderr, (kind, size, done.stderr)
        assert done.returncode == 0 or size > SURE, (kind, size, done.stderr)
        assert done.returncode != 0 or size < HOPELESS, (kind, size)
        outcomes[f"{kind}: {done.returncode}"] += 1
    report(f"{many(200)} sizes: {dict(sorted(outcomes.items()))}")
