"""From the tables of a case to its method, control and fit, and which of them go together."""

import jax

from kjko.case.checks import BadInput, at
from kjko.case.problem import velocity_dimension
from kjko.case.tables import (
    AdamTable,
    AffineTable,
    CaseTable,
    EndToEndTable,
    FourierHermiteTable,
    GaussNewtonTable,
    JKOTable,
    MLPTable,
    NewtonTable,
    QuadraticControlTable,
    RandomTanhTable,
    SolverTable,
    SplinesTable,
)
from kjko.controls import MLP, Affine, AffineInTime, Gradient, InTime, Periodic
from kjko.features import FourierHermite, Quadratics, RandomTanh, Splines
from kjko.fit import Adam, GaussNewton, Newton
from kjko.forces import External
from kjko.interfaces import AbstractFit, AbstractMethod, Control, TimeDependentControl
from kjko.methods import JKO, Langevin, Score, ScoreEndToEnd, VelocityMatching
from kjko.problem import Problem


def method(case: CaseTable, problem: Problem) -> AbstractMethod:
    """Raises BadInput for a method that cannot solve the problem."""
    table = case.solver.method
    if isinstance(table, JKOTable):
        return JKO(table.log_det)
    if isinstance(table, EndToEndTable):
        if not isinstance(problem.force, External):
            raise BadInput(
                f"solver.method.kind: {table.kind} learns one control for all times and needs an"
                " external potential, got a self-consistent force; use jko, score or langevin"
            )
        if table.kind == "score-end-to-end":
            return ScoreEndToEnd(table.gradient_steps)
        if velocity_dimension(case.problem) != case.problem.dimension:
            raise BadInput(
                "solver.method.kind: velocity-matching needs as many components of x as of v, got"
                " more of v; use jko, score, score-end-to-end or langevin"
            )
        return VelocityMatching(table.gradient_steps)
    return Score() if table.kind == "score" else Langevin()


def control(case: CaseTable, problem: Problem) -> Control | TimeDependentControl:
    """The control that the method learns, u = 0 at first."""
    d_x, d, table = case.problem.dimension, velocity_dimension(case.problem), case.solver.control
    length = None if problem.box is None else tuple(problem.box.length.tolist())
    key = jax.random.key(case.particles.seed)
    if isinstance(table, SplinesTable):
        fitted = case.particles.number
        if isinstance(case.solver.fit, NewtonTable):
            fitted = min(fitted, case.solver.fit.particles)
        with at("solver.control"):
            return Gradient(Splines(d_x, table.cells, length, d, particles=fitted))
    if isinstance(table, FourierHermiteTable):
        with at("solver.control"):
            return Gradient(FourierHermite(d_x, table.size, length, d))
    if isinstance(table, RandomTanhTable):
        return Gradient(RandomTanh(d_x, table.size, length, d, key=key))
    if isinstance(table, QuadraticControlTable):
        return Gradient(Quadratics(d_x, length is not None, d))
    inputs = d_x if length is None else 2 * d_x
    if isinstance(case.solver.method, EndToEndTable):
        outputs = 2 * d if case.solver.method.kind == "velocity-matching" else d
        end_time = case.solver.end_time
        if isinstance(table, AffineTable):
            return AffineInTime(d, end_time, inputs, outputs, length=length)
        network = MLP(d, table.widths, table.activation, inputs + 1, outputs, key=key)
        return InTime(network, end_time, length)
    if isinstance(table, AffineTable):
        plain = Affine(d, inputs)
    else:
        plain = MLP(d, table.widths, table.activation, inputs, key=key)
    return plain if length is None else Periodic(plain, length)


def fit(solver: SolverTable) -> AbstractFit:
    """Raises BadInput for a fit that does not go with the method or the control."""
    settings = solver.fit.model_dump(exclude={"kind"})
    kind = solver.method.kind
    is_gradient = not isinstance(solver.control, AffineTable | MLPTable)
    if not isinstance(solver.fit, NewtonTable):
        if is_gradient:
            raise BadInput(
                f"solver.fit.kind: {solver.fit.kind} fits affine and mlp, got control"
                f" {solver.control.kind}; set solver.control.kind=mlp or solver.fit.kind=newton"
            )
        if isinstance(solver.fit, AdamTable):
            return Adam(**settings)
        return _gauss_newton(solver, solver.fit)
    if kind not in ("jko", "langevin"):
        raise BadInput(
            f"solver.fit.kind: newton solves the jko step, got method {kind}; set"
            " solver.fit.kind=adam and solver.control.kind=mlp"
        )
    if not is_gradient:
        raise BadInput(
            "solver.fit.kind: newton fits splines, fourier-hermite, random-tanh and quadratic, got"
            f" control {solver.control.kind}; set solver.fit.kind=adam"
        )
    if solver.integrator.kind not in ("strang-midpoint", "lie") or _linear(solver):
        raise BadInput(
            "solver.fit.kind: newton needs the integrator strang-midpoint or lie and the exact"
            " log_det; set solver.fit.kind=adam and solver.control.kind=mlp"
        )
    return Newton(**settings)


def _linear(solver: SolverTable) -> bool:
    return isinstance(solver.method, JKOTable) and solver.method.log_det == "linear"


def _gauss_newton(solver: SolverTable, table: GaussNewtonTable) -> GaussNewton:
    settings = table.model_dump(exclude={"kind", "adam_steps"})
    if solver.method.kind != "jko" or _linear(solver):
        raise BadInput(
            "solver.fit.kind: gauss-newton needs the method jko with the exact log_det; set"
            " solver.fit.kind=adam"
        )
    if table.layers == "last" and solver.control.kind != "mlp":
        raise BadInput(
            f"solver.fit.layers: last is for a network, got control {solver.control.kind}; set"
            " solver.control.kind=mlp or solver.fit.layers=all"
        )
    first = Adam(table.adam_steps) if table.adam_steps else None
    return GaussNewton(**settings, first=first)
