"""The exact Gaussian law, equation (33)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from kjko.forces import External
from kjko.laws import Gaussian
from kjko.potentials import Quadratic
from kjko.problem import Problem

Vector = Float[np.ndarray, " two_d"]
Matrix = Float[np.ndarray, "two_d two_d"]


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


def exact_gaussian(
    problem: Problem, mean: Vector | None = None, covariance: Matrix | None = None
) -> ExactGaussian | None:
    """The exact law of a problem; None if it has no Gaussian one.

    `mean`, `covariance`: start from these instead of the initial law's (a sample's own, say).
    """
    force, law = problem.force, problem.law
    if not (isinstance(force, External) and isinstance(law, Gaussian)) or problem.box is not None:
        return None
    potential = force.potential
    if not isinstance(potential, Quadratic):
        return None
    stiffness = np.asarray(potential.stiffness, dtype=float)
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
