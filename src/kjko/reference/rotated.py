"""The law in a double well that lies along any direction: of one dimension, times a Gaussian."""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space
from scipy.special import ndtr, ndtri

from kjko.flow import External
from kjko.flow.potentials import DoubleWell, Quadratic, RotatedWell
from kjko.initial import Gaussian, GaussianPosition, Product
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.gaussian import ExactGaussian, exact_gaussian

UNCOUPLED = 1e-5  # of the largest entry of a covariance, or of a unit vector
QUANTILES = 400  # of a normal law, for a mean over it


class RotatedLaw(KnownLaw):
    """f(x, v) = f₁(e·x, e·v) f₂(Px, Pv), P the projection across e.

    `along`: the law f₁ of one position and velocity, `across`: the Gaussian f₂ of the others, both
    of mass one. `frame`: e, and then unit vectors across it, one a row. `mass`: of the problem.
    """

    def __init__(
        self,
        along: KnownLaw,
        across: ExactGaussian,
        frame: Float[np.ndarray, "d d"],
        mass: float = 1.0,
    ):
        self.along: KnownLaw = along
        self.across: ExactGaussian = across
        self.frame: Float[np.ndarray, "d d"] = frame
        self.mass: float = mass

    def knows(self, time: float) -> bool:
        return self.along.knows(time)

    def free_energy(self, time: float) -> float:
        of_one = self.along.free_energy(time) + self.across.free_energy(time)
        return self.mass * (of_one + self.across.temperature * math.log(self.mass))

    def kl(self, time: float) -> float:
        return self.along.kl(time) + self.across.kl(time)

    def score(self, time: float, x: Points, v: Points) -> Points:
        along, across = self._split(x, v)
        parts = [self.along.score(time, *along), self.across.score(time, *across)]
        return np.concatenate(parts, axis=1) @ self.frame

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        along, across = self._split(x, v)
        return self.along.log_f(time, *along) + self.across.log_f(time, *across)

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """Of a coordinate of (x, v): the sum of a part along e and a normal one across it.

        The mean over the normal one's quantiles.
        """
        of_v, component = divmod(coordinate, len(self.frame))
        along, *across = self.frame[:, component]
        weights = np.zeros(2 * len(across))
        weights[of_v * len(across) : (of_v + 1) * len(across)] = across
        mean, covariance = self.across.at(time)
        mean, width = weights @ mean, np.sqrt(weights @ covariance @ weights)
        if abs(along) < UNCOUPLED:
            return ndtr((values - mean) / width)
        rest = mean + width * ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
        below = np.mean(
            [self.along.distribution(time, of_v, (values - part) / along) for part in rest], axis=0
        )
        return below if along > 0 else 1 - below

    def _split(self, x: Points, v: Points) -> tuple[tuple[Points, Points], tuple[Points, Points]]:
        y, w = x @ self.frame.T, v @ self.frame.T
        return (y[:, :1], w[:, :1]), (y[:, 1:], w[:, 1:])


def in_one_dimension(problem: Problem) -> tuple[Problem, Problem, np.ndarray] | None:
    """The problems along a `RotatedWell` and across it, and the frame; None if it is none, or its
    law is not a product of a law along it and a Gaussian across.
    """
    well, law = problem.flow.given_potential, problem.law
    if not isinstance(well, RotatedWell) or problem.box is not None or _turns(problem):
        return None
    if not isinstance(law, Product) or not isinstance(law.position, GaussianPosition):
        return None
    direction = np.asarray(well.direction, dtype=float)
    d = direction.size
    if law.dimensions != (d, d) or d == 1:
        return None
    frame = np.vstack([direction, null_space(direction[None]).T])
    mean, in_x = (np.asarray(a, dtype=float) for a in (law.position.mean, law.position.covariance))
    mean, in_x = frame @ mean, frame @ in_x @ frame.T
    means = np.asarray(law.means, dtype=float) @ frame.T
    in_v = frame @ np.asarray(law.covariances, dtype=float) @ frame.T
    every = np.concatenate([in_x[None], in_v])
    coupled = np.abs(every[:, 0, 1:]).max() > UNCOUPLED * np.abs(every).max()
    alike = np.ptp(means[:, 1:], axis=0).max() < UNCOUPLED
    alike &= np.ptp(in_v[:, 1:, 1:], axis=0).max() < UNCOUPLED * np.abs(in_v).max()
    if coupled or not alike:
        return None
    along = Product(  # pyright: ignore[reportCallIssue]  it takes properties for fields
        GaussianPosition(mean[:1], in_x[:1, :1]), means[:, :1], in_v[:, :1, :1], law.weights
    )
    zero = np.zeros((d - 1, d - 1))
    across = Gaussian(  # pyright: ignore[reportCallIssue]
        np.concatenate([mean[1:], means[0, 1:]]),
        np.block([[in_x[1:, 1:], zero], [zero, in_v[0, 1:, 1:]]]),
    )
    stiffness = float(well.stiffness) * np.eye(d - 1)
    flows = (
        External(DoubleWell(well.barrier, well.minimum)),
        External(Quadratic(stiffness, np.zeros(d - 1))),
    )
    one, other = (
        Problem(flow, problem.collisions, part)
        for flow, part in zip(flows, (along, across), strict=True)
    )
    return one, other, frame


def rotated_law(
    problem: Problem, times: Sequence[float], known_law: Callable[..., KnownLaw]
) -> RotatedLaw | None:
    """The law at these times; None if the problem is not one of one dimension, rotated.

    `known_law`: finds that of the problem along the well.
    """
    parts = in_one_dimension(problem)
    if parts is None:
        return None
    one, other, frame = parts
    across = exact_gaussian(other)
    if across is None:
        return None
    return RotatedLaw(known_law(one, times), across, frame, float(problem.mass))


def _turns(problem: Problem) -> bool:
    d = problem.law.dimensions[0] if problem.law is not None else 1
    return problem.flow.gyrofrequency(jnp.zeros(()), jnp.zeros(d)) is not None
