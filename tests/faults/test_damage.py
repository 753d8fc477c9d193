"""Bits that flip and files that are cut, all over a run folder."""

import resource
import shutil
from collections import Counter
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from campaign import SETTINGS, STEPS, many

import kjko
from kjko.case import BadInput, load
from kjko.run import loop
from kjko.run.checkpoints import NoCheckpoint, read_checkpoint
from kjko.run.formats import HDF5
from kjko.run.passages import read_passages
from kjko.simulation import take_step

MEGABYTE = 2**20
KINDS = {"hdf5": [], "npz": ["output.format='npz'"]}


class Folder:
    """A run, and all that can be read of it, file by file."""

    def __init__(self, path: Path, *overrides: str):
        self.path = path
        case = load("landau-1d-collisional", [*SETTINGS[:1], *SETTINGS[3:], *overrides])
        loop.start(case, path)
        kjko.open_run(path)
        experiment = case.build()
        self.like = experiment.init()
        _, info = eqx.filter_eval_shape(take_step, *experiment[:2], self.like)
        self.passage = info.passage
        self.files = [f for f in sorted(path.rglob("*")) if f.is_file() and f.name != "run.lock"]

    def read(self, file: Path):
        """What comes of a file, as arrays and text; raises what its readers raise."""
        run = kjko.open_run(self.path)
        if file.parent.name == "checkpoints":
            only = self.path / "only" / "checkpoints"
            only.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, only / file.name)
            try:
                return jax.tree.leaves(read_checkpoint(only.parent, self.like))
            finally:
                shutil.rmtree(only.parent)
        if file.parent.name == "histograms":
            return run.frames
        if file.name == "stationary.h5":
            return HDF5().read(file)
        if file.parent.name == "snapshots":
            return run.snapshot(file)
        if file.name == "passages.bin":
            return jax.tree.leaves(read_passages(file, self.passage, STEPS))
        if file.name == "wave.json":
            return run.wave
        if file.name == "manifest.json":
            return run.manifest
        if file.name == "series.jsonl":
            return run.records
        case = {k: v for k, v in run.case.items() if k not in ("title", "output")}  # may be changed
        case["solver"] = {k: v for k, v in case["solver"].items() if k != "end_time"}
        return str(case)


def same(a, b) -> bool:
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(a) == len(b) and all(map(np.array_equal, a, b))


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def folder(request, tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("damage") / "run", *request.param)


def flipped(data: bytes, draw) -> bytes:
    bit = int(draw.integers(8 * len(data)))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def cut(data: bytes, draw) -> bytes:
    return data[: int(draw.integers(len(data)))]


@pytest.mark.parametrize(("damage", "number"), [(flipped, 10_000), (cut, 500)])
def test_damage_is_noticed(damage, number, folder, report, caplog):
    draw, outcomes = np.random.default_rng(17), Counter()
    good = {file: folder.read(file) for file in folder.files}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(many(number)):
        file = folder.files[int(draw.integers(len(folder.files)))]
        data = file.read_bytes()
        file.write_bytes(damage(data, draw))
        caplog.clear()
        try:
            outcome = "no effect" if same(folder.read(file), good[file]) else "silent"
        except (OSError, NoCheckpoint, BadInput) as error:
            assert file.name in str(error)
            outcome = "refused"
        except ValueError as error:
            assert "case.toml" in str(error)
            outcome = "refused"
        at_a_line = damage is cut and file.name == "series.jsonl"  # as if the run had got so far
        if outcome == "silent" and caplog.messages:
            outcome = "warned of"
        elif outcome == "silent" and at_a_line:
            outcome = "a shorter series"
        assert outcome != "silent", file
        outcomes[outcome] += 1
        file.write_bytes(data)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200
    report(f"{many(number)} {damage.__name__}: {dict(outcomes)}; {grown:.0f} MB more at most")
