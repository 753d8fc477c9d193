"""Checkpoints: the whole state of a run, the newest two."""

import io
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from kjko.core import State
from kjko.run.atomic import write_atomically

KEPT = 2


class NoCheckpoint(Exception):
    """A run folder without a checkpoint that can be read."""


def write_checkpoint(folder: Path, state: State) -> None:
    """The whole state; the newest two are kept."""
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    buffer = io.BytesIO()
    np.savez(buffer, *(np.asarray(leaf) for leaf in leaves), allow_pickle=False)
    path = folder / "checkpoints" / f"step_{int(state.step):06d}.npz"
    write_atomically(path, buffer.getvalue())
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
            return _read_state(path, like), damaged
        except NoCheckpoint:
            raise
        except Exception:  # zipfile and numpy have no common error for a damaged file
            damaged.append(path.name)
    state_of_them = f"damaged: {', '.join(damaged)}" if damaged else "there is none"
    raise NoCheckpoint(
        f"{folder}: no checkpoint that can be read ({state_of_them}); start anew with"
        f" `kjko run {folder / 'case.toml'}`"
    )


def has_checkpoints(folder: Path) -> bool:
    """Whether there is any, readable or not."""
    return bool(_checkpoints(folder))


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first; after step 999999 the names get longer."""
    paths = (folder / "checkpoints").glob("step_*.npz")
    return sorted(paths, key=lambda path: (len(path.name), path.name), reverse=True)


def _read_state(path: Path, like: State) -> State:
    """Raises NoCheckpoint for one in another precision, an error of some kind if the file does not
    hold such a state, whole.
    """
    arrays, rest = eqx.partition(like, eqx.is_array)
    expected, structure = jax.tree.flatten(arrays)
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as zipped:
        leaves = [zipped[f"arr_{i}"] for i in range(len(zipped.files))]  # checksums are checked
    for leaf, known in zip(leaves, expected, strict=True):
        if leaf.shape != known.shape or leaf.dtype.kind != known.dtype.kind:
            raise ValueError(f"{path}: not a state of this run")
        if leaf.dtype != known.dtype:
            wide = "True" if leaf.dtype == np.float64 else "False"
            raise NoCheckpoint(
                f"{path}: numbers of {leaf.dtype} where jax has {known.dtype}; set"
                f' jax.config.update("jax_enable_x64", {wide})'
            )
    return eqx.combine(jax.tree.unflatten(structure, map(jnp.asarray, leaves)), rest)
