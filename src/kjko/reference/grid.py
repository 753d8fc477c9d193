"""Kinetic Fokker-Planck equations solved on a grid in phase space: one x and one v, float64."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kjko.collisions import Dougherty, FokkerPlanck, NoCollisions
from kjko.flow import Driven, Poisson, Uniform
from kjko.flow.sum import PotentialSum
from kjko.initial import AbstractLaw
from kjko.interfaces import AbstractFlow, Potential
from kjko.problem import Problem
from kjko.reference import grid_ends
from kjko.reference.grid_collision import own_moments, relax_rows, relaxation
from kjko.reference.grid_density import GridDensity, grid_density
from kjko.reference.grid_splitting import (
    Density,
    Equation,
    GridFlow,
    History,
    PhaseGrid,
    Profile,
    Unresolved,
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
    """The solution of a problem in a periodic box or a potential that confines.

    The flow may be given, driven, the Poisson field, or a sum of these; the collisions those with
    a bath, those of Dougherty's operator (with ū and T of all of f, or at every x if it has a mesh,
    whatever its cells), or none.

    `cells`: (n_x, n_v). x is cut where no energy of the law, nor of f∞, reaches; v at ±
    `velocity_end`, by default in the same way, with a margin of a fifth for what a self-consistent
    field accelerates. Errors are of second order in `time_step` and in an eighth of the cells'
    width in v (collisions), and else spectrally small in the cells.

    Raises ValueError for more than one position or velocity coordinate, for another flow, for a
    potential that does not confine, and for a grid that does not resolve the law or f∞ in v, or
    does not hold the density at the asked times.
    """
    law, box = problem.law, problem.box
    if law is None:
        raise ValueError("law: must be known")
    asked = _increasing(times)
    grid_ends.check_dimension(law)
    rate, temperature = _collision_numbers(problem)
    own = bool(problem.own_fields)
    potential = _potential(problem.flow)
    low, high, end = _ends(problem, potential, law, rate, temperature, asked[-1])
    grid = phase_grid(low, high - low, end if velocity_end is None else velocity_end, cells)
    phi, slope = grid_ends.potential_at(potential, grid.x)
    flow = GridFlow(grid, phi, _given(problem.flow, grid) - slope, _driven(problem.flow, grid), own)
    energy = (phi[:, None] + 0.5 * grid.v**2) / temperature
    mass = float(problem.mass)
    log_stationary = (
        -energy - np.logaddexp.reduce(-energy, axis=None) - math.log(grid.cell) + math.log(mass)
    )
    collisions = _collisions(problem, grid, rate, temperature)
    of_bath = temperature if problem.temperature is not None else math.nan
    equation = Equation(grid, flow, collisions, of_bath, log_stationary)
    return _solve(mass * _on_grid(law, grid), asked, equation, time_step, box is not None)


def _increasing(times: Sequence[float]) -> Float[np.ndarray, " m"]:
    asked = np.asarray(times, dtype=float)
    if asked.ndim != 1 or not asked.size or asked[0] < 0 or np.any(np.diff(asked) <= 0):
        raise ValueError(f"times: must increase from t >= 0, got {asked.tolist()}")
    return asked


def _collision_numbers(problem: Problem) -> tuple[float, float]:
    """ε, and T₀ of the bath or of the law."""
    collisions = problem.collisions
    if isinstance(collisions, NoCollisions):
        return 0.0, float(collisions.temperature)
    if isinstance(collisions, FokkerPlanck):
        return float(collisions.rate), float(collisions.temperature)
    if isinstance(collisions, Dougherty) and problem.law is not None:
        return float(collisions.rate), grid_ends.temperature_of(problem.law)
    raise ValueError("collisions: must be FokkerPlanck, Dougherty or NoCollisions")


def _collisions(
    problem: Problem, grid: PhaseGrid, rate: float, temperature: float
) -> Callable[[float], Callable[[Density], Density]] | None:
    """For a time step, the map of f over it."""
    if rate == 0:
        return None
    if isinstance(problem.collisions, Dougherty):
        local = problem.collisions.mesh is not None

        def among_themselves(f, strength):
            moments = own_moments(f if local else f.sum(axis=0, keepdims=True), grid.v)
            velocity, heat = (np.broadcast_to(m, len(f)) for m in moments)
            return relax_rows(f, grid.v, velocity, heat, strength)

        return lambda dt: lambda f: among_themselves(f, rate * dt)

    def with_bath(dt):
        matrix = relaxation(grid.v, temperature, rate * dt).T
        return lambda f: f @ matrix

    return with_bath


def _potential(flow: AbstractFlow) -> Potential:
    """φ of all that is given."""
    there = [m.given_potential for m in flow.members if m.given_potential is not None]
    for member in flow.members:
        if member.given_potential is None and not isinstance(member, Poisson | Uniform | Driven):
            raise ValueError(
                f"flow: a grid solution knows no {type(member).__name__}; expected a given"
                " potential, Uniform, Driven or Poisson"
            )
    return PotentialSum(tuple(there))


def _given(flow: AbstractFlow, grid: PhaseGrid) -> Profile:
    """The uniform accelerations."""
    values = [float(m.value[0]) for m in flow.members if isinstance(m, Uniform)]
    return np.full(len(grid.x), sum(values, 0.0))


def _driven(flow: AbstractFlow, grid: PhaseGrid) -> Callable[[float], Profile] | None:
    drives = [m.drive for m in flow.members if isinstance(m, Driven)]
    if not drives:
        return None
    return lambda time: sum(
        (grid_ends.drive_at(drive, time, grid.x) for drive in drives), np.zeros(len(grid.x))
    )


def _ends(
    problem: Problem,
    potential: Potential,
    law: AbstractLaw,
    rate: float,
    temperature: float,
    end_time: float,
) -> tuple[float, float, float]:
    """The ends of x, and how fast anything gets."""
    box = problem.box
    if problem.own_fields and box is not None:
        length = float(np.asarray(box.length)[0])
        thermal = grid_ends.fastest_thermal(law, temperature, rate * end_time)
        nodes = np.linspace(0, length, grid_ends.POTENTIAL_POINTS)
        given = grid_ends.potential_at(potential, nodes)[0]
        return 0.0, length, FIELD_MARGIN * math.sqrt(thermal**2 + 2 * float(np.ptp(given)))
    if box is None and not problem.flow.conservative:
        raise ValueError("flow: a force without a potential needs a box for a grid solution")
    thermal = grid_ends.FAR * temperature if rate > 0 else 0.0
    low, high, fastest = grid_ends.reach(potential, law, thermal, box)
    return low, high, fastest if problem.flow.conservative else FIELD_MARGIN * fastest


def _on_grid(law: AbstractLaw, grid: PhaseGrid) -> Density:
    f = np.exp(grid_ends.log_law(law, grid.x, grid.v))
    mass = grid.cell * f.sum()
    if abs(mass - 1) > MASS_ERROR:
        raise Unresolved(
            f"law: its mass on the grid is {mass:.6g}, not 1; take more cells or another end"
        )
    return f


def _solve(
    f: Density,
    asked: Float[np.ndarray, " m"],
    equation: Equation,
    time_step: float,
    periodic: bool,
) -> GridSolution:
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
