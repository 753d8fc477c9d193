"""From the tables of a case to the objects of the library, with the checks that need both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from kjko.case.learning import control, fit, method
from kjko.case.refusal import BadInput as BadInput
from kjko.case.tables import (
    CaseTable,
    CosinePositionTable,
    DoubleWellTable,
    GaussianLawTable,
    Matrix,
    MixtureTable,
    MultiwellTable,
    PlainIntegratorTable,
    ProblemTable,
    QuadraticTable,
    WaveTable,
)
from kjko.evolution import number_of_steps
from kjko.forces import External
from kjko.integrators import DriftKick, Lie, StormerVerlet, StrangMidpoint, SymplecticEuler, Unsplit
from kjko.interfaces import Particles
from kjko.laws import AbstractLaw, CosinePosition, Gaussian, GaussianPosition, Product, sample
from kjko.potentials import Cosine, DoubleWell, Multiwell, Quadratic, Sine
from kjko.problem import Box, Problem
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
    _check_range(case.model_dump(), solver.precision)
    with _at("solver"):
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
        problem = _problem(case.problem)
        with _at("particles"):
            particles = sample(
                problem.law, case.particles.number, case.particles.seed, case.particles.sampling
            )
    return Experiment(
        problem,
        Solver(
            control=control(case, problem),
            time_step=solver.time_step,
            integrator=_integrator(solver.integrator),
            method=method(solver, problem),
            fit=fit(solver),
        ),
        particles,
    )


def _problem(table: ProblemTable) -> Problem:
    d = table.dimension
    box = None
    if table.domain is not None:
        box = Box(_vector("problem.domain.length", table.domain.length, d))
    law = _law(table.law, d, box)
    potential = _potential(table.potential, d, box)
    with _at("problem"):
        return Problem(External(potential), law, table.collision_rate, table.temperature, box)


def _potential(
    table: QuadraticTable | MultiwellTable | DoubleWellTable | WaveTable, d: int, box: Box | None
) -> Any:
    where = "problem.potential"
    if isinstance(table, WaveTable):
        if box is None:
            raise _unbounded(where, table.kind, "quadratic, multiwell or double-well")
        wave = Sine if table.kind == "sine" else Cosine
        return wave(box.length, table.amplitude, table.mode)
    if box is not None:
        raise _not_periodic(where, table.kind, "sine or cosine")
    if isinstance(table, MultiwellTable):
        return Multiwell(table.stiffness, table.amplitude)
    if isinstance(table, DoubleWellTable):
        return DoubleWell(table.barrier, table.minimum)
    if isinstance(table.stiffness, list):
        stiffness = _positive_definite(f"{where}.stiffness", table.stiffness, d)
    else:
        stiffness = table.stiffness * np.eye(d)
    center = [0.0] * d if table.center is None else table.center
    return Quadratic(stiffness, _vector(f"{where}.center", center, d))


def _law(table: Any, d: int, box: Box | None) -> AbstractLaw:
    where = "problem.law"
    if isinstance(table, GaussianLawTable):
        if box is not None:
            raise _not_periodic(where, table.kind, "product with a cosine position")
        with _at(where):
            return Gaussian(  # pyright: ignore[reportCallIssue]  it takes properties for fields
                _vector(f"{where}.mean", table.mean, 2 * d),
                _positive_definite(f"{where}.covariance", table.covariance, 2 * d),
            )
    position = _position(f"{where}.position", table.position, d, box)
    return _mixture(f"{where}.velocity", table.velocity, d, position)


def _position(where: str, table: Any, d: int, box: Box | None) -> GaussianPosition | CosinePosition:
    if isinstance(table, CosinePositionTable):
        if box is None:
            raise _unbounded(where, table.kind, "gaussian")
        amplitude = _vector(f"{where}.amplitude", table.amplitude, d)
        with _at(where):
            return CosinePosition(box.length, amplitude, _vector(f"{where}.mode", table.mode, d))
    if box is not None:
        raise _not_periodic(where, table.kind, "cosine")
    with _at(where):
        return GaussianPosition(
            _vector(f"{where}.mean", table.mean, d),
            _positive_definite(f"{where}.covariance", table.covariance, d),
        )


def _mixture(where: str, table: MixtureTable, d: int, position: Any) -> Product:
    k = len(table.means)
    if k == 0:
        raise BadInput(f"{where}.means: expected at least one list of length {d}, got none")
    means = [_vector(f"{where}.means.{i}", mean, d) for i, mean in enumerate(table.means)]
    source = f"{where}.means"
    widths = _vector(f"{where}.widths", table.widths, k, source)
    given = [1 / k] * k if table.weights is None else table.weights
    weights = _vector(f"{where}.weights", given, k, source)
    if abs(weights.sum() - 1) > 1e-6:
        raise BadInput(f"{where}.weights: expected numbers of sum 1, got the sum {weights.sum():g}")
    with _at(where):
        covariances = widths[:, None, None] ** 2 * np.eye(d)
        return Product(position, np.array(means), covariances, weights)  # pyright: ignore[reportCallIssue]


def _integrator(table: Any) -> Any:
    if isinstance(table, PlainIntegratorTable):
        return StrangMidpoint() if table.kind == "strang-midpoint" else SymplecticEuler()
    symplectic = DriftKick() if table.map == "symplectic-euler" else StormerVerlet()
    return Lie(symplectic) if table.kind == "lie" else Unsplit(symplectic)


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Put the key's path before what a constructor says of its arguments."""
    try:
        yield
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{path}.{error}") from None


def _check_range(value: Any, precision: str, *path: str) -> None:
    """Numbers that would become zero or infinite are refused."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _check_range(item, precision, *path, str(key))
    elif isinstance(value, float) and value != 0:
        info = np.finfo(np.float32 if precision == "single" else np.float64)
        tiny, largest = float(info.tiny), float(info.max)
        if not tiny <= abs(value) <= largest:
            raise BadInput(
                f"{'.'.join(path)}: expected zero or a number from {tiny:.0e} to {largest:.0e} in"
                f" {precision} precision, got {value:g}"
            )


def _unbounded(path: str, kind: str, others: str) -> BadInput:
    return BadInput(
        f"{path}.kind: {kind} is periodic and the domain is unbounded; set problem.domain.length,"
        f" or use {others}"
    )


def _not_periodic(path: str, kind: str, others: str) -> BadInput:
    return BadInput(
        f"{path}.kind: {kind} is not periodic and the domain is; use {others}, or drop"
        " problem.domain"
    )


def _vector(path: str, values: list, size: int, source: str = "problem.dimension") -> np.ndarray:
    if len(values) != size:
        raise BadInput(
            f"{path}: expected a list of length {size}, got length {len(values)}; it follows from"
            f" {source}"
        )
    return np.array(values, dtype=float)


def _positive_definite(path: str, rows: Matrix, size: int) -> np.ndarray:
    lengths = [len(row) for row in rows]
    if lengths != [size] * size:
        raise BadInput(
            f"{path}: expected a {size} x {size} matrix, got rows of length {lengths}; it follows"
            " from problem.dimension"
        )
    matrix = np.array(rows, dtype=float)
    if not np.allclose(matrix, matrix.T):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise BadInput(
            f"{path}: expected a symmetric matrix, got {matrix[i, j]:g} in row {i + 1}, column"
            f" {j + 1} and {matrix[j, i]:g} across the diagonal"
        )
    least = np.linalg.eigvalsh(matrix).min()
    if not least > 0:
        raise BadInput(
            f"{path}: expected a positive definite matrix, got one with the eigenvalue {least:.3g}"
        )
    return matrix
