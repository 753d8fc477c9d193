"""The stationary law as one to hold the end of a run to, where it is not known before."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from kjko.collisions import NoCollisions
from kjko.core.precision import in_double
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.stationary import POINTS, Stationary, stationary


class GibbsLaw(KnownLaw):
    """f∞ = exp(−(½|v|² + φ(x))/T₀)/Z, which f tends to, in place of f at every time.

    A run's errors against it are then how far f is from rest, and those of the run when f has come
    to rest. Its relative entropy is zero and its free energy M T₀ (log M − log Z), the least there
    is. `mass`: M of the problem; the rest is of a law of mass one.
    """

    def __init__(
        self, at_rest: Stationary, potential: Callable, temperature: float, mass: float = 1.0
    ):
        self.at_rest: Stationary = at_rest
        self.temperature: float = temperature
        self.mass: float = mass
        self._potential = potential
        pairs = zip(at_rest.nodes, at_rest.marginals, strict=True)
        self._below = [CubicSpline(x, p).antiderivative() for x, p in pairs]

    def free_energy(self, time: float) -> float:
        """∫ (½|v|² + φ(x) + T₀ log f∞) f∞."""
        log_mass = math.log(self.mass)
        return self.mass * self.temperature * (log_mass - self.at_rest.log_normaliser)

    def kl(self, time: float) -> float:
        """Zero: f∞ is what the relative entropy is taken to."""
        return 0.0

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f∞ = −v/T₀."""
        return -np.asarray(v, dtype=float) / self.temperature

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f∞ at particles."""
        with jax.enable_x64(True):
            potential = jax.vmap(in_double(self._potential))
            energy = np.asarray(potential(jnp.asarray(x, dtype=jnp.float64)))
        energy = energy + 0.5 * np.sum(np.square(v, dtype=float), axis=1)
        return -energy / self.temperature - self.at_rest.log_normaliser

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        if coordinate >= len(self._below):
            return ndtr(values / math.sqrt(self.temperature))
        below, nodes = self._below[coordinate], self.at_rest.nodes[coordinate]
        return below(np.clip(values, nodes[0], nodes[-1])) / below(nodes[-1])


def gibbs_law(problem: Problem) -> GibbsLaw:
    """The stationary law that f tends to.

    Raises ValueError, with the reason, without collisions with a bath or a law to start from, if
    the force is not that of a given potential, or if the law cannot be normalised: φ does not
    confine, or is too sharp for the tensor grid, or couples more than three coordinates.
    """
    potential, temperature = problem.flow.given_potential, problem.temperature
    if isinstance(problem.collisions, NoCollisions) or temperature is None:
        raise ValueError("collisions: f tends to a known law only by those with a bath")
    if potential is None:
        raise ValueError("flow: f tends to a known law only in a given potential")
    if problem.law is None:
        raise ValueError("law: expected that at t = 0, which tells the dimensions")
    at_rest = stationary(problem, *problem.law.dimensions)
    if at_rest is None:
        side = POINTS.get(problem.law.dimensions[0])
        room = f"{side} points a side" if side else f"at most {max(POINTS)} coupled coordinates"
        raise ValueError(
            "potential: its stationary law is not known; expected one that confines, or a box, and"
            f" is resolved by a tensor grid with {room}"
        )
    return GibbsLaw(at_rest, potential, float(temperature), float(problem.mass))
