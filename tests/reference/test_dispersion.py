"""Roots of the dispersion relation, and the fit of a wave to a field energy."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from kjko.reference.dispersion import dispersion, wave_root, wave_roots
from kjko.reference.wave_fit import measure_wave

ONE = ((1.0,), (0.0,), (1.0,))
BEAMS = ((0.5, 0.5), (2.4, -2.4), (1.0, 1.0))
BUMP = ((0.9, 0.1), (0.0, 4.5), (1.0, 0.25))


@pytest.mark.parametrize(
    ("wave_number", "frequency", "rate"),
    [(0.3, 1.15985, -0.01262), (0.4, 1.28506, -0.06613), (0.5, 1.41566, -0.15336)],
)
def test_langmuir_waves(wave_number, frequency, rate):
    root = wave_root(wave_number)
    assert root.real == pytest.approx(frequency, abs=5.1e-6)
    assert root.imag == pytest.approx(rate, abs=5.1e-6)


@pytest.mark.parametrize(
    ("drift", "wave_number", "rate"),
    [(2.4, 0.2, 0.22584), (3.0, 0.2, 0.28451), (5.0, 0.1, 0.31994)],
)
def test_two_beams(drift, wave_number, rate):
    root = wave_root(wave_number, (0.5, 0.5), (drift, -drift), (1.0, 1.0))
    assert root.imag == pytest.approx(rate, abs=5.1e-6)
    assert abs(root.real) < 1e-9


@pytest.mark.parametrize("plasma", [BEAMS, BUMP], ids=["two beams", "bump on tail"])
def test_a_growing_root_solves_the_integral_relation(plasma):
    """1 = Σ nₛ/k² ∫ Mₛ'(v)/(v − ω/k) dv for Im ω > 0, without special functions."""
    k, root = 0.3, wave_root(0.3, *plasma)
    assert root.imag > 0.1
    total = 0j
    for density, drift, temperature in zip(*plasma, strict=True):

        def integrand(v, u=drift, t=temperature):
            slope = -(v - u) / t * np.exp(-0.5 * (v - u) ** 2 / t) / np.sqrt(2 * np.pi * t)
            return slope / (v - root / k)

        ends = (drift - 12 * temperature**0.5, drift + 12 * temperature**0.5)
        total += density / k**2 * quad(integrand, *ends, complex_func=True, limit=200)[0]
    assert abs(total - 1) < 1e-9


@pytest.mark.parametrize("plasma", [ONE, BEAMS, BUMP], ids=["one", "two beams", "bump on tail"])
@pytest.mark.parametrize("wave_number", np.arange(1, 11) / 10)
def test_no_root_is_above_the_one_given(plasma, wave_number):
    """The winding number of D around the half plane above the root is zero, and one takes it in."""

    def zeros(floor):
        corners = [-30 + 1j * floor, 30 + 1j * floor, 30 + 20j, -30 + 20j, -30 + 1j * floor]
        way = np.concatenate(
            [a + (b - a) * np.linspace(0, 1, 12_001) for a, b in pairwise(corners)]
        )
        angle = np.unwrap(np.angle(dispersion(way, wave_number, *plasma)[0]))
        return round((angle[-1] - angle[0]) / (2 * np.pi))

    root = wave_root(wave_number, *plasma)
    assert zeros(root.imag + 0.01) == 0
    assert zeros(root.imag - 0.01) >= 1


def test_units():
    """Time in 1/√n, velocity in √T: ω(k; n, T, u) = √n ω(k √(T/n); 1, 1, u/√T)."""
    density, temperature, drift, k = 4.0, 2.0, 3.0, 0.7
    scale = np.sqrt(temperature / density)
    root = wave_root(k, (density,), temperatures=(temperature,))
    assert root == pytest.approx(2 * wave_root(k * scale))
    scaled = drift / np.sqrt(temperature)
    expected = 2 * wave_root(k * scale, (0.5, 0.5), (scaled, -scaled), (1.0, 1.0))
    each = (density / 2, density / 2)
    root = wave_root(k, each, (drift, -drift), (temperature, temperature))
    assert root == pytest.approx(expected)


