"""The parts of the equation that a case can name: potentials, forces, collisions."""

import math
from typing import Any, Literal

import numpy as np

from kjko.case.checks import BadInput, positive_definite, vector
from kjko.case.parts import Here, default, part
from kjko.case.values import Count, Matrix, Number, Positive, Vector
from kjko.collisions import Dougherty, FokkerPlanck, NoCollisions
from kjko.core.mesh import Mesh, Shape
from kjko.flow import Ampere, Driven, Magnetic, Poisson, Uniform
from kjko.flow.potentials import (
    Cosine,
    DoubleWell,
    Expression,
    ExpressionDrive,
    Multiwell,
    Quadratic,
    RotatedWell,
    Sine,
)
from kjko.interfaces import AbstractCollisions

MOST_CELLS = 2**26
PERIODIC = "sine or cosine"
CONFINING = "quadratic, multiwell or double-well"


@part("potential", "quadratic")
def quadratic(here: Here, stiffness: Positive | Matrix = 1.0, center: Vector | None = None):
    """φ = ½ (x − c)ᵀ K (x − c).

    stiffness [1/time²]: K, a number or a d × d matrix
    center [length]: c, zero if not given
    """
    here.needs_no_box("quadratic", PERIODIC)
    d = here.dimension
    if isinstance(stiffness, list):
        matrix = positive_definite(f"{here.path}.stiffness", stiffness, d)
    else:
        matrix = stiffness * np.eye(d)
    return Quadratic(matrix, vector(f"{here.path}.center", center or [0.0] * d, d))


@part("potential", "multiwell")
def multiwell(
    here: Here,
    stiffness: Positive = default(Multiwell, "stiffness"),
    amplitude: Number = default(Multiwell, "amplitude"),
):
    """φ = ½ k |x|² + a Σᵢ cos(2π xᵢ).

    stiffness [1/time²]: k
    amplitude [velocity²]: a
    """
    here.needs_no_box("multiwell", PERIODIC)
    return Multiwell(stiffness, amplitude)


@part("potential", "double-well")
def double_well(
    here: Here,
    barrier: Positive = default(DoubleWell, "barrier"),
    minimum: Positive = default(DoubleWell, "minimum"),
):
    """φ = b Σᵢ ((xᵢ/m)² − 1)².

    barrier [velocity²]: b, the height between two minima
    minimum [length]: m, where they are, at ±m
    """
    here.needs_no_box("double-well", PERIODIC)
    return DoubleWell(barrier, minimum)


@part("potential", "rotated-well")
def rotated_well(
    here: Here,
    direction: Vector,
    barrier: Positive = 1.0,
    minimum: Positive = 1.0,
    stiffness: Positive = 1.0,
):
    """φ = b ((y/m)² − 1)² + ½ k |x − y e|², y = e·x: a double well along a direction e.

    direction: e, of any length
    barrier [velocity²]: b, the height between the minima
    minimum [length]: m, where they are, at ±m
    stiffness [1/time²]: k, across e
    """
    here.needs_no_box("rotated-well", PERIODIC)
    along = vector(f"{here.path}.direction", direction, here.dimension)
    return RotatedWell(along, barrier, minimum, stiffness)


@part("potential", "sine")
def sine(
    here: Here, amplitude: Number = default(Sine, "amplitude"), mode: Count = default(Sine, "mode")
):
    """φ = a Σᵢ sin(2π m xᵢ/Lᵢ), in a box.

    amplitude [velocity²]: a
    mode: m, waves in the box
    """
    return Sine(here.sides("sine", CONFINING), amplitude, mode)


@part("potential", "cosine")
def cosine(
    here: Here,
    amplitude: Number = default(Cosine, "amplitude"),
    mode: Count = default(Cosine, "mode"),
):
    """φ = a Σᵢ cos(2π m xᵢ/Lᵢ), in a box.

    amplitude [velocity²]: a
    mode: m, waves in the box
    """
    return Cosine(here.sides("cosine", CONFINING), amplitude, mode)


@part("potential", "expression")
def expression(here: Here, formula: str):
    """φ as a formula of the position.

    formula [velocity²]: of x1, x2, …; + − * / **, sin cos exp log sqrt tanh abs, pi
    """
    try:
        return Expression(formula, here.dimension)
    except ValueError as error:
        raise BadInput(f"{here.path}.formula: {error}") from None


