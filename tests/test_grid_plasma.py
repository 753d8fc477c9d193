"""The grid solution with the self-consistent field: linear theory, recorded numbers and itself."""

import numpy as np
import pytest
from conftest import asymmetric_problem
from scipy import stats

import kjko
from kjko.reference import langmuir_root, measure_wave, poisson_grid_solution, two_beam_root


def wave_law(wave_number, amplitude, beams=(0.0,), width=1.0):
    """(1 + a cos kx)/L times equal beams, in a box of one wave, and the box."""
    box = kjko.Box(np.array([2 * np.pi / wave_number]))
    position = kjko.CosinePosition(box.length, np.array([amplitude]), np.ones(1))
    k = len(beams)
    means, covariances = np.array(beams)[:, None], np.full((k, 1, 1), width**2)
    return kjko.Product(position, means, covariances, np.full(k, 1 / k)), box


def plasma(wave_number, times, amplitude=1e-3, beams=(0.0,), width=1.0, **settings):
    """Mean density one."""
    law, box = wave_law(wave_number, amplitude, beams, width)
    length = 2 * np.pi / wave_number
    return poisson_grid_solution(law, box, times, mass=length, **settings)


def test_free_flight_in_a_box():
    """A plasma too thin to feel its field: f(t, x, v) = f(0, x − vt, v), at particles."""
    law, box = wave_law(0.5, 0.4, beams=(-1.0, 1.0))
    settings = {"collision_rate": 0.0, "mass": 1e-12, "cells": (48, 128), "time_step": 0.1}
    solution = poisson_grid_solution(law, box, [1.5], **settings)
    points = np.random.default_rng(3).uniform([-20, -3.5], [40, 3.5], size=(2000, 2))
    x, v = points[:, :1], points[:, 1:]
    start = 0.5 * (stats.norm.pdf(v, 1.0) + stats.norm.pdf(v, -1.0))
    expected = (1 + 0.4 * np.cos(0.5 * (x - 1.5 * v))) / (4 * np.pi) * start
    found = solution.at(1.5).log_f(x, v)
    np.testing.assert_allclose(found, np.log(1e-12 * expected[:, 0]), atol=1e-5)


def poisson_run(time_step):
    settings = {"collision_rate": 0.3, "cells": (32, 96), "time_step": time_step}
    return plasma(0.5, [0.8], amplitude=0.5, beams=(-1.0, 1.5), temperature=0.8, **settings)


def test_second_order_in_time():
    fine = poisson_run(0.0125).f
    steps = np.array([0.2, 0.1, 0.05])
    errors = [np.abs(poisson_run(step).f - fine).max() for step in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope > 1.75, errors


def test_mass_is_kept():
    mass = poisson_run(0.02).history.mass
    assert np.abs(mass / mass[0] - 1).max() < 1e-12


def test_mass_is_kept_where_the_density_rings():
    """Cells too wide for the beams: f goes negative and is not clipped."""
    solution = plasma(
        0.5, [2.0], 0.3, (-1.0, 1.0), 0.2, collision_rate=0.0, cells=(16, 64), time_step=0.1
    )
    mass = solution.history.mass
    assert solution.f.min() < -1e-5
    assert np.abs(mass / mass[0] - 1).max() < 1e-12
    assert solution.at(2.0).floor > 1e-3  # and is told


@pytest.mark.parametrize("wave_number", [0.4, 0.5])
def test_landau_damping(wave_number):
    solution = plasma(wave_number, [22.0], collision_rate=0.0, cells=(32, 192), time_step=0.05)
    history, root = solution.history, langmuir_root(wave_number)
    wave = measure_wave(history.time, history.energy_potential, window=(3.0, 22.0))
    assert wave.frequency == pytest.approx(root.real, rel=0.01)
    assert wave.rate == pytest.approx(root.imag, rel=0.01)
    energy = history.energy_kinetic + history.energy_potential
    assert np.ptp(energy) < 1e-3 * history.energy_potential[0]
    assert np.abs(history.momentum).max() < 1e-11


def test_collisions_damp_more():
    settings = {"cells": (32, 192), "time_step": 0.05}
    rates = []
    for collision_rate in (0.0, 0.1):
        history = plasma(0.5, [12.0], collision_rate=collision_rate, **settings).history
        rates.append(measure_wave(history.time, history.energy_potential, (3.0, 12.0)).rate)
    assert rates[1] < rates[0] - 0.005


@pytest.mark.parametrize(("drift", "wave_number"), [(2.4, 0.2), (3.0, 0.2), (5.0, 0.1)])
def test_two_beams_grow(drift, wave_number):
    settings = {"collision_rate": 0.0, "cells": (32, 192), "time_step": 0.1}
    solution = plasma(wave_number, [36.0], 1e-7, (-drift, drift), **settings)
    history = solution.history
    wave = measure_wave(history.time, history.energy_potential, window=(24.0, 36.0))
    assert wave.frequency is None
    assert wave.rate == pytest.approx(two_beam_root(wave_number, drift).imag, rel=0.01)


def test_the_field_energy_of_vlasov_poisson_fokker_planck():
    """Two cold beams, weak collisions; recorded from two other codes."""
    times = [0.1, 0.5, 1.0, 2.0, 3.0, 4.0]
    settings = {"collision_rate": 5e-3, "cells": (128, 192), "time_step": 0.02}
    solution = plasma(0.25, times, 0.1, (-0.3, 0.3), 0.1, velocity_end=5.0, **settings)
    history = solution.history
    squared_field = 2 * history.at(solution.times).energy_potential
    assert 2 * history.energy_potential[0] == pytest.approx(2.0106, rel=1e-4)
    np.testing.assert_allclose(squared_field, [1.990, 1.546, 0.584, 0.340, 1.847, 0.705], rtol=0.01)
    assert np.diff(history.free_energy).max() < 0


@pytest.mark.parametrize("name", ["collision_rate", "temperature", "mass"])
def test_a_plasma_that_is_refused(name):
    law, box = wave_law(0.5, 0.1)
    with pytest.raises(ValueError, match="must be >= 0, > 0 and > 0"):
        poisson_grid_solution(law, box, [1.0], **({"collision_rate": 0.0} | {name: -1.0}))
    with pytest.raises(ValueError, match="law: must be periodic"):
        poisson_grid_solution(asymmetric_problem(1).law, box, [1.0], collision_rate=0.0)
