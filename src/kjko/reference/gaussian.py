"""The exact Gaussian law, equation (33)."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import expm
from scipy.special import ndtr

from kjko.collisions import FokkerPlanck, NoCollisions
from kjko.flow.potentials import Quadratic
from kjko.initial import Gaussian
from kjko.problem import Problem
from kjko.reference.errors import Points

Vector = Float[np.ndarray, " two_d"]
Matrix = Float[np.ndarray, "two_d two_d"]


class ExactGaussian(NamedTuple):
    """The law of z = (x, v) for φ(x) = ½ (x − c)ᵀ K (x − c) and a Gaussian initial law.

    With A = [[0, −I], [K, εI − W]], Wv = v × Ω of a magnetic field, equation (33) reads
    μ̇ = −A (μ − μ∞) and Ċ = 2 diag(0, εT₀I) − A C − C Aᵀ. It is solved by the matrix exponential:

        μ(t) = μ∞ + e^{−At} (μ₀ − μ∞),    C(t) = C∞ + e^{−At} (C₀ − C∞) e^{−Aᵀt},

    with μ∞ = (c, 0) and C∞ = T₀ diag(K⁻¹, I). float64. `mass`: of the problem, which entropy and
    free energy are of; the rest is of a law of mass one.
    """

    mean_initial: Vector
    covariance_initial: Matrix
    mean_stationary: Vector
    covariance_stationary: Matrix
    rate: Matrix  # A
    mass: float = 1.0

    def at(self, time: float) -> tuple[Vector, Matrix]:
        """Mean and covariance at a time."""
        flow = expm(-self.rate * time)
        mean = self.mean_stationary + flow @ (self.mean_initial - self.mean_stationary)
        deviation = flow @ (self.covariance_initial - self.covariance_stationary) @ flow.T
        return mean, self.covariance_stationary + deviation

    def entropy(self, time: float) -> float:
        """∫ f log f at a time."""
        _, covariance = self.at(time)
        log_det = np.linalg.slogdet(covariance)[1]
        of_one = -0.5 * (log_det + len(covariance) * (1 + np.log(2 * np.pi)))
        return float(self.mass * (of_one + np.log(self.mass)))

    @property
    def temperature(self) -> float:
        """T₀."""
        return float(self.covariance_stationary[-1, -1])

    def free_energy(self, time: float) -> float:
        """∫ (½|v|² + φ(x) + T₀ log f) f at a time."""
        mean, covariance = self.at(time)
        offset = mean - self.mean_stationary
        second = covariance + np.outer(offset, offset)
        energy = 0.5 * self.mass * np.trace(np.linalg.solve(self.covariance_stationary, second))
        return float(self.temperature * (energy + self.entropy(time)))

    def kl(self, time: float) -> float:
        """The relative entropy to the stationary law at a time."""
        log_det = np.linalg.slogdet(2 * np.pi * self.covariance_stationary)[1]
        free_energy = self.free_energy(time) / (self.temperature * self.mass)
        return float(free_energy - np.log(self.mass) + 0.5 * log_det)

    def knows(self, time: float) -> bool:
        """Every time is known."""
        return True

    def field_energy(self, time: float) -> float:
        """nan: the force is given."""
        return math.nan

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f at particles."""
        mean, covariance = self.at(time)
        z = np.concatenate([x, v], axis=1) - mean
        return -z @ np.linalg.inv(covariance)[:, x.shape[1] :]

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f at particles."""
        return log_normal(np.concatenate([x, v], axis=1), *self.at(time))

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        mean, covariance = self.at(time)
        scale = np.sqrt(covariance[coordinate, coordinate])
        return ndtr((values - mean[coordinate]) / scale)

    def sample(self, time: float, number: int, seed: int) -> Points:
        """Independent points (x, v)."""
        return np.random.default_rng(seed).multivariate_normal(*self.at(time), size=number)


def exact_gaussian(
    problem: Problem, mean: Vector | None = None, covariance: Matrix | None = None
) -> ExactGaussian | None:
    """The exact law of a problem; None if it has no Gaussian one with a stationary law.

    `mean`, `covariance`: start from these instead of the initial law's (a sample's own, say).
    """
    potential, law = problem.flow.given_potential, problem.law
    if mean is None and isinstance(law, Gaussian):
        mean, covariance = np.asarray(law.mean), np.asarray(law.covariance)
    if mean is None or covariance is None or not isinstance(potential, Quadratic):
        return None
    if isinstance(problem.collisions, FokkerPlanck):
        collision_rate = float(problem.collisions.rate)
    elif isinstance(problem.collisions, NoCollisions):
        collision_rate = 0.0
    else:
        return None
    if problem.box is not None:
        return None
    temperature = float(problem.collisions.temperature)
    stiffness = np.asarray(potential.stiffness, dtype=float)
    if not np.all(np.linalg.eigvalsh(stiffness) > 0):
        return None
    d = len(stiffness)
    identity, zero = np.eye(d), np.zeros_like(stiffness)
    turning = _turning(problem, d)
    inverse = np.linalg.inv(stiffness)
    return ExactGaussian(
        mean_initial=np.asarray(mean, dtype=float),
        covariance_initial=np.asarray(covariance, dtype=float),
        mean_stationary=np.concatenate(
            [np.asarray(potential.center, dtype=float), np.zeros(len(stiffness))]
        ),
        covariance_stationary=temperature * np.block([[inverse, zero], [zero, identity]]),
        rate=np.block([[zero, -identity], [stiffness, collision_rate * identity - turning]]),
        mass=float(problem.mass),
    )


def log_normal(z: Points, mean: Vector, covariance: Matrix) -> Float[np.ndarray, " n"]:
    """log of the normal density."""
    y = z - mean
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * np.sum(y * np.linalg.solve(covariance, y.T).T, axis=1) - 0.5 * log_det


def _turning(problem: Problem, d: int) -> Matrix:
    """W with Wv = v × Ω, in the first d components."""
    frequency = problem.flow.gyrofrequency(jnp.zeros(()), jnp.zeros(d))
    if frequency is None:
        return np.zeros((d, d))
    return np.cross(np.eye(3)[:d], np.asarray(frequency, dtype=float)).T[:d]
