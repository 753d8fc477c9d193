"""f in 1D1V by what its particles carry."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import LinearNDInterpolator

from kjko.run.reader import Arrays

CARRIED = 20_000  # particles whose log f is used


def carried(
    snapshot: Arrays,
    x: Float[np.ndarray, " n_x"],
    v: Float[np.ndarray, " n_v"],
    length: float | None = None,
) -> Float[np.ndarray, "n_x n_v"]:
    """f, of mass one, at the nodes of a grid, by linear interpolation of log f between 20,000
    particles at most; zero beyond them.

    `snapshot`: with `x`, `v` (n, 1) and `log_f` (n,). `length`: of the periodic box.

    Raises QhullError for particles on a line.
    """
    z = np.concatenate([snapshot["x"], snapshot["v"]], axis=1).astype(float)
    rows = np.random.default_rng(0).permutation(len(z))[:CARRIED]
    points, log_f = z[rows], snapshot["log_f"][rows].astype(float)
    if length is not None:
        points = np.concatenate([points + [turn * length, 0.0] for turn in (-1, 0, 1)])
        log_f = np.tile(log_f, 3)
    inside = LinearNDInterpolator(points, log_f, fill_value=-np.inf, rescale=True)
    return np.exp(inside(*np.meshgrid(x, v, indexing="ij")))
