"""Points that fill a cube evenly."""

import math

import numpy as np
from jaxtyping import Float


def sobol(number: int, dimension: int, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """The first `number` scrambled Sobol points in [0, 1)^d (Owen, J. Complexity 14, 1998)."""
    from scipy.stats import qmc  # a third of a second to import, and not always needed

    points = qmc.Sobol(dimension, rng=rng)
    return points.random_base2(math.ceil(math.log2(number)))[:number]
