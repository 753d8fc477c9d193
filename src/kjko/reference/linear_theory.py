"""Frequency and growth rate of a run's wave, in theory and as its field energy shows them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from kjko.collisions import Dougherty, FokkerPlanck
from kjko.flow import AbstractOwnField
from kjko.initial import CosinePosition, Product
from kjko.problem import Problem
from kjko.reference.collisional_wave import collisional_root
from kjko.reference.dispersion import debye_ratio, wave_root
from kjko.reference.wave_fit import Wave, measure_wave

SMALL = 0.1 + 1e-6  # amplitude of the density up to which the linear theory is asked
WEAK = 0.01  # ε/ω_p of collisions that change the velocities, up to which they are left out
FINE = 16  # cells a wave, from which on collisions within one are local
SHORT = 1.0  # k λ_D from which on a wave is gone within a period
TRANSIENT = 2.5  # times the e-folding time of a growing wave, until it is alone
SATURATED = 0.03  # of the largest field energy: the end of linear growth
ALONE = 1.5  # half periods of a damped wave until it is: past the first peak of its energy
FADED = 5.0  # logarithm by which the energy of a damped wave falls before it is left


class LinearWave(NamedTuple):
    """E ~ exp(i k x − iωt + γt): `wave_number` k, `frequency` ω, `rate` γ."""

    wave_number: float
    frequency: float
    rate: float


def linear_wave(problem: Problem) -> LinearWave | None:
    """The least damped of the waves that the initial density excites.

    Of a plasma that drifts as a whole in its own frame, since ∫|E|² does not see the drift. With
    collisions, of any strength, where they leave the Maxwellian alone that the wave is on. None
    where the theory is not for it: another force than the particles' own field, a density that is
    no small cosine wave of the box or one shorter than the Debye length, velocities that are no
    Maxwellians, or collisions that change them and are not weak.
    """
    law, frequency = problem.law, problem.plasma_frequency
    if not isinstance(problem.flow, AbstractOwnField) or frequency is None:
        return None
    if not (isinstance(law, Product) and isinstance(law.position, CosinePosition)):
        return None
    position = law.position
    amplitude, mode, length = (
        np.asarray(p, dtype=float) for p in (position.amplitude, position.mode, position.length)
    )
    waves = [i for i in range(mode.size) if mode[i] > 0 and amplitude[i] != 0]
    if position.literal or not waves or np.abs(amplitude).max() > SMALL:
        return None
    densities = frequency**2 * np.asarray(law.weights, dtype=float)
    found = []
    for i in waves:
        k = float(2 * np.pi * mode[i] / length[i])
        drifts = np.asarray(law.means, dtype=float)[:, i]
        temperatures = np.asarray(law.covariances, dtype=float)[:, i, i]
        if debye_ratio(k, densities.tolist(), temperatures.tolist()) > SHORT:
            continue
        root = _root(problem, i, k, densities, drifts, temperatures)
        if root is not None:
            found.append(LinearWave(k, root.real, root.imag))
    return max(found, key=lambda wave: wave.rate, default=None)


def _root(
    problem: Problem,
    axis: int,
    k: float,
    densities: np.ndarray,
    drifts: np.ndarray,
    temperatures: np.ndarray,
) -> complex | None:
    """ω + iγ of a wave along an axis; None if it is not known."""
    rate = _collision_rate(problem)
    if rate > 0 and _is_at_rest(problem, axis):
        mesh = problem.collisions.mesh if isinstance(problem.collisions, Dougherty) else None
        if mesh is not None:
            wave = 2 * np.pi / (k * mesh.length[axis])  # over the box
            if mesh.number_of_cells[axis] * wave < FINE:
                return None  # moments of a cell are not those of a place
        conserves = mesh is not None
        return collisional_root(k, float(densities.sum()), float(temperatures[0]), rate, conserves)
    if rate > WEAK * np.sqrt(densities.sum()):
        return None
    drifts = drifts - drifts[0] if np.ptp(drifts) == 0 else drifts
    return wave_root(k, densities.tolist(), drifts.tolist(), temperatures.tolist())


def _is_at_rest(problem: Problem, axis: int) -> bool:
    """Whether the velocities along an axis are what collisions relax to, in a way that is known."""
    law, collisions = problem.law, problem.collisions
    assert isinstance(law, Product)
    means, covariances = (np.asarray(a, dtype=float) for a in (law.means, law.covariances))
    if len(means) > 1:
        return False
    mean, temperature = means[0, axis], covariances[0, axis, axis]
    if isinstance(collisions, FokkerPlanck):
        return bool(mean == 0 and np.isclose(temperature, float(collisions.temperature)))
    if isinstance(collisions, Dougherty):
        one = means.shape[1] == 1
        return one or (collisions.mesh is None and _is_isotropic(covariances[0]))
    return False


def _is_isotropic(covariance: np.ndarray) -> bool:
    return bool(np.allclose(covariance, covariance[0, 0] * np.eye(len(covariance))))


def _collision_rate(problem: Problem) -> float:
    """ε; zero without collisions."""
    two = jnp.asarray([[0.0], [1.0]])
    bath = problem.collisions.freeze(two, two)
    return 0.0 if bath is None else float(jnp.max(bath.rate))


def measured_wave(
    records: Sequence[dict[str, Any]], theory: LinearWave
) -> tuple[Wave, tuple[float, float]] | None:
    """ω and γ of the field energy, and the window in time that they are from.

    A damped wave is looked at from the second peak of its energy on, as others that fall faster
    have a part in the first, until it has fallen by e⁵ in theory; a growing one from 2.5/γ on,
    until its energy is 3 % of the largest. None if that leaves too little, or no swing of a damped
    wave.
    """
    times = np.array([record["time"] for record in records], dtype=float)
    energy = np.array([record.get("field_energy") for record in records], dtype=float)
    if not np.isfinite(energy).all():  # not all of it was recorded
        return None
    if theory.rate > 0:
        window = (TRANSIENT / theory.rate, times[np.argmax(energy > SATURATED * energy.max())])
    else:
        alone = ALONE * np.pi / theory.frequency if theory.frequency > 1e-9 else 0.0
        window = (alone, min(times[-1], FADED / (2 * max(-theory.rate, 1e-9))))
    inside = (times >= window[0]) & (times <= window[1])
    if inside.sum() < 10 or not np.all(energy[inside] > 0):
        return None
    wave = measure_wave(times, energy, window)
    if theory.rate <= 0 and wave.frequency is None:
        return None  # gone before it has swung often enough: a slope would be the transient's
    return wave, (float(window[0]), float(window[1]))
