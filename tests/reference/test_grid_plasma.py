"""The grid solution with the self-consistent field: linear theory, recorded numbers and itself."""

import numpy as np
import pytest
from problems import asymmetric_problem
from scipy import stats

import kjko
from kjko.reference.dispersion import wave_root
from kjko.reference.grid import grid_solution
from kjko.reference.wave_fit import measure_wave


def wave_law(wave_number, amplitude, beams=(0.0,), width=1.0):
    """(1 + a cos kx)/L times equal beams, in a box of one wave, and the box."""
    box = kjko.Box(np.array([2 * np.pi / wave_number]))
    position = kjko.CosinePosition(box.length, np.array([amplitude]), np.ones(1))
    k = len(beams)
    means, covariances = np.array(beams)[:, None], np.full((k, 1, 1), width**2)
    return kjko.Product(position, means, covariances, np.full(k, 1 / k)), box


def poisson(law, box, collisions, mass, *more):
    """The problem with the particles' own field and what is given beside it."""
    field = kjko.Poisson(kjko.Mesh(box.length.tolist(), [16]))
    return kjko.Problem(kjko.Sum(field, *more) if more else field, collisions, law, box, mass)


def plasma(
    wave_number, times, amplitude=1e-3, beams=(0.0,), width=1.0, collisions=None, **settings
):
    """Mean density one; without collisions if none are given."""
    law, box = wave_law(wave_number, amplitude, beams, width)
    problem = poisson(law, box, collisions or kjko.NoCollisions(), 2 * np.pi / wave_number)
    return grid_solution(problem, times, **settings)


def test_free_flight_in_a_box():
    """A plasma too thin to feel its field: f(t, x, v) = f(0, x − vt, v), at particles."""
    law, box = wave_law(0.5, 0.4, beams=(-1.0, 1.0))
    problem = poisson(law, box, kjko.NoCollisions(), 1e-12)
    solution = grid_solution(problem, [1.5], cells=(32, 192), time_step=0.1)
    points = np.random.default_rng(3).uniform([-20, -3.5], [40, 3.5], size=(2000, 2))
    x, v = points[:, :1], points[:, 1:]
    start = 0.5 * (stats.norm.pdf(v, 1.0) + stats.norm.pdf(v, -1.0))
    expected = (1 + 0.4 * np.cos(0.5 * (x - 1.5 * v))) / (4 * np.pi) * start
    found = solution.at(1.5).log_f(x, v)
    np.testing.assert_allclose(found, np.log(1e-12 * expected[:, 0]), atol=1e-5)


def poisson_run(time_step):
    settings = {"cells": (32, 96), "time_step": time_step, "beams": (-1.0, 1.5)}
    return plasma(0.5, [0.8], amplitude=0.5, collisions=kjko.FokkerPlanck(0.3, 0.8), **settings)


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
    solution = plasma(0.5, [2.0], 0.3, (-1.0, 1.0), 0.2, cells=(16, 64), time_step=0.1)
    mass = solution.history.mass
    assert solution.f.min() < -1e-5
    assert np.abs(mass / mass[0] - 1).max() < 1e-12
    assert solution.at(2.0).floor > 1e-3  # and is told


@pytest.mark.parametrize("wave_number", [0.4, 0.5])
def test_landau_damping(wave_number):
    solution = plasma(wave_number, [22.0], cells=(32, 192), time_step=0.05)
    history, root = solution.history, wave_root(wave_number)
    wave = measure_wave(history.time, history.energy_potential, window=(3.0, 22.0))
    assert wave.frequency == pytest.approx(root.real, rel=0.01)
    assert wave.rate == pytest.approx(root.imag, rel=0.01)
    energy = history.energy_kinetic + history.energy_potential
    assert np.ptp(energy) < 1e-3 * history.energy_potential[0]
    assert np.abs(history.momentum).max() < 1e-11


def test_collisions_damp_more():
    settings = {"cells": (32, 192), "time_step": 0.1}
    rates = []
    for collisions in (kjko.NoCollisions(), kjko.FokkerPlanck(0.1)):
        history = plasma(0.5, [12.0], collisions=collisions, **settings).history
        rates.append(measure_wave(history.time, history.energy_potential, (3.0, 12.0)).rate)
    assert rates[1] < rates[0] - 0.005


def dougherty(box, rate, local):
    return kjko.Dougherty(rate, kjko.Mesh(box.length.tolist(), [16]) if local else None)