def test_a_moving_plasma_shifts_the_frequencies():
    at_rest, moving = wave_roots(0.5)[:2], wave_roots(0.5, drifts=(0.3,))[:2]
    np.testing.assert_allclose(np.sort(moving), np.sort(at_rest) + 0.15, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), "wave_number: must be > 0"),
        ((0.5, (1.0, 1.0)), "need one number for each component"),
        ((0.5, (), (), ()), "need one number for each component"),
        ((0.5, (-1.0,)), "densities: must be > 0"),
        ((0.5, (1.0,), (0.0,), (0.0,)), "temperatures: must be > 0"),
    ],
)
def test_a_plasma_that_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        wave_roots(*arguments)


@pytest.mark.parametrize("rate", [-0.15, 0.1])
def test_measure_an_oscillation(rate):
    times = np.arange(0, 25, 0.05)
    wave = measure_wave(times, np.exp(2 * rate * times) * np.cos(1.4 * times + 0.3) ** 2 + 1e-30)
    assert wave.frequency == pytest.approx(1.4, rel=1e-3)
    assert wave.rate == pytest.approx(rate, rel=1e-3)


def test_the_error_of_a_rate_is_how_far_noise_moves_it():
    """Of peaks that are 5 % too high or too low, each by its own draw."""
    times = np.arange(0, 25, 0.05)
    swing = np.floor((1.4 * times + 0.3) / np.pi + 0.5).astype(int)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(200, swing.max() + 1))
    field = np.cos(1.4 * times + 0.3) ** 2 * np.exp(-0.1 * times) + 1e-30
    waves = [measure_wave(times, field * np.exp(each[swing])) for each in noise]
    rates, errors = np.array([(wave.rate, wave.rate_error) for wave in waves]).T
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.std(rates), rel=0.15)
    assert np.mean(np.abs(rates + 0.05) < 2 * errors) > 0.85


def test_noise_is_no_oscillation():
    """A wave in weak noise is seen, with ω to its error; peaks of noise alone are at odd times."""
    times, random = np.arange(0, 15, 0.05), np.random.default_rng(1)
    wave = np.exp(-0.15 * times) * np.cos(1.4 * times + 0.3)
    seen = {0.01: [], 10.0: []}
    for share, waves in seen.items():
        for _ in range(100):
            frequency, phase = random.normal(1.2, 0.6, 30), random.uniform(0, 2 * np.pi, 30)
            noise = np.cos(np.outer(times, frequency) + phase).sum(axis=1) / np.sqrt(15)
            found = measure_wave(times, (wave + share * noise) ** 2 + 1e-30)
            waves += [found[::2]] if found.frequency is not None else []
    assert len(seen[0.01]) == 100 and len(seen[10.0]) < 20
    frequency, error = np.transpose(seen[0.01])
    assert np.mean(frequency) == pytest.approx(1.4, abs=0.002)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(np.std(frequency), rel=0.5)


def test_low_peaks_count_for_little():
    """One that is e⁻³ of the first in energy, and half as high again by noise."""
    times = np.arange(0, 12, 0.05)
    field = np.cos(1.4 * times) ** 2 * np.exp(-0.3 * times) + 1e-30
    raised = np.where(times > 10.2, 1.5, 1.0)
    off = measure_wave(times, field * raised).rate - measure_wave(times, field).rate
    alike = 0.5 * np.log(1.5) * 2 / (10 * np.pi / 1.4)  # if all five had the same weight
    assert 0 < off < 0.7 * alike


def test_measure_a_growth_in_a_window():
    times = np.linspace(0, 40, 401)
    energy = 1e-6 / (np.exp(-0.5 * times) + 1e-6)  # saturates at t = 28
    wave = measure_wave(times, energy, window=(0.0, 10.0))
    assert wave.frequency is None and wave.rate_error is None
    assert wave.rate == pytest.approx(0.25, rel=1e-3)
    assert measure_wave(times, energy).rate < 0.22


def test_a_window_without_a_wave():
    times = np.linspace(0, 1, 11)
    with pytest.raises(ValueError, match="window: needs at least three times"):
        measure_wave(times, np.ones(11), window=(2.0, 3.0))
    with pytest.raises(ValueError, match="with a positive field energy"):
        measure_wave(times, np.zeros(11))
