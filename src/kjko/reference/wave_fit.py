"""Frequency and growth rate of a wave, from the energy of its field over time."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FEWEST_PEAKS = 3
REGULAR = 0.08  # of the time between peaks: how far they may be off equal times
PROMINENCE = 1.5  # of a peak of log ∫E² over the troughs beside it: noise in a trough is none

Series = Float[np.ndarray, " steps"]


class Wave(NamedTuple):
    """E ~ exp(γt) cos(ωt): `frequency` ω and `rate` γ, negative if it is damped.

    `frequency` is None where no oscillation is seen: ∫E² of a travelling wave has none.
    The errors are standard errors, by how far the peaks are off their lines; None without peaks, as
    neighbouring times err together.
    """

    frequency: float | None
    rate: float
    frequency_error: float | None = None
    rate_error: float | None = None


def measure_wave(
    times: Series, field_energy: Series, window: tuple[float, float] | None = None
) -> Wave:
    """ω and γ of a standing wave from ∫E² (or a multiple) at equally spaced `times`.

    ∫E² ~ exp(2γt) cos²(ωt): its peaks are π/ω apart and their logarithms on a line of slope 2γ.
    Each peak is that of the parabola through log ∫E² at the largest value and its neighbours, and
    has a weight in the line in proportion to its field, as noise has a field of its own. With fewer
    than three peaks in the `window` (start, end), or peaks at unequal times, as noise has them, no
    oscillation is seen, and the line is through log ∫E² at all times in it. The caller chooses the
    window: after the first transient, before the noise floor or the saturation.

    Raises ValueError if it holds fewer than three times or an energy that is not positive.
    """
    time, energy = np.asarray(times, dtype=float), np.asarray(field_energy, dtype=float)
    if window is not None:
        inside = (time >= window[0]) & (time <= window[1])
        time, energy = time[inside], energy[inside]
    if len(time) < 3 or not np.all(energy > 0):
        raise ValueError("window: needs at least three times, with a positive field energy")
    log_energy = np.log(energy)
    at, height = _peaks(time, log_energy)
    if len(at) >= FEWEST_PEAKS:
        apart, its_error, off = _line(np.arange(len(at), dtype=float), at)
        if off < REGULAR * apart:
            slope, error, _ = _line(at, height, np.exp(0.5 * (height - height.max())))
            frequency = np.pi / apart
            return Wave(frequency, 0.5 * slope, frequency * its_error / apart, 0.5 * error)
    return Wave(None, 0.5 * _line(time, log_energy)[0])


def _peaks(time: Series, values: Series) -> tuple[Series, Series]:
    """Where a series peaks and how high, between the times."""
    from scipy.signal import find_peaks  # slow to import

    before, here, after = values[:-2], values[1:-1], values[2:]
    rows = find_peaks(values, prominence=PROMINENCE)[0] - 1
    bend = before[rows] - 2 * here[rows] + after[rows]
    tilt = 0.5 * (after[rows] - before[rows])
    shift = -tilt / bend  # in time steps
    return time[rows + 1] + shift * (time[1] - time[0]), here[rows] - 0.5 * tilt**2 / bend


def _line(x: Series, y: Series, weights: Series | None = None) -> tuple[float, float, float]:
    """The slope of the line through three points or more, its standard error, and the standard
    deviation of the points from it. `weights`: of the distances.
    """
    line, covariance = np.polyfit(x, y, 1, w=weights, cov=True)
    off = np.sqrt(np.sum((y - np.polyval(line, x)) ** 2) / (len(x) - 2))
    return float(line[0]), float(np.sqrt(covariance[0, 0])), float(off)
