"""Several processes, on one host or on many, each with as many of the devices.

All run the same program, and draw and decide the same. The first one writes.
"""

import hashlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

LOST = 20  # seconds without a sign of life


def join(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Be one of the processes of a run, before jax is first used: process `index` of a `number`,
    the first of which listens at `coordinator`, HOST:PORT. Waits for the others. With None for all
    three: what SLURM says.

    Raises ConnectionError if they do not come together within five minutes.
    """
    try:
        jax.distributed.initialize(coordinator, number, index, heartbeat_timeout_seconds=LOST)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"the processes of the run did not come together: {reason}") from None


def is_writer() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def in_any(flag: bool) -> bool:
    """Whether it is so in any of the processes."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def check_alike(text: str) -> None:
    """Raise ConnectionError in all processes if they do not all have the same text."""
    if jax.process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if len(np.unique(multihost_utils.process_allgather(digest), axis=0)) > 1:
        raise ConnectionError(
            "the processes of the run do not have the same case and step; give all of them the"
            " same words, and a folder that all of them see"
        )


def at_hand(tree: Any) -> Any:
    """The same with all of each array in this process."""
    if jax.process_count() == 1:
        return tree

    def whole(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        if leaf.is_fully_replicated:
            return np.asarray(leaf)
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(whole, tree)
