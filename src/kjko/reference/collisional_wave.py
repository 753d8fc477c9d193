"""Waves of a plasma with collisions of any strength about a Maxwellian that they leave alone.

With f = f₀ + Σ aₙ(t) e^{ikx} f₀ Heₙ(w)/√n!, w = (v − ū)/√T along the wave, the linear equation is

    daₙ/dt = −ik√T (√n aₙ₋₁ + √(n+1) aₙ₊₁) − νₙ aₙ − δₙ₁ iω_p²/(k√T) a₀,

as ∇ᵥ·((v − ū) f + T ∇ᵥf) multiplies Heₙ f₀ by −n: νₙ = nε for friction with a bath. Dougherty's
collisions within a cell give back momentum and energy, so that ν₁ = ν₂ = 0 in one dimension. The
eigenvalues −iω + γ are discrete; for ε → 0 the least damped becomes Landau's root (C. S. Ng,
A. Bhattacharjee, F. Skiff, Phys. Rev. Lett. 83, 1974, 1999).
"""

import numpy as np

from kjko.reference.dispersion import wave_root

DECAY = 37.0  # the logarithm by which coefficients have fallen where the sum is cut
FEWEST = 40  # coefficients
WEAKEST = 0.02  # ε/(k√T), below which rounding spoils the eigenvalues of so many coefficients


def collisional_root(
    wave_number: float, density: float, temperature: float, rate: float, conserves: bool = False
) -> complex:
    """ω + iγ of the least damped wave, ω ≥ 0, in the frame of the plasma.

    `density`: ω_p². `rate`: ε > 0; of weak collisions the root is on the line between that without
    and that of stronger ones. `conserves`: whether collisions keep momentum and energy of a cell,
    in one dimension.
    """
    thermal = wave_number * np.sqrt(temperature)
    if rate < WEAKEST * thermal:
        free = wave_root(wave_number, [density], [0.0], [temperature])
        some = collisional_root(wave_number, density, temperature, WEAKEST * thermal, conserves)
        return free + rate / (WEAKEST * thermal) * (some - free)
    number = FEWEST + int((DECAY * thermal / rate) ** (2 / 3))
    damping = rate * np.arange(number)
    if conserves:
        damping[1:3] = 0.0
    flight = -1j * thermal * np.sqrt(np.arange(1, number))
    matrix = np.diag(flight, -1) + np.diag(flight, 1) - np.diag(damping)
    matrix[1, 0] -= 1j * density / thermal
    found = np.linalg.eigvals(matrix)
    least = found[np.argmax(found.real)]
    return complex(abs(least.imag), least.real)
