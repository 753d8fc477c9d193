"""The run folder: what a run leaves on disk, and how it is read back.

Files are written to a temporary name, synced and renamed, so that a crash or a full disk leaves
the old one or none. HDF5 files are built in memory first: HDF5 ends the process on a full disk.
"""

import io
import json
import math
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np

from kjko.diagnostics import Bins, Record, References, histogram
from kjko.folder import read_series as read_series
from kjko.interfaces import Particles
from kjko.linear_theory import LinearWave, measured_wave
from kjko.solver import State

KEPT_CHECKPOINTS = 2
KEPT_PARTICLES = 100_000  # in a snapshot; its histograms are of all
PHASE_BINS = 128  # of x₁ and of v₁ in the histograms of phase space


class NoCheckpoint(Exception):
    """A run folder without a checkpoint that can be read."""


def write_atomically(path: Path, data: bytes) -> None:
    """All of the file or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


def write_hdf5(path: Path, arrays: dict[str, np.ndarray], **attributes: Any) -> None:
    """Arrays and attributes as an HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs.update(attributes)
        file.flush()
        buffer.write(file.id.get_file_image())
    write_atomically(path, buffer.getvalue())


def manifest(seed: int, precision: str) -> dict[str, Any]:
    """What it takes to say how a result came about."""
    packages = ("kinetic-jko", "jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "h5py")
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "device": jax.devices()[0].device_kind,
        "threads": len(affinity(0)),
        "precision": precision,
        "seed": seed,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of this file, "-dirty" if something has changed since; None if git has it not."""
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        for arguments in (["ls-files", "--error-unmatch", __file__], describe):
            git = subprocess.run(
                ["git", "-C", str(Path(__file__).parent), *arguments],
                capture_output=True,
                text=True,
                check=True,
            )
    except (OSError, subprocess.CalledProcessError):
        return None
    return git.stdout.strip()


def begin(folder: Path, case_toml: str, made_by: dict[str, Any], refs: References) -> None:
    """A new run folder: case, manifest and the stationary law's marginals."""
    write_atomically(folder / "case.toml", case_toml.encode())
    write_atomically(folder / "manifest.json", json.dumps(made_by, indent=2).encode())
    if refs.stationary is not None:
        write_hdf5(
            folder / "snapshots" / "stationary.h5",
            {"x": refs.stationary.nodes, "density": refs.stationary.marginals},
            log_normaliser=refs.stationary.log_normaliser,
        )
    write_atomically(folder / "series.jsonl", b"")


def write_wave(folder: Path, theory: LinearWave) -> None:
    """The wave of linear theory beside the one that the series shows, if it shows any."""
    measured = measured_wave(read_series(folder), theory)
    wave: dict[str, Any] = {"theory": theory._asdict()}
    if measured is not None:
        wave |= {"measured": measured[0]._asdict(), "window": measured[1]}
    write_atomically(folder / "wave.json", json.dumps(wave, indent=2).encode())


def append_record(folder: Path, record: Record) -> None:
    """One more line of the series, all of it or nothing; what is not finite is null in JSON."""
    bad = {k: None for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)}
    path = folder / "series.jsonl"
    size = path.stat().st_size
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record | bad) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint is never ahead of the series
    except OSError as error:
        os.truncate(path, size)
        error.filename = str(path)
        raise


def truncate_series(folder: Path, step: int) -> list[int]:
    """Forget the records after a step: they are about to be made again.

    Returns the steps until then that have no record.
    """
    kept = {r["step"]: json.dumps(r) for r in read_series(folder) if r["step"] <= step}
    lines = [kept[s] + "\n" for s in sorted(kept)]
    write_atomically(folder / "series.jsonl", "".join(lines).encode())
    return [s for s in range(step + 1) if s not in kept]


