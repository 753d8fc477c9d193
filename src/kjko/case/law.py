"""The initial laws that a case can name."""

# pyright: reportInvalidTypeForm=false
# The types of parts are made from what is registered.

import logging
from typing import Any

import numpy as np

from kjko.case.checks import BadInput, at, positive_definite, vector
from kjko.case.parts import Here, Table, any_of, part
from kjko.case.values import Amplitude, Integer, Matrix, NotNegative, Positive, Vector, Whole
from kjko.initial import CosinePosition, Gaussian, GaussianMixture, GaussianPosition, Product, Waves

log: logging.Logger = logging.getLogger(__name__)
SPREAD = "widths, temperatures or covariances"


@part("position", "gaussian")
def gaussian_position(here: Here, mean: Vector, covariance: Matrix):
    """Normal in x.

    mean [length]: one number for each coordinate
    covariance [length²]: d × d
    """
    here.needs_no_box("gaussian", "cosine")
    d = here.dimension
    return GaussianPosition(
        vector(f"{here.path}.mean", mean, d),
        positive_definite(f"{here.path}.covariance", covariance, d),
    )


@part("position", "cosine")
def cosine_position(
    here: Here,
    amplitude: list[Amplitude],
    mode: list[Whole] | None = None,
    wave_number: list[NotNegative] | None = None,
    literal: bool = False,
):
    """ρ ∝ Πᵢ (1 + aᵢ cos(kᵢ xᵢ)), in a box; one of mode and wave_number.

    amplitude: a, one for each coordinate
    mode: waves in the box, one for each coordinate
    wave_number [1/length]: k, one for each coordinate
    literal: keep a wave number that does not fit the box
    """
    box_length = here.sides("cosine", "gaussian")
    length = np.asarray(box_length, dtype=float)
    amplitudes = vector(f"{here.path}.amplitude", amplitude, length.size)
    modes = _modes(here.path, mode, wave_number, literal, length)
    return CosinePosition(box_length, amplitudes, modes, literal)


@part("position", "waves")
def waves(
    here: Here,
    amplitude: list[Amplitude],
    mode: list[list[Integer]],
    phase: Vector | None = None,
):
    """ρ ∝ 1 + Σⱼ aⱼ cos(kⱼ·x + φⱼ), single waves of any direction, in a box.

    amplitude: a, one for each wave
    mode: waves along each side of the box, a list for each amplitude
    phase: φ, zero if not given
    """
    d, length = here.dimension, here.sides("waves", "gaussian")
    if len(mode) != len(amplitude) or not mode:
        raise BadInput(
            f"{here.path}.mode: expected a list of {d} whole numbers for each of"
            f" {len(amplitude)} amplitudes, got {len(mode)}"
        )
    modes = [vector(f"{here.path}.mode.{i}", one, d) for i, one in enumerate(mode)]
    phases = vector(
        f"{here.path}.phase", phase or [0.0] * len(mode), len(mode), f"{here.path}.mode"
    )
    return Waves(length, np.array(amplitude), np.stack(modes), phases)


def _modes(
    where: str,
    mode: list[int] | None,
    wave_number: list[float] | None,
    literal: bool,
    length: np.ndarray,
) -> np.ndarray:
    """Waves in the box. One that the box cuts is refused, or warned of if it is meant literally."""
    if (mode is None) == (wave_number is None):
        got = "neither" if mode is None else "both"
        raise BadInput(
            f"{where}.mode: expected either mode or wave_number, got {got}; set the table with one"
        )
    if mode is not None:
        return vector(f"{where}.mode", mode, length.size)
    k = vector(f"{where}.wave_number", wave_number or [], length.size)
    modes = k * length / (2 * np.pi)
    cut = np.abs(modes - np.round(modes)) > 1e-6 * np.maximum(modes, 1)
    if not cut.any():
        return np.round(modes)
    i = int(np.argmax(cut))
    what = (
        f"{where}.wave_number: expected a multiple of 2 pi/length = {2 * np.pi / length[i]:.6g},"
        f" got {k[i]:g}"
    )
    if not literal:
        nearest = max(np.round(modes[i]), 1) * 2 * np.pi / length[i]
        raise BadInput(f"{what}; take {nearest:.6g}, or literal = true to keep a wave that is cut")
    log.warning("%s; kept literally, the density jumps at the end of the box", what)
    return modes


