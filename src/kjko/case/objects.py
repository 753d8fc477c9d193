"""From the tables of a case to the objects of the library, with the checks that need both."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from kjko.case.checks import BadInput, at, check_range
from kjko.case.problem import build_problem, velocity_dimension
from kjko.case.tables import (
    AdamTable,
    AffineTable,
    CaseTable,
    FourierHermiteTable,
    GaussNewtonTable,
    MLPTable,
    NewtonTable,
    ParticlesTable,
    PlainIntegratorTable,
    QuadraticControlTable,
    RandomTanhTable,
    SolverTable,
    SplinesTable,
)
from kjko.controls import MLP, Affine, Gradient, Periodic
from kjko.evolution import number_of_steps
from kjko.features import FourierHermite, Quadratics, RandomTanh, Splines
from kjko.fit import Adam, GaussNewton, Newton
from kjko.forces import AbstractSelfConsistent
from kjko.integrators import DriftKick, Lie, StormerVerlet, StrangMidpoint, SymplecticEuler, Unsplit
from kjko.interfaces import Control, Particles
from kjko.laws import AbstractLaw, CellJitter, CosinePosition, Product, sample
from kjko.methods import JKO
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
    if round(solver.fit.held_out * case.particles.number) >= case.particles.number:
        raise BadInput(
            f"solver.fit.held_out: {solver.fit.held_out:g} of {case.particles.number} particles"
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
            control=_control(case, problem),
            time_step=solver.time_step,
            integrator=_integrator(solver.integrator),
            method=JKO(solver.method.log_det),
            fit=_fit(solver),
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


def _control(case: CaseTable, problem: Problem) -> Control:
    d_x, d, table = case.problem.dimension, velocity_dimension(case.problem), case.solver.control
    length = None if problem.box is None else problem.box.length.tolist()
    if isinstance(table, SplinesTable):
        with at("solver.control"):
            basis = Splines(d_x, table.cells, length, d, particles=case.particles.number)
            return Gradient(basis)
    if isinstance(table, FourierHermiteTable):
        with at("solver.control"):
            return Gradient(FourierHermite(d_x, table.size, length, d))
    if isinstance(table, RandomTanhTable):
        key = jax.random.key(case.particles.seed)
        return Gradient(RandomTanh(d_x, table.size, length, d, key=key))
    if isinstance(table, QuadraticControlTable):
        return Gradient(Quadratics(d_x, length is not None, d))
    inputs = d_x if problem.box is None else 2 * d_x
    if isinstance(table, AffineTable):
        control = Affine(d, inputs)
    else:
        key = jax.random.key(case.particles.seed)
        control = MLP(d, table.widths, table.activation, inputs, key=key)
    return control if length is None else Periodic(control, length)


def _fit(solver: SolverTable) -> Any:
    settings = solver.fit.model_dump(exclude={"kind"})
    by_gradient = not isinstance(solver.control, AffineTable | MLPTable)
    if not isinstance(solver.fit, NewtonTable):
        if by_gradient:
            raise BadInput(
                f"solver.fit.kind: {solver.fit.kind} fits affine and mlp, got control"
                f" {solver.control.kind}; set solver.control.kind=mlp or solver.fit.kind=newton"
            )
        if isinstance(solver.fit, AdamTable):
            return Adam(**settings)
        return _gauss_newton(solver, solver.fit)
    if not by_gradient:
        raise BadInput(
            "solver.fit.kind: newton fits splines, fourier-hermite, random-tanh and quadratic, got"
            f" control {solver.control.kind}; set solver.fit.kind=adam"
        )
    if solver.integrator.kind not in ("strang-midpoint", "lie") or solver.method.log_det != "exact":
        raise BadInput(
            "solver.fit.kind: newton needs the integrator strang-midpoint or lie and the exact"
            " log_det; set solver.fit.kind=adam and solver.control.kind=mlp"
        )
    return Newton(**settings)


def _gauss_newton(solver: SolverTable, table: GaussNewtonTable) -> GaussNewton:
    settings = table.model_dump(exclude={"kind", "adam_steps"})
    if solver.method.log_det != "exact":
        raise BadInput(
            "solver.fit.kind: gauss-newton needs the exact log_det; set"
            " solver.method.log_det=exact or solver.fit.kind=adam"
        )
    if table.layers == "last" and solver.control.kind != "mlp":
        raise BadInput(
            f"solver.fit.layers: last is for a network, got control {solver.control.kind}; set"
            " solver.control.kind=mlp or solver.fit.layers=all"
        )
    first = Adam(table.adam_steps) if table.adam_steps else None
    return GaussNewton(**settings, first=first)


def _integrator(table: Any) -> Any:
    if isinstance(table, PlainIntegratorTable):
        return StrangMidpoint() if table.kind == "strang-midpoint" else SymplecticEuler()
    symplectic = DriftKick() if table.map == "symplectic-euler" else StormerVerlet()
    return Lie(symplectic) if table.kind == "lie" else Unsplit(symplectic)
