"""The collision step ∂ₜf = ε ∂ᵥ((v − ū) f + T ∂ᵥf) on the cells of a velocity grid.

Two ways: the exponential of a Chang-Cooper operator for a bath that is the same everywhere, and the
solution in Fourier space for ū(x) and T(x), as of the density's own moments.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array, dia_array, eye_array

from kjko.reference.grid_splitting import Unresolved

REFINEMENT = 8  # cells of the operator in a cell of the grid
WIDEST = 0.6  # cell in √T₀: wider ones do not resolve the Maxwellian
STIFFEST = 200.0  # of the operator's norm times the time, in one exponential
NOTHING = 1e-17  # of one: a term of a mean
EMPTY = 1e-10  # of the largest density: where there is less, its moments are rounding

Sparse = Any  # a csr_array: scipy has no types
Velocities = Float[np.ndarray, " n_v"]
Matrix = Float[np.ndarray, "rows columns"]
Rows = Float[np.ndarray, "n_x n_v"]
Profile = Float[np.ndarray, " n_x"]


def collision_operator(v: Velocities, temperature: float) -> Sparse:
    """∂ᵥ(v f + T₀ ∂ᵥf) on cells with centres v: a Chang-Cooper scheme in its symmetrised form.

    The flux through the face between the cells j and j + 1 is

        T₀ M_{j+½} (f_{j+1}/M_{j+1} − f_j/M_j)/dv,   M = exp(−v²/2T₀),

    and zero through the ends. So M is stationary to rounding, Σf is kept, the exponential of the
    matrix has no negative entry and Σ f log(f/M) decreases. Second order in dv; with M at the face
    itself that error is quadratic in f − M for the mean and the variance of v.
    """
    dv = v[1] - v[0]
    face = 0.5 * (v[1:] + v[:-1])
    down = np.append(0.0, np.exp((v[1:] ** 2 - face**2) / (2 * temperature)))  # M_{j−½}/M_j
    up = np.append(np.exp((v[:-1] ** 2 - face**2) / (2 * temperature)), 0.0)  # M_{j+½}/M_j
    columns = np.stack([down, -(down + up), up])  # what leaves each cell, and where to
    matrix = dia_array((columns, [1, 0, -1]), shape=(len(v), len(v)))
    return csr_array(temperature / dv**2 * matrix)


def relaxation(v: Velocities, temperature: float, strength: float) -> Matrix:
    """The matrix (n_v × n_v) of a collision step with εΔt = `strength`.

    It is the exact exponential of the operator on cells an eighth as wide, between which f is its
    trigonometric interpolant, projected back on the modes of the grid: the error in dv is 64 times
    smaller for the same time of a step. Σf is kept to rounding; so is M, which the grid resolves.
    Raises ValueError if it does not.
    """
    widest = WIDEST * math.sqrt(temperature)
    if v[1] - v[0] > widest:
        raise Unresolved(
            f"cells: their width in v is {v[1] - v[0]:.3g} and must be below {widest:.3g} to "
            "resolve the Maxwellian; take more cells in v"
        )
    fine = refined(v)
    operator = collision_operator(fine, temperature)
    stiffness = strength * float(abs(operator).sum(axis=0).max())
    halvings = max(0, math.ceil(math.log2(stiffness / STIFFEST)))
    spread = exponential(strength / 2**halvings * operator, to_cells(np.eye(len(v)), v, fine))
    matrix = np.linalg.matrix_power(to_cells(spread, fine, v), 2**halvings)
    return matrix / matrix.sum(axis=0)  # one to rounding; so the mass does not drift in many steps


def exponential(operator: Sparse, f: Matrix) -> Matrix:
    """exp(A) f for an operator A that keeps Σf and has no negative entry off its diagonal.

    With A = r (P − I) and r the largest rate at which a cell is left, P is a matrix of
    probabilities and exp(A) = e^{−r} Σ rᵏ/k! Pᵏ, a mean: nothing cancels (uniformisation). For
    r up to 700, beyond which e^{−r} is no number.
    """
    rate = -float(operator.diagonal().min())
    chances = csr_array(operator / rate + eye_array(len(f)))
    weight, k = math.exp(-rate), 0
    term = weight * f
    total = term.copy()
    while k < rate or weight > NOTHING:
        k += 1
        weight *= rate / k
        term = rate / k * (chances @ term)
        total += term
    return total


def refined(v: Velocities) -> Velocities:
    """The centres of cells an eighth as wide, from end to end of the same interval."""
    number = REFINEMENT * len(v)
    return (v[1] - v[0]) / REFINEMENT * (np.arange(number) - 0.5 * (number - 1))


def to_cells(f: Matrix, v: Velocities, target: Velocities) -> Matrix:
    """The columns of f from the cells v to others of the same interval, mode by mode."""
    modes = min(len(v), len(target)) // 2 + 1
    k = 2 * np.pi * np.arange(modes) / (len(v) * (v[1] - v[0]))
    shift = np.exp(1j * k * (target[0] - v[0]))
    found = np.fft.rfft(f, axis=0)[:modes] * shift[:, None]
    return np.fft.irfft(found, n=len(target), axis=0) * (len(target) / len(v))


def own_moments(f: Rows, v: Velocities) -> tuple[Profile, Profile]:
    """ū(x) and T(x) of f itself; where there is next to nothing of f, those of all of it."""
    total = f.sum(axis=0)
    mean = v @ total / total.sum()
    overall = (v - mean) ** 2 @ total / total.sum()
    density = f.sum(axis=1)
    there = density > EMPTY * density.max()
    over = np.where(there, density, 1.0)
    velocity = np.where(there, f @ v / over, mean)
    square = (v[None, :] - velocity[:, None]) ** 2
    return velocity, np.where(there, np.sum(square * f, axis=1) / over, overall)


def relax_rows(
    f: Rows, v: Velocities, velocity: Profile, temperature: Profile, strength: float
) -> Rows:
    """f after a collision with εΔt = `strength`, with a bath of its own in every row.

    The Ornstein-Uhlenbeck process is v' = ū + e^{−εΔt} (v − ū) plus a Gaussian of the variance
    T (1 − e^{−2εΔt}), so that

        f̂'(k) = exp(−ikū (1 − e^{−εΔt}) − ½ T (1 − e^{−2εΔt}) k²) f̂(e^{−εΔt} k),

    spectrally exact for f that vanishes at the ends. Σf is kept to rounding.
    """
    k = 2 * np.pi * np.fft.rfftfreq(len(v), v[1] - v[0])
    found = f @ np.exp(-1j * math.exp(-strength) * np.outer(v, k))
    moved = np.outer(velocity, k) * -math.expm1(-strength) - v[0] * k
    spread = 0.5 * np.outer(temperature * -math.expm1(-2 * strength), k**2)
    return np.fft.irfft(found * np.exp(-1j * moved - spread), n=len(v), axis=1)
