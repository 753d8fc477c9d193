"""From the tables of a case to its method, control and fit, and which of them go together."""

import jax

from kjko.case.refusal import BadInput
from kjko.case.tables import (
    AdamTable,
    AffineTable,
    CaseTable,
    EndToEndTable,
    FourierHermiteTable,
    JKOTable,
    MLPTable,
    QuadraticControlTable,
    RandomTanhTable,
    SolverTable,
)
from kjko.controls import MLP, Affine, AffineInTime, Gradient, InTime, Periodic
from kjko.features import FourierHermite, Quadratics, RandomTanh
from kjko.fit import Adam, Newton
from kjko.forces import External
from kjko.interfaces import AbstractMethod, Control, TimeDependentControl
from kjko.methods import JKO, Langevin, Score, ScoreEndToEnd, VelocityMatching
from kjko.problem import Problem


def method(solver: SolverTable, problem: Problem) -> AbstractMethod:
    """Raises BadInput for a method that cannot solve the problem."""
    table = solver.method
    if isinstance(table, JKOTable):
        return JKO(table.log_det)
    if isinstance(table, EndToEndTable):
        if not isinstance(problem.force, External):
            raise BadInput(
                f"solver.method.kind: {table.kind} learns one control for all times and needs an"
                " external potential, got a self-consistent force; use jko, score or langevin"
            )
        kind = ScoreEndToEnd if table.kind == "score-end-to-end" else VelocityMatching
        return kind(table.gradient_steps)
    return Score() if table.kind == "score" else Langevin()


def control(case: CaseTable, problem: Problem) -> Control | TimeDependentControl:
    """The control that the method learns, u = 0 at first."""
    d, table = case.problem.dimension, case.solver.control
    length = None if problem.box is None else tuple(problem.box.length.tolist())
    key = jax.random.key(case.particles.seed)
    if isinstance(table, FourierHermiteTable):
        return Gradient(FourierHermite(d, max(table.size, d), length))
    if isinstance(table, RandomTanhTable):
        return Gradient(RandomTanh(d, table.size, length, key=key))
    if isinstance(table, QuadraticControlTable):
        return Gradient(Quadratics(d, periodic=length is not None))
    inputs = d if length is None else 2 * d
    if isinstance(case.solver.method, EndToEndTable):
        outputs = 2 * d if case.solver.method.kind == "velocity-matching" else d
        end_time = case.solver.end_time
        if isinstance(table, AffineTable):
            return AffineInTime(d, end_time, outputs, length=length)
        network = MLP(d, table.widths, table.activation, inputs + 1, outputs, key=key)
        return InTime(network, end_time, length)
    if isinstance(table, AffineTable):
        plain = Affine(d, inputs)
    else:
        plain = MLP(d, table.widths, table.activation, inputs, key=key)
    return plain if length is None else Periodic(plain, length)


def fit(solver: SolverTable) -> Adam | Newton:
    """Raises BadInput for a fit that does not go with the method or the control."""
    settings = solver.fit.model_dump(exclude={"kind"})
    kind = solver.method.kind
    by_gradient = not isinstance(solver.control, AffineTable | MLPTable)
    if isinstance(solver.fit, AdamTable):
        if by_gradient:
            raise BadInput(
                f"solver.fit.kind: adam fits affine and mlp, got control {solver.control.kind};"
                " set solver.control.kind=mlp or solver.fit.kind=newton"
            )
        return Adam(**settings)
    if kind not in ("jko", "langevin"):
        raise BadInput(
            f"solver.fit.kind: newton solves the jko step, got method {kind}; set"
            " solver.fit.kind=adam and solver.control.kind=mlp"
        )
    if not by_gradient:
        raise BadInput(
            f"solver.fit.kind: newton fits fourier-hermite, random-tanh and quadratic, got control"
            f" {solver.control.kind}; set solver.fit.kind=adam"
        )
    linear = isinstance(solver.method, JKOTable) and solver.method.log_det == "linear"
    if solver.integrator.kind not in ("strang-midpoint", "lie") or linear:
        raise BadInput(
            "solver.fit.kind: newton needs the integrator strang-midpoint or lie and the exact"
            " log_det; set solver.fit.kind=adam and solver.control.kind=mlp"
        )
    return Newton(**settings)
