"""The least damped wave of a plasma with collisions, by another discretisation and in limits."""

import numpy as np
import pytest

from kjko.reference.collisional_wave import WEAKEST, collisional_root
from kjko.reference.dispersion import wave_root


def on_a_grid(k, temperature, rate, conserves, nodes):
    """The same of an equation in v, by differences of f/f₀ on a mesh of velocities."""
    v, h = np.linspace(-8, 8, nodes, retstep=True)
    v, h = v * np.sqrt(temperature), h * np.sqrt(temperature)
    rest = np.exp(-0.5 * v**2 / temperature) / np.sqrt(2 * np.pi * temperature)
    between = np.exp(-0.5 * (0.5 * (v[1:] + v[:-1])) ** 2 / temperature)
    between *= temperature / np.sqrt(2 * np.pi * temperature) / h**2
    flux = np.zeros((nodes - 1, nodes))
    rows = np.arange(nodes - 1)
    flux[rows, rows], flux[rows, rows + 1] = -between / rest[:-1], between / rest[1:]
    collide = np.zeros((nodes, nodes))
    collide[:-1] += flux
    collide[1:] -= flux
    slope = -v / temperature * rest  # of f₀
    if conserves:  # −ū ∂ᵥf₀ + δT ∂ᵥ²f₀
        bend = (v**2 / temperature - 1) / temperature * rest
        collide += h * (np.outer(-slope, v) + np.outer(bend, v**2 - temperature))
    field = -1j / k * h * np.ones(nodes)  # E of f
    matrix = -1j * k * np.diag(v) + rate * collide - np.outer(slope, field)
    found = np.linalg.eigvals(matrix)
    least = found[np.argmax(found.real)]
    return abs(least.imag) + 1j * least.real


@pytest.mark.parametrize(
    ("k", "temperature", "rate", "conserves"),
    [(0.5, 1.0, 0.1, False), (0.5, 1.0, 0.1, True), (0.4, 2.0, 0.3, False), (0.4, 2.0, 1.0, True)],
)
def test_against_a_mesh_of_velocities(k, temperature, rate, conserves):
    found = collisional_root(k, 1.0, temperature, rate, conserves)
    coarse, fine = (on_a_grid(k, temperature, rate, conserves, n) for n in (151, 301))
    assert found == pytest.approx(fine + (fine - coarse) / 3, abs=2e-5)  # of second order


@pytest.mark.parametrize("k", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("conserves", [False, True])
def test_weak_collisions(k, conserves):
    """Landau's root for ε → 0, and no step to what is found directly."""
    free = wave_root(k)
    assert collisional_root(k, 1.0, 1.0, 1e-9, conserves) == pytest.approx(free, abs=1e-7)
    edge = WEAKEST * k
    below, above = (collisional_root(k, 1.0, 1.0, f * edge, conserves) for f in (0.999, 1.001))
    assert below == pytest.approx(above, abs=1e-4)
    half = collisional_root(k, 1.0, 1.0, 0.5 * edge, conserves)
    assert abs(half - free) < abs(above - free)


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0])
def test_long_waves_are_oscillators_with_friction(rate):
    """λ² + ελ + ω_p² = 0, up to (kλ_D)²."""
    expected = max(np.roots([1, rate, 4.0]), key=lambda root: root.real)
    found = collisional_root(0.01, 4.0, 1.0, rate)
    assert found == pytest.approx(abs(expected.imag) + 1j * expected.real, abs=1e-3)
