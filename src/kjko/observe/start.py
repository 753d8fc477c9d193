"""The start of a run, and what is found out about it once."""

from functools import cached_property

import numpy as np

from kjko.core import Particles, State
from kjko.interfaces import AbstractMethod
from kjko.observe.bins import Bins, bins_of
from kjko.problem import Problem
from kjko.reference.closed_form import closed_form
from kjko.reference.errors import KnownLaw
from kjko.reference.stationary import Stationary, stationary


class Start:
    """A problem, the method that solves it and its first particles."""

    def __init__(self, problem: Problem, method: AbstractMethod, particles: Particles):
        self.problem: Problem = problem
        self.method: AbstractMethod = method
        self.particles: Particles = particles

    @cached_property
    def stationary(self) -> Stationary | None:
        """The stationary law, where there is one that is known."""
        d_x, d = self.particles.x.shape[1], self.particles.v.shape[1]
        return stationary(self.problem, d_x, d)

    @cached_property
    def exact(self) -> KnownLaw | None:
        """The exact law at all times, where it is known in closed form."""
        return closed_form(self.problem)

    @cached_property
    def bins(self) -> Bins:
        """Bins of every coordinate, for histograms that can be compared over a run."""
        return bins_of(self.problem, self.particles, self.stationary)


def step_length(state: State) -> float:
    """Δt on the host, as the shortest decimal that it is: 0.1, not what 0.1 is in float32."""
    return float(str(np.asarray(state.time_step)))


def time_of(state: State) -> float:
    """t = step · Δt on the host."""
    return int(state.step) * step_length(state)
