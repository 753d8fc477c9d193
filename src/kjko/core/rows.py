"""Some of many rows."""

import numpy as np
from jaxtyping import Int


def spread_rows(n: int, number: int) -> Int[np.ndarray, " m"]:
    """At most `number` of n rows, always the same: one drawn from each of as many equal stretches.

    Not at equal distances: every second point of a Sobol sequence is on one side of a coordinate.
    """
    if number >= n:
        return np.arange(n)
    edges = np.linspace(0, n, number + 1).astype(int)
    return np.random.default_rng(0).integers(edges[:-1], edges[1:])
