"""Counts of particles in the cells of a plane, made smooth."""

import numpy as np
from jaxtyping import Float


def smooth(counts: Float[np.ndarray, "n_x n_v"], periodic: bool) -> Float[np.ndarray, "n_x n_v"]:
    """The mean over neighbours with the weights ¼, ½, ¼ in each direction."""
    for axis in (0, 1):
        pad = [(1, 1) if i == axis else (0, 0) for i in (0, 1)]
        wide = np.pad(counts, pad, mode="wrap" if periodic and axis == 0 else "edge")
        left, right = (np.take(wide, range(s, s + counts.shape[axis]), axis) for s in (0, 2))
        counts = 0.5 * counts + 0.25 * (left + right)
    return counts
