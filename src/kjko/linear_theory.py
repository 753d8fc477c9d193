"""Frequency and growth rate of a run's wave, in theory and as its field energy shows them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kjko.laws import CosinePosition, Product
from kjko.problem import Problem
from kjko.reference import Wave, debye_ratio, measure_wave, wave_root

SMALL = 0.1  # amplitude of the density for which the linear theory is asked
WEAK = 0.01  # ε/ω_p for which it is asked without collisions
SHORT = 1.0  # k λ_D from which on a wave is gone within a period
TRANSIENT = 2.5  # times the e-folding time of a growing wave, until it is alone
SATURATED = 0.03  # of the largest field energy: the end of linear growth
FADED = 4.3  # logarithm by which the energy of a damped wave falls before it is left


class LinearWave(NamedTuple):
    """E ~ exp(i k x − iωt + γt): `wave_number` k, `frequency` ω, `rate` γ."""

    wave_number: float
    frequency: float
    rate: float


def linear_wave(problem: Problem) -> LinearWave | None:
    """The least damped of the waves that the initial density excites, without collisions.

    None where the theory is not for it: an external force, a density that is no small cosine wave
    of the box or one shorter than the Debye length, velocities that are no Maxwellians, or
    collisions that are not weak.
    """
    law, frequency = problem.law, problem.plasma_frequency
    if frequency is None or problem.collision_rate > WEAK * frequency:
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
        if debye_ratio(k, densities.tolist(), temperatures.tolist()) <= SHORT:
            root = wave_root(k, densities.tolist(), drifts.tolist(), temperatures.tolist())
            found.append(LinearWave(k, root.real, root.imag))
    return max(found, key=lambda wave: wave.rate, default=None)


def measured_wave(
    records: Sequence[dict[str, Any]], theory: LinearWave
) -> tuple[Wave, tuple[float, float]] | None:
    """ω and γ of the field energy, and the window in time that they are from.

    A damped wave is looked at until its energy has fallen by e^4.3 in theory; a growing one from
    2.5/γ on, until its energy is 3 % of the largest. None if that leaves too little.
    """
    times = np.array([record["time"] for record in records], dtype=float)
    energy = np.array([record["field_energy"] for record in records], dtype=float)
    if theory.rate > 0:
        window = (TRANSIENT / theory.rate, times[np.argmax(energy > SATURATED * energy.max())])
    else:
        window = (0.0, min(times[-1], FADED / (2 * max(-theory.rate, 1e-9))))
    inside = (times >= window[0]) & (times <= window[1])
    if inside.sum() < 10 or not np.all(energy[inside] > 0):
        return None
    return measure_wave(times, energy, window), (float(window[0]), float(window[1]))
