"""Errors that any particle method can be held to, against a law that is known."""

import math
from typing import Protocol

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "n d"]
DIRECTIONS = 64  # of a sliced distance


class KnownLaw(Protocol):
    """f at some times: in closed form (`ExactMixture`) or from a grid (`GridLaw`)."""

    def knows(self, time: float) -> bool:
        """Whether all but the two integrals can be asked for at this time."""
        return True

    def free_energy(self, time: float) -> float:
        """∫ (½|v|² + φ(x) + T₀ log f) f, of the mass of the problem."""
        ...

    def kl(self, time: float) -> float:
        """The relative entropy to the stationary law, of laws of mass one."""
        ...

    def field_energy(self, time: float) -> float:
        """∫|E|² dx of the particles' own field; nan where the force is given."""
        return math.nan

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f at particles."""
        ...

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f at particles."""
        ...

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        ...


def score_error(
    law: KnownLaw,
    time: float,
    x: Points,
    v: Points,
    u: Points,
    rate: Float[np.ndarray, " n"] | float,
    velocity: Points | float,
    temperature: Float[np.ndarray, " n"] | float,
) -> float:
    """mean |u − u*|², u* = −ε (v − ū + T ∇ᵥ log f) of the law at the particles: (34).

    `rate` ε, `velocity` ū and `temperature` T of the bath there.
    """
    rate, temperature = (np.reshape(a, (-1, 1)) for a in (rate, temperature))
    exact = -rate * (v - velocity + temperature * law.score(time, x, v))
    return float(np.mean(np.sum((u - exact) ** 2, axis=1)))


def density_error(law: KnownLaw, time: float, x: Points, v: Points, log_f: np.ndarray) -> float:
    """Root mean square of log f of the particles minus that of the law."""
    return float(np.sqrt(np.mean((log_f - law.log_f(time, x, v)) ** 2)))


def marginal_error(law: KnownLaw, time: float, x: Points, v: Points) -> float:
    """Distance of the particles' marginals from the law's over that of n exact samples.

    The distance of a coordinate is Cramér's and von Mises', ω² = n ∫ (F_n − F)² dF, whose mean is
    1/6 for n independent samples of F, whatever F and n are. The result is the root of the mean of
    6 ω² over the coordinates of (x, v): 1 is as good as exact sampling, and a quiet start less.
    """
    z = np.sort(np.concatenate([x, v], axis=1), axis=0)
    n, dimension = z.shape
    middle = (2 * np.arange(1, n + 1) - 1) / (2 * n)
    at = np.stack([law.distribution(time, i, z[:, i]) for i in range(dimension)], axis=1)
    omega = 1 / (12 * n) + np.sum((middle[:, None] - at) ** 2, axis=0)
    return float(np.sqrt(6 * np.mean(omega)))


def sliced_wasserstein(a: Points, b: Points, seed: int = 0) -> float:
    """The sliced Wasserstein-2 distance of two samples of equal size.

    W₂² of the projections, sorted, averaged over 64 directions that are uniform on the sphere.
    """
    directions = np.random.default_rng(seed).normal(size=(a.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    sorted_a, sorted_b = np.sort(a @ directions, axis=0), np.sort(b @ directions, axis=0)
    return float(np.sqrt(np.mean((sorted_a - sorted_b) ** 2)))
