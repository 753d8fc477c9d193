"""Small runs and what is in their folders."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from kjko.case import load
from kjko.run import loop
from kjko.run.sealed import seal, unseal

STEPS = 6
SMALL = [
    "particles.number=200",
    "solver.control.kind=affine",
    "solver.fit.kind=adam",
    "solver.fit.steps=2",
    f"solver.end_time={STEPS / 10}",
    "output.checkpoint_every=2",
    "output.snapshot_times=[0.0, 0.3]",
]
TRAINED_HARD = [
    "particles.number=200",
    "solver.fit.steps=200",
    "solver.fit.learning_rate=0.02",
    "solver.fit.warm_start=false",
]


def resume(folder: Path) -> None:
    loop.resume(loop.read_case(folder), folder)


def small_case(*overrides: str):
    return load("gaussian-1d", [*SMALL, *overrides])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def series(folder: Path) -> list[dict]:
    """Each line as it was written, strictly JSON, without what the clock says."""
    lines = (folder / "series.jsonl").read_text().splitlines()
    for line in lines:
        json.loads(line, parse_constant=pytest.fail)
    return [{k: v for k, v in unseal(line).items() if k != "seconds"} for line in lines]


def write_series(folder: Path, records: list[dict]) -> None:
    text = "".join(seal(record) + "\n" for record in records)
    (folder / "series.jsonl").write_text(text, encoding="utf-8")


def arrays(path: Path) -> list[np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path) as file:
            return [file[name] for name in sorted(file.files)]
    with h5py.File(path) as file:
        return [file[name][...] for name in sorted(file)]


def assert_same_run(folder: Path, other: Path) -> None:
    """Bitwise, in the last state, the series and the snapshots."""
    assert series(folder) == series(other)
    assert names(folder / "snapshots") == names(other / "snapshots")
    last = f"checkpoints/step_{STEPS:06d}.npz"
    for name in [last, *(f"snapshots/{n}" for n in names(other / "snapshots"))]:
        for a, b in zip(arrays(folder / name), arrays(other / name), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