@pytest.mark.parametrize("local", [False, True], ids=["of all", "at every x"])
def test_collisions_of_the_particles_conserve(local):
    """Dougherty's operator in a Landau wave: mass, momentum and total energy; and it damps."""
    law, box = wave_law(0.5, 0.1, beams=(-0.5, 1.1))
    settings = {"cells": (32, 192), "time_step": 0.05}
    collisions = dougherty(box, 0.2, local)
    history, free = (
        grid_solution(poisson(law, box, by, 4 * np.pi), [10.0], **settings).history
        for by in (collisions, kjko.NoCollisions())
    )
    energy = history.energy_kinetic + history.energy_potential
    assert np.ptp(energy) < 1e-3 * history.energy_potential[0] < 1e-4 * energy[0]
    assert np.ptp(history.momentum) < 1e-10 * history.momentum[0]
    assert np.ptp(history.mass) < 1e-12 * history.mass[0]
    assert np.diff(history.entropy).max() < 1e-12
    assert history.entropy[-1] < free.entropy[-1] - 0.01
    assert np.isnan(history.free_energy).all()  # there is no bath


def test_collisions_of_all_or_of_each_place():
    """The same where f is uniform in x, and not in a wave."""
    ends = {}
    for amplitude in (0.0, 0.5):
        law, box = wave_law(0.5, amplitude, beams=(-0.5, 1.1))
        for local in (False, True):
            problem = poisson(law, box, dougherty(box, 0.5, local), 4 * np.pi)
            solution = grid_solution(problem, [1.0], cells=(16, 96), time_step=0.1)
            ends[amplitude, local] = solution.f[0]
    np.testing.assert_allclose(ends[0.0, True], ends[0.0, False], atol=1e-12)
    assert np.abs(ends[0.5, True] - ends[0.5, False]).max() > 1e-3


def test_a_given_potential_beside_the_field():
    """Energies of both, by name; together with the kinetic one they are kept."""
    law, box = wave_law(0.5, 0.2)
    sine = kjko.External(kjko.Sine(box.length, 0.3))
    problem = poisson(law, box, kjko.NoCollisions(), 4 * np.pi, sine)
    solution = grid_solution(problem, [5.0], cells=(32, 192), time_step=0.05)
    history, x = solution.history, solution.grid.x
    energy = history.energy_kinetic + history.energy_potential
    assert np.ptp(energy) < 1e-3 * history.energy_field[0]
    density = solution.at(5.0).marginal_x()
    external = solution.grid.dx * 0.3 * np.sin(0.5 * x) @ density
    found = history.energy_potential[-1] - history.energy_field[-1]
    assert found == pytest.approx(external, rel=1e-6)
    alone = grid_solution(
        poisson(law, box, kjko.NoCollisions(), 4 * np.pi), [5.0], cells=(32, 192), time_step=0.05
    )
    np.testing.assert_array_equal(alone.history.energy_field, alone.history.energy_potential)
    assert np.abs(alone.f - solution.f).max() > 0.01  # the potential acts
    assert abs(history.energy_field[0] - alone.history.energy_field[0]) < 1e-12


@pytest.mark.parametrize(("drift", "wave_number"), [(2.4, 0.2), (3.0, 0.2), (5.0, 0.1)])
def test_two_beams_grow(drift, wave_number):
    settings = {"cells": (32, 192), "time_step": 0.1}
    solution = plasma(wave_number, [36.0], 1e-7, (-drift, drift), **settings)
    history = solution.history
    wave = measure_wave(history.time, history.energy_potential, window=(24.0, 36.0))
    assert wave.frequency is None
    root = wave_root(wave_number, (0.5, 0.5), (drift, -drift), (1.0, 1.0))
    assert wave.rate == pytest.approx(root.imag, rel=0.01)


def test_the_field_energy_of_vlasov_poisson_fokker_planck():
    """Two cold beams, weak collisions; recorded from two other codes."""
    times = [0.1, 0.5, 1.0, 2.0, 3.0, 4.0]
    settings = {"cells": (128, 192), "time_step": 0.02, "velocity_end": 5.0}
    weak = kjko.FokkerPlanck(5e-3)
    solution = plasma(0.25, times, 0.1, (-0.3, 0.3), 0.1, weak, **settings)
    history = solution.history
    squared_field = 2 * history.at(solution.times).energy_potential
    assert 2 * history.energy_potential[0] == pytest.approx(2.0106, rel=1e-4)
    np.testing.assert_allclose(squared_field, [1.990, 1.546, 0.584, 0.340, 1.847, 0.705], rtol=0.01)
    assert np.diff(history.free_energy).max() < 0


def test_a_plasma_that_is_refused():
    law, box = wave_law(0.5, 0.1)
    for make, message in (
        (lambda: kjko.FokkerPlanck(-1.0), "rate: must be > 0"),
        (lambda: kjko.FokkerPlanck(1.0, -1.0), "temperature: must be > 0"),
        (lambda: kjko.NoCollisions(-1.0), "temperature: must be > 0"),
        (lambda: kjko.Dougherty(-1.0), "rate: must be > 0"),
        (lambda: poisson(law, box, kjko.FokkerPlanck(), -1.0), "mass: must be > 0"),
        (
            lambda: poisson(asymmetric_problem(1).law, box, kjko.NoCollisions(), 1.0),
            "law: this law is not periodic",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()