@part("force", "poisson")
def poisson(
    here: Here,
    number_of_cells: Count | list[Count] = 128,
    shape: Shape = default(Mesh, "shape"),
    laplacian: Literal["spectral", "discrete"] = default(Poisson, "laplacian"),
):
    """The field of the particles by Poisson's equation, in a box.

    number_of_cells: of the grid, one number for all sides or one for each
    shape: of a particle on the grid
    laplacian: by the Fourier transform, or by differences of the grid
    """
    return Poisson(_mesh(here, number_of_cells, shape, "poisson"), laplacian)


@part("force", "ampere")
def ampere(
    here: Here,
    number_of_cells: Count | list[Count] = 128,
    shape: Shape = default(Mesh, "shape"),
    uniform_field: Number = default(Ampere, "uniform"),
):
    """The field of the particles by Ampère's law, in a box of one dimension.

    number_of_cells: of the grid
    shape: of a particle on the grid
    uniform_field [velocity/time]: added to the field at t = 0
    """
    return Ampere(_mesh(here, number_of_cells, shape, "ampere"), uniform=uniform_field)


@part("force", "uniform")
def uniform(here: Here, acceleration: Vector):
    """A constant acceleration.

    acceleration [velocity/time]: one number for each of the first velocities
    """
    if not 1 <= len(acceleration) <= here.velocity_dimension:
        raise BadInput(
            f"{here.path}.acceleration: expected a list of 1 to {here.velocity_dimension} numbers,"
            f" got length {len(acceleration)}; one for each of the first velocities"
        )
    return Uniform(acceleration)


@part("force", "driven")
def driven(here: Here, formula: str | list[str]):
    """An acceleration that is a formula of time and position.

    formula [velocity/time]: of t, x1, x2, …; one for each coordinate
    """
    formulas = [formula] if isinstance(formula, str) else formula
    d_x, d = here.dimension, here.velocity_dimension
    if len(formulas) not in (d_x, d):
        raise BadInput(
            f"{here.path}.formula: expected a formula for each of {d_x} coordinates, got"
            f" {len(formulas)}"
        )
    try:
        return Driven(ExpressionDrive(formulas, d_x))
    except ValueError as error:
        raise BadInput(f"{here.path}.formula: {error}") from None


@part("force", "magnetic")
def magnetic(here: Here, gyrofrequency: Number | Vector):
    """A uniform magnetic field, for two or three velocities.

    gyrofrequency [1/time]: along the third axis, or three numbers
    """
    d = here.velocity_dimension
    if d not in (2, 3) or (isinstance(gyrofrequency, list) and (d != 3 or len(gyrofrequency) != 3)):
        raise BadInput(
            f"{here.path}.gyrofrequency: expected a number with 2 velocities, or three numbers with"
            f" 3, got {gyrofrequency} with {d}; set problem.velocity_dimension"
        )
    return Magnetic(gyrofrequency)


def _mesh(here: Here, cells: int | list[int], shape: Shape, kind: str) -> Mesh:
    if here.length is None:
        raise BadInput(
            f"{here.path}.kind: {kind} needs a periodic box, got none; set problem.domain.length"
        )
    numbers = [cells] * here.dimension if isinstance(cells, int) else cells
    _check_cells(f"{here.path}.number_of_cells", numbers, here.dimension)
    return Mesh(here.length, numbers, shape)


def _check_cells(path: str, cells: list[int], dimension: int) -> None:
    vector(path, cells, dimension)
    if math.prod(cells) > MOST_CELLS:
        raise BadInput(
            f"{path}: expected at most {MOST_CELLS:.0e} in all, got {math.prod(cells):.0e}; take"
            " fewer"
        )


@part("collisions", "fokker-planck")
def fokker_planck(here: Here):
    """Friction and diffusion in a bath."""
    return FokkerPlanck


@part("collisions", "dougherty")
def dougherty(here: Here, number_of_cells: Count | list[Count] | None = None):
    """Friction and diffusion that keep momentum and energy.

    number_of_cells: of the box, in each of which particles collide; all with all if not given
    """
    mesh = None
    if number_of_cells is not None:
        mesh = _mesh(here, number_of_cells, default(Mesh, "shape"), "dougherty with cells")
    return lambda rate, temperature: Dougherty(rate, mesh)


def collisions(table: Any, here: Here, rate: float, temperature: float) -> AbstractCollisions:
    """Those of a rate, of which zero is none."""
    made = table.build(here)
    return made(rate, temperature) if rate > 0 else NoCollisions(temperature)