def write_snapshot(folder: Path, state: State, time: float, bins: Bins) -> None:
    """The particles (at most 100,000, the same at all times) and the histograms of all.

    They are taken evenly: the first ones of a lattice are the slowest.
    """
    particles: Particles = state.particles
    x, v = np.asarray(particles.x), np.asarray(particles.v)
    kept = np.linspace(0, len(x) - 1, min(len(x), KEPT_PARTICLES)).astype(int)
    x1_edges, v1_edges = bins.x_edges[0], bins.v_edges[0]  # the end bins reach to infinity
    x1, v1 = x[:, 0].clip(*x1_edges[[0, -1]]), v[:, 0].clip(*v1_edges[[0, -1]])
    plane, _, _ = np.histogram2d(x1, v1, bins=[x1_edges, v1_edges])
    arrays = {
        "x": x[kept],
        "v": v[kept],
        "log_f": np.asarray(particles.log_f)[kept],
        "histogram_x": np.asarray(histogram(particles.x, bins.x_edges)),
        "histogram_v": np.asarray(histogram(particles.v, bins.v_edges)),
        "edges_x": bins.x_edges,
        "edges_v": bins.v_edges,
        "histogram_x1_v1": plane / len(x),
    }
    step = int(state.step)
    write_hdf5(folder / "snapshots" / f"step_{step:06d}.h5", arrays, time=time, step=step)


def write_histogram(folder: Path, state: State, time: float, length: float | None) -> None:
    """Counts of (x₁, v₁), a frame of the animation; on [0, `length`) or the range of x₁."""
    x, v = (np.asarray(z[:, 0], dtype=float) for z in (state.particles.x, state.particles.v))
    view = [(0.0, length) if length else (x.min(), x.max()), (v.min(), v.max())]
    counts, x_edges, v_edges = np.histogram2d(x, v, bins=PHASE_BINS, range=view)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        counts=counts.astype(np.uint32),
        x_ends=x_edges[[0, -1]],
        v_ends=v_edges[[0, -1]],
        time=time,
        allow_pickle=False,
    )
    write_atomically(folder / "histograms" / f"step_{int(state.step):06d}.npz", buffer.getvalue())


def write_checkpoint(folder: Path, state: State) -> None:
    """The whole state; the newest two are kept."""
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    buffer = io.BytesIO()
    np.savez(buffer, *(np.asarray(leaf) for leaf in leaves), allow_pickle=False)
    path = folder / "checkpoints" / f"step_{int(state.step):06d}.npz"
    write_atomically(path, buffer.getvalue())
    newest_first = _checkpoints(folder)
    last = newest_first.index(path)  # later ones are damaged: the run was resumed from before them
    for old in newest_first[:last] + newest_first[last + KEPT_CHECKPOINTS :]:
        old.unlink()


def read_checkpoint(folder: Path, like: State) -> tuple[State, list[str]]:
    """The newest checkpoint that can be read, and the names of damaged newer ones.

    `like`: a state of the same run, for the structure. Raises NoCheckpoint if none can be read.
    """
    damaged = []
    for path in _checkpoints(folder):
        try:
            return _read_state(path, like), damaged
        except Exception:  # zipfile and numpy have no common error for a damaged file
            damaged.append(path.name)
    state_of_them = f"damaged: {', '.join(damaged)}" if damaged else "there is none"
    raise NoCheckpoint(
        f"{folder}: no checkpoint that can be read ({state_of_them}); start anew with"
        f" `kjko run {folder / 'case.toml'}`"
    )


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first; after step 999999 the names get longer."""
    paths = (folder / "checkpoints").glob("step_*.npz")
    return sorted(paths, key=lambda path: (len(path.name), path.name), reverse=True)


def _read_state(path: Path, like: State) -> State:
    """Raises an error of some kind if the file does not hold such a state, whole."""
    arrays, rest = eqx.partition(like, eqx.is_array)
    expected, structure = jax.tree.flatten(arrays)
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as zipped:
        leaves = [zipped[f"arr_{i}"] for i in range(len(zipped.files))]  # checksums are checked
    for leaf, known in zip(leaves, expected, strict=True):
        if leaf.shape != known.shape or leaf.dtype != known.dtype:
            raise ValueError(f"{path}: not a state of this run")
    return eqx.combine(jax.tree.unflatten(structure, map(jnp.asarray, leaves)), rest)
