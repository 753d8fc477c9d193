"""Electrostatic waves of a plasma without collisions: roots of the dispersion relation.

For a uniform plasma of Maxwellian components with densities nₛ, drifts uₛ and temperatures Tₛ, in
units of charge and mass one (so that ω_p² = Σ nₛ and the thermal width of a component is √Tₛ),

    D(ω, k) = 1 + Σₛ nₛ/(k² Tₛ) (1 + ζₛ Z(ζₛ)) = 0,   ζₛ = (ω/k − uₛ)/√(2Tₛ),   Z(ζ) = i√π w(ζ),

with the Faddeeva function w. A wave goes as exp(i(kx − ωt)); growth is Im ω > 0.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Complex
from scipy.special import wofz

SHORTEST = 10.0  # k λ_D, beyond which the least damped root is not found
STARTS = 40  # of Newton's iteration, along each axis of the complex plane
ITERATIONS = 50
CONVERGED = 1e-9  # of |D|
DISTINCT = 1e-7  # growth rates that differ by less are those of one wave and its mirror image

Frequencies = Complex[np.ndarray, "*shape"]


def dispersion(
    frequency: Frequencies,
    wave_number: float,
    densities: Sequence[float],
    drifts: Sequence[float],
    temperatures: Sequence[float],
) -> tuple[Frequencies, Frequencies]:
    """D and ∂D/∂ω at complex frequencies; Z' = −2 (1 + ζ Z)."""
    value, slope = np.ones_like(frequency), np.zeros_like(frequency)
    for density, drift, temperature in zip(densities, drifts, temperatures, strict=True):
        width = np.sqrt(2 * temperature)
        zeta = (frequency / wave_number - drift) / width
        z = 1j * np.sqrt(np.pi) * wofz(zeta)
        strength = density / (wave_number**2 * temperature)
        value = value + strength * (1 + zeta * z)
        slope = slope + strength * (z - 2 * zeta * (1 + zeta * z)) / (width * wave_number)
    return value, slope


def wave_roots(
    wave_number: float,
    densities: Sequence[float] = (1.0,),
    drifts: Sequence[float] = (0.0,),
    temperatures: Sequence[float] = (1.0,),
) -> Complex[np.ndarray, " m"]:
    """The roots ω + iγ near the real axis, the fastest growing or least damped first.

    Newton's iteration from a mesh of the frequencies that waves can have, |Re ω| up to
    k max|u| + √(ω_p² + 4k²T) with a margin; strongly damped roots, of which there are infinitely
    many, are not all found. Raises ValueError if an argument is out of range, for k λ_D
    beyond 10, and if none is found.
    """
    parts = (densities, drifts, temperatures)
    _check(wave_number, *parts)
    widest, lowest, highest = _extent(wave_number, *parts)
    real = np.linspace(-widest, widest, STARTS + 1)
    imaginary = np.linspace(lowest, highest, STARTS)
    omega = (real[:, None] + 1j * imaginary).ravel()
    with np.errstate(all="ignore"):  # w overflows far below the axis; such starts are dropped
        for _ in range(ITERATIONS):
            value, slope = dispersion(omega, wave_number, *parts)
            omega = omega - value / slope
        value, _ = dispersion(omega, wave_number, *parts)
        found = omega[np.abs(value) < CONVERGED]
    if not found.size:
        raise ValueError(f"wave_number: no wave found at {wave_number}")
    return _distinct(found)


def _check(
    wave_number: float,
    densities: Sequence[float],
    drifts: Sequence[float],
    temperatures: Sequence[float],
) -> None:
    lengths = {len(densities), len(drifts), len(temperatures)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("densities, drifts, temperatures: need one number for each component")
    for name, values in (
        ("wave_number", [wave_number]),
        ("densities", densities),
        ("temperatures", temperatures),
    ):
        if not min(values) > 0:
            raise ValueError(f"{name}: must be > 0, got {min(values)}")
    if debye_ratio(wave_number, densities, temperatures) > SHORTEST:
        raise ValueError(f"wave_number: must be at most {SHORTEST} over the Debye length")


def debye_ratio(
    wave_number: float, densities: Sequence[float], temperatures: Sequence[float]
) -> float:
    """k λ_D = k √T/ω_p, T that of the hottest component."""
    return float(wave_number * np.sqrt(max(temperatures) / sum(densities)))


def _extent(
    wave_number: float,
    densities: Sequence[float],
    drifts: Sequence[float],
    temperatures: Sequence[float],
) -> tuple[float, float, float]:
    """The largest |Re ω|, the lowest and the highest Im ω to start from."""
    thermal = wave_number * np.sqrt(max(temperatures))
    plasma = np.sqrt(sum(densities))
    widest = 1.5 * (wave_number * np.abs(drifts).max() + np.hypot(plasma, 2 * thermal))
    return widest, -2 * thermal, plasma


def _distinct(roots: Frequencies) -> Complex[np.ndarray, " m"]:
    """The fastest growing first, of equals the one of largest Re ω."""
    kept: list[complex] = []
    for root in sorted(roots.tolist(), key=lambda r: (-round(r.imag / DISTINCT), -r.real)):
        if all(abs(root - other) > DISTINCT for other in kept):
            kept.append(root)
    return np.array(kept)


def wave_root(
    wave_number: float,
    densities: Sequence[float] = (1.0,),
    drifts: Sequence[float] = (0.0,),
    temperatures: Sequence[float] = (1.0,),
) -> complex:
    """ω + iγ of the fastest growing or least damped wave; of ±ω the positive one."""
    return complex(wave_roots(wave_number, densities, drifts, temperatures)[0])
