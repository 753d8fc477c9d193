"""The exact law of a mixture of Gaussians in a quadratic well: each of them follows (33)."""

import math
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, ndtri, softmax

from kjko.core.low_discrepancy import sobol
from kjko.initial import GaussianMixture, GaussianPosition, Product
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.gaussian import ExactGaussian, exact_gaussian, log_normal

DRAWS = 2**15  # of each Gaussian, for an integral


class ExactMixture(KnownLaw):
    """Σ_k w_k f_k, the f_k exact Gaussians of mass one. `mass`: of the problem.

    The two integrals are means over points of the law itself, of low discrepancy, the same at all
    times; their error is some 1e-4.
    """

    def __init__(
        self, parts: list[ExactGaussian], weights: Float[np.ndarray, " k"], mass: float = 1.0
    ):
        self.parts: list[ExactGaussian] = parts
        self.weights: Float[np.ndarray, " k"] = weights
        self.mass: float = mass

    def kl(self, time: float) -> float:
        """The relative entropy to the stationary law at a time."""
        part, d = self.parts[0], len(self.parts[0].mean_stationary) // 2
        stationary = part.mean_stationary, part.covariance_stationary
        total = 0.0
        for weight, each in zip(self.weights, self.parts, strict=True):
            mean, covariance = each.at(time)
            z = mean + self._normal @ np.linalg.cholesky(covariance).T
            log_f = self.log_f(time, z[:, :d], z[:, d:])
            total += weight * np.mean(log_f - log_normal(z, *stationary))
        return float(total)

    def free_energy(self, time: float) -> float:
        """∫ (½|v|² + φ(x) + T₀ log f) f at a time."""
        part = self.parts[0]
        log_z = 0.5 * np.linalg.slogdet(2 * np.pi * part.covariance_stationary)[1]
        return part.temperature * self.mass * (self.kl(time) - log_z + math.log(self.mass))

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f at particles."""
        shares = softmax(self._log_parts(time, x, v), axis=0)
        scores = [part.score(time, x, v) for part in self.parts]
        return np.einsum("kn,kni->ni", shares, np.stack(scores))

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f at particles."""
        return np.asarray(logsumexp(self._log_parts(time, x, v), axis=0))

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        each = [part.distribution(time, coordinate, values) for part in self.parts]
        return np.einsum("k,kn->n", self.weights, np.stack(each))

    def _log_parts(self, time: float, x: Points, v: Points) -> Float[np.ndarray, "k n"]:
        log_f = np.stack([part.log_f(time, x, v) for part in self.parts])
        return log_f + np.log(self.weights)[:, None]

    @cached_property
    def _normal(self) -> Points:
        dimension = len(self.parts[0].mean_stationary)
        points = sobol(DRAWS, dimension, np.random.default_rng(0))
        return ndtri(np.clip(points, 2.0**-53, 1 - 2.0**-53))


def exact_mixture(problem: Problem) -> ExactMixture | None:
    """The exact law of a problem; None if its law is no mixture of Gaussians in (x, v), or the flow
    is not that of a quadratic well that confines, with a uniform magnetic field or without.
    """
    law = problem.law
    if isinstance(law, GaussianMixture):
        means, covariances, weights = law.means, law.covariances, law.weights
    elif isinstance(law, Product) and isinstance(law.position, GaussianPosition):
        if law.dimensions[0] != law.dimensions[1]:
            return None
        means, covariances, weights = _joint(law)
    else:
        return None
    means, covariances = np.asarray(means, dtype=float), np.asarray(covariances, dtype=float)
    both = zip(means, covariances, strict=True)
    parts = [exact_gaussian(problem, mean, covariance) for mean, covariance in both]
    if any(part is None for part in parts):
        return None
    known = [part._replace(mass=1.0) for part in parts if part is not None]
    return ExactMixture(known, np.asarray(weights, dtype=float), float(problem.mass))


def _joint(law: Product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The means, covariances and weights of a product in (x, v)."""
    position: GaussianPosition = law.position  # pyright: ignore[reportAssignmentType]
    in_x = np.asarray(position.mean, dtype=float), np.asarray(position.covariance, dtype=float)
    d = len(in_x[0])
    means = np.stack([np.concatenate([in_x[0], mean]) for mean in np.asarray(law.means)])
    covariances = np.zeros((len(means), d + law.means.shape[1], d + law.means.shape[1]))
    covariances[:, :d, :d], covariances[:, d:, d:] = in_x[1], np.asarray(law.covariances)
    return means, covariances, np.asarray(law.weights)
