"""From the tables of a case to the equation: box, force, law."""

import logging
import math
from typing import Any

import numpy as np

from kjko.case.checks import BadInput, at, positive_definite, vector
from kjko.case.tables import (
    AmpereTable,
    CosinePositionTable,
    DoubleWellTable,
    GaussianLawTable,
    MixtureTable,
    MultiwellTable,
    PoissonTable,
    ProblemTable,
    QuadraticTable,
    WaveTable,
)
from kjko.forces import Ampere, External, Mesh, Poisson
from kjko.interfaces import AbstractForce
from kjko.laws import AbstractLaw, CosinePosition, Gaussian, GaussianPosition, Product
from kjko.potentials import Cosine, DoubleWell, Multiwell, Quadratic, Sine
from kjko.problem import Box, Problem

MOST_CELLS = 2**26
log = logging.getLogger(__name__)


def build_problem(table: ProblemTable) -> Problem:
    """Raises BadInput for what does not go together."""
    d_x = table.dimension
    box = None
    if table.domain is not None:
        box = Box(vector("problem.domain.length", table.domain.length, d_x))
    law = _law(table, box)
    force = _force(table, box)
    with at("problem"):
        return Problem(force, law, table.collision_rate, table.temperature, box, table.mass)


def velocity_dimension(table: ProblemTable) -> int:
    """d ≥ d_x."""
    d = table.velocity_dimension or table.dimension
    if d < table.dimension:
        raise BadInput(
            f"problem.velocity_dimension: expected problem.dimension = {table.dimension} or more,"
            f" got {d}; drop it, or lower problem.dimension"
        )
    return d


def _force(table: ProblemTable, box: Box | None) -> AbstractForce:
    if table.force is None and table.potential is not None:
        return External(_potential(table.potential, table.dimension, box))
    if table.force is None or table.potential is not None:
        got = "neither" if table.force is None else "both"
        raise BadInput(
            f"problem.potential: expected either problem.potential or problem.force, got {got}; a"
            " case sets one of them"
        )
    if table.domain is None:
        raise BadInput(
            f"problem.force.kind: {table.force.kind} needs a periodic box, got none; set"
            " problem.domain.length"
        )
    return _field(table.force, table.dimension, table.domain.length)


def _field(table: PoissonTable | AmpereTable, d_x: int, length: list[float]) -> AbstractForce:
    where = "problem.force"
    cells = table.number_of_cells
    cells = [cells] * d_x if isinstance(cells, int) else cells
    vector(f"{where}.number_of_cells", cells, d_x)
    if math.prod(cells) > MOST_CELLS:
        raise BadInput(
            f"{where}.number_of_cells: expected at most {MOST_CELLS:.0e} in all, got"
            f" {math.prod(cells):.0e}; take fewer"
        )
    with at(where):
        mesh = Mesh(length, cells, table.shape)
        if isinstance(table, PoissonTable):
            return Poisson(mesh, table.laplacian)
        return Ampere(mesh, uniform=table.uniform_field)


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
        stiffness = positive_definite(f"{where}.stiffness", table.stiffness, d)
    else:
        stiffness = table.stiffness * np.eye(d)
    center = [0.0] * d if table.center is None else table.center
    return Quadratic(stiffness, vector(f"{where}.center", center, d))


def _law(problem: ProblemTable, box: Box | None) -> AbstractLaw:
    where, table = "problem.law", problem.law
    d_x, d = problem.dimension, velocity_dimension(problem)
    if isinstance(table, GaussianLawTable):
        if d != d_x:
            raise BadInput(
                f"{where}.kind: gaussian is for velocity_dimension = dimension, got {d} and {d_x};"
                " use product"
            )
        if box is not None:
            raise _not_periodic(where, table.kind, "product with a cosine position")
        with at(where):
            return Gaussian(  # pyright: ignore[reportCallIssue]  it takes properties for fields
                vector(f"{where}.mean", table.mean, 2 * d),
                positive_definite(f"{where}.covariance", table.covariance, 2 * d),
            )
    position = _position(f"{where}.position", table.position, d_x, box)
    return _mixture(f"{where}.velocity", table.velocity, d, position)


def _position(where: str, table: Any, d: int, box: Box | None) -> GaussianPosition | CosinePosition:
    if isinstance(table, CosinePositionTable):
        if box is None:
            raise _unbounded(where, table.kind, "gaussian")
        amplitude = vector(f"{where}.amplitude", table.amplitude, d)
        mode = _mode(where, table, np.asarray(box.length, dtype=float))
        with at(where):
            return CosinePosition(box.length, amplitude, mode, table.literal)
    if box is not None:
        raise _not_periodic(where, table.kind, "cosine")
    with at(where):
        return GaussianPosition(
            vector(f"{where}.mean", table.mean, d),
            positive_definite(f"{where}.covariance", table.covariance, d),
        )


def _mode(where: str, table: CosinePositionTable, length: np.ndarray) -> np.ndarray:
    """Waves in the box. One that the box cuts is refused, or warned of if it is meant literally."""
    if (table.mode is None) == (table.wave_number is None):
        got = "neither" if table.mode is None else "both"
        raise BadInput(f"{where}.mode: expected either mode or wave_number, got {got}; set one")
    if table.mode is not None:
        return vector(f"{where}.mode", table.mode, length.size)
    k = vector(f"{where}.wave_number", table.wave_number or [], length.size)
    mode = k * length / (2 * np.pi)
    cut = np.abs(mode - np.round(mode)) > 1e-6 * np.maximum(mode, 1)
    if not cut.any():
        return np.round(mode)
    i = int(np.argmax(cut))
    what = (
        f"{where}.wave_number: expected a multiple of 2 pi/length = {2 * np.pi / length[i]:.6g},"
        f" got {k[i]:g}"
    )
    if not table.literal:
        nearest = max(np.round(mode[i]), 1) * 2 * np.pi / length[i]
        raise BadInput(f"{what}; take {nearest:.6g}, or literal = true to keep a wave that is cut")
    log.warning("%s; kept literally, the density jumps at the end of the box", what)
    return mode


def _mixture(where: str, table: MixtureTable, d: int, position: Any) -> Product:
    k = len(table.means)
    if k == 0:
        raise BadInput(f"{where}.means: expected at least one list of length {d}, got none")
    source = "problem.dimension and velocity_dimension"
    means = [vector(f"{where}.means.{i}", m, d, source) for i, m in enumerate(table.means)]
    source = f"{where}.means"
    widths = vector(f"{where}.widths", table.widths, k, source)
    given = [1 / k] * k if table.weights is None else table.weights
    weights = vector(f"{where}.weights", given, k, source)
    if abs(weights.sum() - 1) > 1e-6:
        raise BadInput(f"{where}.weights: expected numbers of sum 1, got the sum {weights.sum():g}")
    with at(where):
        covariances = widths[:, None, None] ** 2 * np.eye(d)
        return Product(position, np.array(means), covariances, weights)  # pyright: ignore[reportCallIssue]


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
