"""From the tables of a case to the objects of the library, with the checks that need both."""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from kjko.case.checks import BadInput, at, check_range
from kjko.case.learning import control, fit, method
from kjko.case.problem import build_problem
from kjko.case.tables import (
    CaseTable,
    NewtonTable,
    ParticlesTable,
    PlainIntegratorTable,
)
from kjko.evolution import number_of_steps
from kjko.forces import AbstractSelfConsistent
from kjko.integrators import DriftKick, Lie, StormerVerlet, StrangMidpoint, SymplecticEuler, Unsplit
from kjko.interfaces import Particles
from kjko.laws import AbstractLaw, CellJitter, CosinePosition, Product, sample
from kjko.problem import Problem
from kjko.solver import Solver

MOST_COLLISIONS = 30.0  # εΔt that a step is asked to resolve by substeps


class Experiment(NamedTuple):
    """A case as objects."""

    problem: Problem
    solver: Solver
    particles: Particles


def build(case: CaseTable) -> Experiment:
    """Raises BadInput for what only shows when the objects are made."""
    solver = case.solver
    check_range(case.model_dump(), solver.precision)
    with at("solver"):
        number_of_steps(solver.end_time, solver.time_step)
    collisions = case.problem.collision_rate * solver.time_step
    if collisions > MOST_COLLISIONS:
        raise BadInput(
            f"solver.time_step: expected collision_rate * time_step <= {MOST_COLLISIONS:g}, got"
            f" {collisions:g}; take a smaller time_step"
        )
    used = case.particles.number
    if isinstance(solver.fit, NewtonTable):
        used = min(used, solver.fit.particles)
    if round(solver.fit.held_out * used) >= used:
        raise BadInput(
            f"solver.fit.held_out: {solver.fit.held_out:g} of {used} particles"
            " leaves none to fit on; expected less, or more particles"
        )
    with np.errstate(all="ignore"):  # what overflows is found at step 0
        problem = build_problem(case.problem)
        with at("solver"):
            problem.check_time_step(solver.time_step)
        particles = _sample(case.particles, problem)
    return Experiment(
        problem,
        Solver(
            control=control(case, problem),
            time_step=solver.time_step,
            integrator=_integrator(solver.integrator),
            method=method(case, problem),
            fit=fit(solver),
        ),
        particles,
    )


def _sample(table: ParticlesTable, problem: Problem) -> Particles:
    law, sampling = problem.law, table.sampling
    if sampling == "cell-jitter":
        law, sampling = _jittered(law, problem), "random"
    with at("particles"):
        return sample(law, table.number, table.seed, sampling)


def _jittered(law: AbstractLaw, problem: Problem) -> Product:
    force = problem.force
    if (
        isinstance(force, AbstractSelfConsistent)
        and isinstance(law, Product)
        and isinstance(law.position, CosinePosition)
    ):
        position = CellJitter(law.position, force.mesh.number_of_cells)
        return eqx.tree_at(lambda law: law.position, law, position)
    raise BadInput(
        "particles.sampling: cell-jitter needs a cosine position and the cells of a problem.force;"
        " set random or low-discrepancy"
    )


def _integrator(table: Any) -> Any:
    if isinstance(table, PlainIntegratorTable):
        return StrangMidpoint() if table.kind == "strang-midpoint" else SymplecticEuler()
    symplectic = DriftKick() if table.map == "symplectic-euler" else StormerVerlet()
    return Lie(symplectic) if table.kind == "lie" else Unsplit(symplectic)
