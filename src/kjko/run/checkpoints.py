"""Checkpoints: the whole state of a run, the newest two."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from kjko.core import State
from kjko.run.atomic import write_atomically
from kjko.run.damaged import Damaged
from kjko.run.npz import read_npz, to_npz
from kjko.simulation import number_of_steps

KEPT = 2
ABOUT, CHECKSUM = "about", "sha256"  # entries beside those of the state


class NoCheckpoint(Exception):
    """A run folder without a checkpoint that can be read."""


def write_checkpoint(folder: Path, state: State, case: dict[str, Any]) -> None:
    """The whole state, with the case that it is of; the newest two are kept."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(state, eqx.is_array))]
    arrays = {f"arr_{i}": leaf for i, leaf in enumerate(leaves)}
    arrays[ABOUT] = np.frombuffer(json.dumps({"case": case}).encode(), np.uint8)
    arrays[CHECKSUM] = _checksum(arrays.values())
    path = folder / "checkpoints" / f"step_{int(state.step):06d}.npz"
    write_atomically(path, to_npz(arrays))
    newest_first = _checkpoints(folder)
    last = newest_first.index(path)  # later ones are damaged: the run was resumed from before them
    for old in newest_first[:last] + newest_first[last + KEPT :]:
        old.unlink()


def read_checkpoint(folder: Path, like: State) -> tuple[State, list[str]]:
    """The newest checkpoint that can be read, and the names of damaged newer ones.

    `like`: a state of the same run, for the structure. Raises NoCheckpoint if none can be read.
    """
    damaged = []
    for path in _checkpoints(folder):
        try:
            return _state(path, like), damaged
        except Damaged:
            damaged.append(path.name)
    state_of_them = f"damaged: {', '.join(damaged)}" if damaged else "there is none"
    raise NoCheckpoint(
        f"{folder}: no checkpoint that can be read ({state_of_them}); start anew with"
        f" `kjko run {folder / 'case.toml'}`"
    )


def case_of_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The case that the newest checkpoint which can be read is of; None if there is none."""
    for path in _checkpoints(folder):
        with contextlib.suppress(Damaged):
            return _read(path)[1]
    return None


def damaged_checkpoints(folder: Path) -> list[Path]:
    """Those that cannot be read, newest first."""
    damaged = []
    for path in _checkpoints(folder):
        try:
            _read(path)
        except Damaged:
            damaged.append(path)
        except FileNotFoundError:  # the run goes on, and has written a newer one
            pass
    return damaged


def newest_step(folder: Path) -> int:
    """That of the newest checkpoint, by its name; 0 if there is none."""
    return max((int(path.stem.removeprefix("step_")) for path in _checkpoints(folder)), default=0)


def has_checkpoints(folder: Path) -> bool:
    """Whether there is any, readable or not."""
    return bool(_checkpoints(folder))


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first; after step 999999 the names get longer."""
    paths = (folder / "checkpoints").glob("step_*[0-9].npz")
    return sorted(paths, key=lambda path: (len(path.name), path.name), reverse=True)


def _checksum(arrays: Any) -> np.ndarray:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _read(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The arrays of a state and its case. Raises Damaged."""
    arrays = read_npz(path)
    known = arrays.pop(CHECKSUM, np.zeros(0))
    if not np.array_equal(known, _checksum(arrays.values())):
        raise Damaged(path, "its checksum is that of other content")
    case = json.loads(arrays.pop(ABOUT, np.zeros(0, np.uint8)).tobytes())["case"]
    return list(arrays.values()), case


def _state(path: Path, like: State) -> State:
    """Raises NoCheckpoint for one in another precision, Damaged if the file does not hold such a
    state, whole, of a step of its case.
    """
    leaves, case = _read(path)
    arrays, rest = eqx.partition(like, eqx.is_array)
    expected, structure = jax.tree.flatten(arrays)
    _check_leaves(path, leaves, expected)
    state = eqx.combine(jax.tree.unflatten(structure, map(jnp.asarray, leaves)), rest)
    known = (state.particles.x, state.particles.v, state.time_step)  # log f is not always carried
    if not all(np.all(np.isfinite(np.asarray(leaf))) for leaf in known):
        raise Damaged(path, "a number of it is not finite")
    solver = case["solver"]
    if not 0 <= int(state.step) <= number_of_steps(solver["end_time"], solver["time_step"]):
        raise Damaged(path, f"step {int(state.step)} is none of its case")
    return state


def _check_leaves(path: Path, leaves: Sequence[np.ndarray], expected: Sequence[jax.Array]) -> None:
    if len(leaves) != len(expected):
        raise Damaged(path, "not a state of this run")
    for leaf, known in zip(leaves, expected, strict=True):
        if leaf.shape != known.shape or leaf.dtype.kind != known.dtype.kind:
            raise Damaged(path, "not a state of this run")
        if leaf.dtype != known.dtype:
            wide = "True" if leaf.dtype == np.float64 else "False"
            raise NoCheckpoint(
                f"{path}: numbers of {leaf.dtype} where jax has {known.dtype}; set"
                f' jax.config.update("jax_enable_x64", {wide})'
            )
