"""Whether a problem mixes the pairs (x_k, v_k), by its tables as they are written."""

from typing import Any

import numpy as np

SEPARABLE = ("multiwell", "double-well", "sine", "cosine")


def couples(problem: Any) -> bool:
    """Whether f is no product over the pairs (x_k, v_k), now or later, as far as the tables tell.

    Particles with a field of their own are left out: the field is a function of all positions, but
    weak where f is not a product.
    """
    if not isinstance(problem, dict) or problem.get("dimension", 1) == 1:
        return False
    try:
        return _potential_couples(problem.get("potential")) or _law_couples(problem.get("law"))
    except (TypeError, ValueError):  # what is wrong with a table is told where it is read
        return False


def _potential_couples(potential: Any) -> bool:
    if not isinstance(potential, dict) or potential.get("kind") in SEPARABLE:
        return False
    if potential.get("kind") != "quadratic":
        return True
    return _has_off_diagonal(potential.get("stiffness", 1.0))


def _law_couples(law: Any) -> bool:
    if not isinstance(law, dict):
        return False
    if law.get("kind") == "gaussian":
        covariance = np.asarray(law.get("covariance", [[1.0]]), dtype=float)
        d = len(covariance) // 2
        blocks = (covariance[i : i + d, j : j + d] for i in (0, d) for j in (0, d))
        return any(_has_off_diagonal(block) for block in blocks)
    if law.get("kind") == "gaussian-mixture":
        return True
    velocity = law.get("velocity")
    if not isinstance(velocity, dict):
        return False
    means = np.asarray(velocity.get("means", [[0.0]]), dtype=float)
    differ = int(np.sum(np.ptp(means, axis=0) > 0))
    return differ > 1 or any(map(_has_off_diagonal, velocity.get("covariances", [])))


def _has_off_diagonal(matrix: Any) -> bool:
    entries = np.asarray(matrix, dtype=float)
    return entries.ndim == 2 and bool(np.any(entries != np.diag(np.diag(entries))))
