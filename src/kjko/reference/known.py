"""The law that a run can be held to: in closed form, or from a grid."""

import contextlib
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from kjko.problem import Problem
from kjko.reference.closed_form import closed_form
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.grid import CELLS, GridSolution, grid_solution
from kjko.reference.grid_density import GridDensity
from kjko.reference.grid_splitting import Unresolved
from kjko.reference.rotated import rotated_law

REFINEMENTS = (CELLS, (768, 512), (1536, 1024))  # a law that reaches far needs more cells
GRID_STEP = 0.01  # at most
SAME_TIME = 1e-6


class GridLaw(KnownLaw):
    """A solution on a grid, for all that a particle method is held to. One dimension.

    The density is known at the times of the solution, the free energy and the relative entropy at
    each of its steps too. `mass` is that of the solution; the density and the relative entropy are
    given of mass one, as particles carry it.
    """

    def __init__(self, solution: GridSolution, mass: float = 1.0):
        self.solution = solution
        self._mass = mass
        self._densities = [solution.at(time) for time in solution.times.tolist()]

    def knows(self, time: float) -> bool:
        return bool(np.abs(self.solution.times - time).min() < SAME_TIME)

    def free_energy(self, time: float) -> float:
        return self._at(time, self.solution.history.free_energy)

    def kl(self, time: float) -> float:
        return self._at(time, self.solution.history.kl_stationary) / self._mass

    def field_energy(self, time: float) -> float:
        return self._at(time, 2 * self.solution.history.energy_field)

    def score(self, time: float, x: Points, v: Points) -> Points:
        return self._density(time).score(x, v)

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        return self._density(time).log_f(x, v) - math.log(self._mass)

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """By the trapezoidal rule between the nodes."""
        grid, density = self.solution.grid, self._density(time)
        if coordinate == 0:
            nodes, marginal = grid.x, density.marginal_x()
        else:
            nodes, marginal = grid.v, density.marginal_v()
        if coordinate == 0 and self.solution.periodic:
            nodes = np.append(nodes, nodes[0] + grid.length)
            marginal = np.append(marginal, marginal[0])
        steps = 0.5 * (marginal[1:] + marginal[:-1]) * np.diff(nodes)
        cumulative = np.concatenate([[0.0], np.cumsum(steps)])
        return np.interp(values, nodes, cumulative / cumulative[-1])

    def _at(self, time: float, values: np.ndarray) -> float:
        return float(np.interp(time, self.solution.history.time, values))

    def _density(self, time: float) -> GridDensity:
        return self._densities[int(np.argmin(np.abs(self.solution.times - time)))]


def known_law(problem: Problem, times: Sequence[float]) -> KnownLaw:
    """The exact law of a Gaussian or a mixture of them, or without collisions; that of one
    dimension, rotated; else, with one position and one velocity, the grid's at these times.

    Raises ValueError, with the reason, if there is none of them.
    """
    exact = closed_form(problem) or rotated_law(problem, times, known_law)
    if exact is not None:
        return exact
    asked = np.unique(np.round(times, 9)).tolist()
    *coarser, finest = REFINEMENTS
    for cells in coarser:
        with contextlib.suppress(Unresolved):
            solution = grid_solution(problem, asked, cells=cells, time_step=GRID_STEP)
            return GridLaw(solution, float(problem.mass))
    solution = grid_solution(problem, asked, cells=finest, time_step=GRID_STEP)
    return GridLaw(solution, float(problem.mass))