class VelocityTable(Table):
    """A mixture of normal laws, of one of widths, temperatures and covariances.

    means [velocity]: one number for each velocity, a list for each law
    widths [velocity]: standard deviations, a number for each law, or one for each of its velocities
    temperatures [velocity²]: a number for each law, or one for each of its velocities
    covariances [velocity²]: a d × d matrix for each law
    weights: of sum one, equal if not given
    """

    means: Matrix
    widths: list[Positive | list[Positive]] | None = None
    temperatures: list[Positive | list[Positive]] | None = None
    covariances: list[Matrix] | None = None
    weights: list[Positive] | None = None

    def build(self, where: str, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, covariances and weights."""
        k = len(self.means)
        if k == 0:
            raise BadInput(f"{where}.means: expected at least one list of length {d}, got none")
        source = "problem.dimension and velocity_dimension"
        means = [vector(f"{where}.means.{i}", m, d, source) for i, m in enumerate(self.means)]
        given = [1 / k] * k if self.weights is None else self.weights
        weights = vector(f"{where}.weights", given, k, f"{where}.means")
        if abs(weights.sum() - 1) > 1e-6:
            raise BadInput(
                f"{where}.weights: expected numbers of sum 1, got the sum {weights.sum():g}"
            )
        return np.array(means), self._covariances(where, k, d), weights

    def _covariances(self, where: str, k: int, d: int) -> np.ndarray:
        spread = {"widths": self.widths, "temperatures": self.temperatures}
        named = {n: g for n, g in (spread | {"covariances": self.covariances}).items() if g}
        if len(named) != 1:
            got = " and ".join(named) or "none"
            raise BadInput(f"{where}.widths: expected one of {SPREAD}, got {got}; set one")
        ((name, given),) = named.items()
        if len(given) != k:
            raise BadInput(
                f"{where}.{name}: expected a list of length {k}, got length {len(given)}; it"
                f" follows from {where}.means"
            )
        if name == "covariances":
            where = f"{where}.covariances"
            each = enumerate(self.covariances or [])
            return np.array([positive_definite(f"{where}.{i}", m, d) for i, m in each])
        power = 2 if name == "widths" else 1
        diagonals = [_each(f"{where}.{name}.{i}", one, d) for i, one in enumerate(given)]
        return np.stack([np.diag(diagonal**power) for diagonal in diagonals])


def _each(path: str, given: Any, d: int) -> np.ndarray:
    """A number for each of d velocities."""
    if isinstance(given, list):
        return vector(path, given, d, "problem.dimension and velocity_dimension")
    return np.full(d, float(given))


def _of_both(here: Here, kind: str) -> int:
    """The dimension of x and of v, for a law of both together."""
    d_x, d = here.dimension, here.velocity_dimension
    if d != d_x:
        raise BadInput(
            f"{here.path}.kind: {kind} is for velocity_dimension = dimension, got {d} and {d_x};"
            " use product"
        )
    here.needs_no_box(kind, "product with a cosine position")
    return d


@part("law", "gaussian")
def gaussian(here: Here, mean: Vector, covariance: Matrix):
    """Normal in (x, v).

    mean [length, velocity]: of x, then of v
    covariance [products of these]: 2d × 2d, of x and v
    """
    d = _of_both(here, "gaussian")
    return Gaussian(  # pyright: ignore[reportCallIssue]  it takes properties for fields
        vector(f"{here.path}.mean", mean, 2 * d),
        positive_definite(f"{here.path}.covariance", covariance, 2 * d),
    )


@part("law", "gaussian-mixture")
def gaussian_mixture(
    here: Here, means: Matrix, covariances: list[Matrix], weights: list[Positive] | None = None
):
    """Several normal laws in (x, v).

    means [length, velocity]: a list of 2d numbers for each
    covariances [products of these]: a 2d × 2d matrix for each
    weights: of sum one, equal if not given
    """
    d, k = _of_both(here, "gaussian-mixture"), len(means)
    if k == 0 or len(covariances) != k:
        raise BadInput(
            f"{here.path}.covariances: expected a matrix for each of {k} means, got"
            f" {len(covariances)}"
        )
    centers = [vector(f"{here.path}.means.{i}", m, 2 * d) for i, m in enumerate(means)]
    widths = [
        positive_definite(f"{here.path}.covariances.{i}", m, 2 * d)
        for i, m in enumerate(covariances)
    ]
    given = vector(f"{here.path}.weights", weights or [1 / k] * k, k, f"{here.path}.means")
    with at(here.path):
        return GaussianMixture(np.stack(centers), np.stack(widths), given)


@part("law", "product")
def product(here: Here, position: any_of("position"), velocity: VelocityTable):
    """A law of x times one of v.

    position: the law of x
    velocity: the law of v, a mixture of normal laws
    """
    in_x = position.build(here.at(f"{here.path}.position"))
    where = f"{here.path}.velocity"
    means, covariances, weights = velocity.build(where, here.velocity_dimension)
    with at(where):
        return Product(in_x, means, covariances, weights)  # pyright: ignore[reportCallIssue]
