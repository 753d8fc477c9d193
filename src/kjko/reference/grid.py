"""Kinetic Fokker-Planck equations solved on a grid in phase space: one x and one v, float64."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kjko.forces import External, Poisson
from kjko.laws import AbstractLaw
from kjko.problem import Box, Problem
from kjko.reference import grid_ends
from kjko.reference.grid_density import GridDensity, grid_density
from kjko.reference.splitting import (
    Density,
    Equation,
    ExternalField,
    History,
    PhaseGrid,
    PoissonField,
    evolve,
    phase_grid,
)

CELLS = (768, 256)
FIELD_MARGIN = 1.2  # of the velocities, for what a self-consistent field accelerates
AT_THE_EDGE = 1e-5  # of the largest f: more of it there is leaving the grid
MASS_ERROR = 1e-6  # of the law on the grid, relative


class GridSolution(NamedTuple):
    """f (m × n_x × n_v) on the nodes of `grid` at the asked `times` (m), and its history.

    `log_stationary`: log f∞ at the nodes.
    """

    grid: PhaseGrid
    times: Float[np.ndarray, " m"]
    f: Float[np.ndarray, "m n_x n_v"]
    history: History
    log_stationary: Density
    periodic: bool

    def at(self, time: float) -> GridDensity:
        """The density at one of the asked times. Raises ValueError for any other time."""
        nearest = int(np.argmin(np.abs(self.times - time)))
        if abs(self.times[nearest] - time) > 1e-9 * (1 + abs(time)):
            raise ValueError(f"time: {time} is not one of the asked times {self.times.tolist()}")
        return grid_density(self.f[nearest], self.grid, -self.log_stationary, self.periodic)


def grid_solution(
    problem: Problem,
    times: Sequence[float],
    *,
    cells: tuple[int, int] = CELLS,
    time_step: float = 0.01,
    velocity_end: float | None = None,
) -> GridSolution:
    """The solution of a problem with an external potential, in a periodic box or confined, or with
    the Poisson field.

    `cells`: (n_x, n_v). x is cut where no energy of the law, nor of f∞, reaches; v at ±
    `velocity_end`, by default in the same way. Errors are of second order in `time_step` and in
    an eighth of the cells' width in v (collisions), and else spectrally small in the cells.

    Raises ValueError for more than one position or velocity coordinate, for another force, for a
    potential that does not confine, and for a grid that does not resolve the law or f∞ in v, or
    does not hold the density at the asked times.
    """
    if isinstance(problem.force, Poisson) and problem.box is not None:
        return poisson_grid_solution(
            problem.law,
            problem.box,
            times,
            collision_rate=problem.collision_rate,
            temperature=problem.temperature,
            mass=problem.mass,
            cells=cells,
            time_step=time_step,
            velocity_end=velocity_end,
        )
    if not isinstance(problem.force, External):
        raise ValueError("force: must be External or Poisson")
    law, potential, temperature = problem.law, problem.force.potential, problem.temperature
    grid_ends.check_dimension(law)
    thermal = grid_ends.FAR * temperature if problem.collision_rate > 0 else 0.0
    low, high, fastest = grid_ends.reach(potential, law, thermal, problem.box)
    end = fastest if velocity_end is None else velocity_end
    grid = phase_grid(low, high - low, end, cells)
    phi, slope = grid_ends.potential_at(potential, grid.x)
    field = ExternalField(grid, phi, -slope)
    energy = (phi[:, None] + 0.5 * grid.v**2) / temperature
    log_stationary = -energy - np.logaddexp.reduce(-energy, axis=None) - math.log(grid.cell)
    equation = Equation(grid, field, problem.collision_rate, temperature, log_stationary)
    return _solve(_on_grid(law, grid), times, equation, time_step, problem.box is not None)


def poisson_grid_solution(
    law: AbstractLaw,
    box: Box,
    times: Sequence[float],
    *,
    collision_rate: float,
    temperature: float = 1.0,
    mass: float = 1.0,
    cells: tuple[int, int] = CELLS,
    time_step: float = 0.01,
    velocity_end: float | None = None,
) -> GridSolution:
    """The solution of the Vlasov-Poisson-Fokker-Planck equation (11) on a periodic box.

    −φ'' = ρ − mean(ρ), f = `mass` times the law at t = 0. `cells`, `time_step`, `velocity_end` and
    the errors are as in `grid_solution`; the default velocity_end has a margin of a fifth for what
    the field accelerates.

    Raises ValueError as `grid_solution`, and for an argument out of range.
    """
    grid_ends.check_dimension(law)
    if not law.periodic:
        raise ValueError("law: must be periodic in x for the Poisson field")
    if not (collision_rate >= 0 and temperature > 0 and mass > 0):
        raise ValueError(
            "collision_rate, temperature, mass: must be >= 0, > 0 and > 0, "
            f"got {collision_rate}, {temperature} and {mass}"
        )
    length = float(np.asarray(box.length)[0])
    reach = grid_ends.fastest_thermal(law, temperature, collision_rate * max(times))
    end = FIELD_MARGIN * reach if velocity_end is None else velocity_end
    grid = phase_grid(0.0, length, end, cells)
    log_density = math.log(mass / (length * math.sqrt(2 * math.pi * temperature)))
    maxwellian = log_density - 0.5 * grid.v**2 / temperature
    log_stationary = np.broadcast_to(maxwellian, (len(grid.x), len(grid.v)))
    field = PoissonField(grid)
    equation = Equation(grid, field, collision_rate, temperature, log_stationary)
    return _solve(mass * _on_grid(law, grid), times, equation, time_step, True)


def _on_grid(law: AbstractLaw, grid: PhaseGrid) -> Density:
    f = np.exp(grid_ends.log_law(law, grid.x, grid.v))
    mass = grid.cell * f.sum()
    if abs(mass - 1) > MASS_ERROR:
        raise ValueError(
            f"law: its mass on the grid is {mass:.6g}, not 1; take more cells or another end"
        )
    return f


def _solve(
    f: Density, times: Sequence[float], equation: Equation, time_step: float, periodic: bool
) -> GridSolution:
    asked = np.asarray(times, dtype=float)
    if asked.ndim != 1 or not asked.size or asked[0] < 0 or np.any(np.diff(asked) <= 0):
        raise ValueError(f"times: must increase from t >= 0, got {asked.tolist()}")
    if not time_step > 0:
        raise ValueError(f"time_step: must be > 0, got {time_step}")
    kept, history = evolve(f, asked, equation, time_step)
    _check_edges(kept, periodic)
    return GridSolution(equation.grid, asked, kept, history, equation.log_stationary, periodic)


def _check_edges(kept: Float[np.ndarray, "m n_x n_v"], periodic: bool) -> None:
    most = AT_THE_EDGE * kept.max()
    if np.abs(kept[:, :, [0, -1]]).max() > most:
        raise ValueError("velocity_end: the density has reached it; give a larger one")
    if not periodic and np.abs(kept[:, [0, -1], :]).max() > most:
        raise ValueError("problem: the density has reached the ends of the grid in x")
