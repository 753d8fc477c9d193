"""The exact Gaussian law, equation (33)."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm
from scipy.stats import norm

from kjko.forces import External
from kjko.laws import Gaussian
from kjko.potentials import Quadratic
from kjko.problem import Problem

Vector = Float[np.ndarray, " two_d"]
Matrix = Float[np.ndarray, "two_d two_d"]
Points = Float[np.ndarray, "n d"]


class ExactGaussian(NamedTuple):
    """The law of z = (x, v) for φ(x) = ½ (x − c)ᵀ K (x − c) and a Gaussian initial law.

    With A = [[0, −I], [K, εI]] equation (33) reads μ̇ = −A (μ − μ∞) and
    Ċ = 2 diag(0, εT₀I) − A C − C Aᵀ. It is solved by the matrix exponential:

        μ(t) = μ∞ + e^{−At} (μ₀ − μ∞),    C(t) = C∞ + e^{−At} (C₀ − C∞) e^{−Aᵀt},

    with μ∞ = (c, 0) and C∞ = T₀ diag(K⁻¹, I). float64.
    """

    mean_initial: Vector
    covariance_initial: Matrix
    mean_stationary: Vector
    covariance_stationary: Matrix
    rate: Matrix  # A

    def at(self, time: float) -> tuple[Vector, Matrix]:
        """Mean and covariance at a time."""
        flow = expm(-self.rate * time)
        mean = self.mean_stationary + flow @ (self.mean_initial - self.mean_stationary)
        deviation = flow @ (self.covariance_initial - self.covariance_stationary) @ flow.T
        return mean, self.covariance_stationary + deviation

    def entropy(self, time: float) -> float:
        """E[log f] at a time."""
        _, covariance = self.at(time)
        log_det = np.linalg.slogdet(covariance)[1]
        return float(-0.5 * (log_det + len(covariance) * (1 + np.log(2 * np.pi))))

    @property
    def temperature(self) -> float:
        """T₀."""
        return float(self.covariance_stationary[-1, -1])

    def free_energy(self, time: float) -> float:
        """E[½|v|² + φ(x) + T₀ log f] at a time."""
        mean, covariance = self.at(time)
        offset = mean - self.mean_stationary
        second = covariance + np.outer(offset, offset)
        energy = 0.5 * np.trace(np.linalg.solve(self.covariance_stationary, second))
        return float(self.temperature * (energy + self.entropy(time)))

    def kl(self, time: float) -> float:
        """The relative entropy to the stationary law at a time."""
        log_det = np.linalg.slogdet(2 * np.pi * self.covariance_stationary)[1]
        return float(self.free_energy(time) / self.temperature + 0.5 * log_det)

    def field_energy(self, time: float) -> float:
        """nan: the force is external."""
        return math.nan

    def knows(self, time: float) -> bool:
        """Every time is known."""
        return True

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f at particles."""
        mean, covariance = self.at(time)
        z = np.concatenate([x, v], axis=1) - mean
        return -np.linalg.solve(covariance, z.T).T[:, x.shape[1] :]

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f at particles."""
        mean, covariance = self.at(time)
        z = np.concatenate([x, v], axis=1) - mean
        log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
        return -0.5 * np.sum(z * np.linalg.solve(covariance, z.T).T, axis=1) - 0.5 * log_det

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        mean, covariance = self.at(time)
        scale = np.sqrt(covariance[coordinate, coordinate])
        return norm.cdf(values, mean[coordinate], scale)

    def sample(self, time: float, number: int, seed: int) -> Points:
        """Independent points (x, v)."""
        return np.random.default_rng(seed).multivariate_normal(*self.at(time), size=number)


def exact_gaussian(
    problem: Problem, mean: Vector | None = None, covariance: Matrix | None = None
) -> ExactGaussian | None:
    """The exact law of a problem; None if it has no Gaussian one with a stationary law.

    `mean`, `covariance`: start from these instead of the initial law's (a sample's own, say).
    """
    force, law = problem.force, problem.law
    if not (isinstance(force, External) and isinstance(law, Gaussian)) or problem.box is not None:
        return None
    potential = force.potential
    if not isinstance(potential, Quadratic):
        return None
    stiffness = np.asarray(potential.stiffness, dtype=float)
    if not np.all(np.linalg.eigvalsh(stiffness) > 0):
        return None
    identity, zero = np.eye(len(stiffness)), np.zeros_like(stiffness)
    inverse = np.linalg.inv(stiffness)
    return ExactGaussian(
        mean_initial=np.asarray(law.mean if mean is None else mean, dtype=float),
        covariance_initial=np.asarray(
            law.covariance if covariance is None else covariance, dtype=float
        ),
        mean_stationary=np.concatenate(
            [np.asarray(potential.center, dtype=float), np.zeros(len(stiffness))]
        ),
        covariance_stationary=problem.temperature * np.block([[inverse, zero], [zero, identity]]),
        rate=np.block([[zero, -identity], [stiffness, problem.collision_rate * identity]]),
    )
