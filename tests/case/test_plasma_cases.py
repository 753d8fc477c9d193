"""Cases with a self-consistent field: what is refused or warned of, what linear theory says."""

import logging
import tomllib

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from small_cases import refusal, small

import kjko
from kjko.case import parse_toml
from kjko.reference.linear_theory import LinearWave, linear_wave, measured_wave

BAD = {
    "landau-1d": {
        "problem.domain={}": "problem.domain.length: expected either length or wave_number",
        "problem.potential={kind='quadratic'}": (
            "problem.potential.kind: quadratic is not periodic and the domain is; use sine or"
        ),
        "problem.force.number_of_cells=1": (
            "problem.force.number_of_cells: expected at least 3 in each dimension, got [1]"
        ),
        "problem.force.number_of_cells=[8, 8]": (
            "problem.force.number_of_cells: expected a list of length 1, got length 2"
        ),
        "problem.force.number_of_cells=1000000000": (
            "problem.force.number_of_cells: expected at most 7e+07 in all, got 1e+09; take fewer"
        ),
        "problem.force.shape='cubic'": "problem.force.shape: expected 'nearest', 'tent' or 'qua",
        "problem.force.kind=maxwell": "problem.force.kind: expected one of 'poisson', 'ampere'",
        "problem.mass=0": "problem.mass: expected a number greater than 0, got 0",
        "problem.law.position.wave_number=[0.6]": (
            "problem.law.position.wave_number: expected a multiple of 2 pi/length = 0.5, got 0.6;"
            " take 0.5, or literal = true to keep a wave that is cut"
        ),
        "problem.law.position.wave_number=[0.1]": (
            "problem.law.position.wave_number: expected a multiple of 2 pi/length = 0.5, got 0.1;"
            " take 0.5, or"
        ),
        "problem.law.position.mode=[1]": (
            "problem.law.position.mode: expected either mode or wave_number, got both; set the"
            " table with one"
        ),
        "problem.law.position.kind=gaussian": "problem.law.position.mean: expected this key",
        "solver.time_step=2.5": (
            "solver.time_step: expected time_step * plasma frequency < 2, got 2.5 * 1; take a"
            " smaller time_step"
        ),
        "output.histogram_every=-1": "output.histogram_every: expected a number greater than or",
    },
    "landau-2d": {
        "problem.velocity_dimension=1": (
            "problem.velocity_dimension: expected problem.dimension = 2 or more, got 1"
        ),
        "problem.force.kind=ampere": (
            "problem.force.kind: ampere is for one dimension of x; use poisson in more"
        ),
    },
    "two-stream-1d3v": {
        "problem.law.velocity.means=[[1.0], [2.0]]": (
            "problem.law.velocity.means.0: expected a list of length 3, got length 1; it follows"
            " from problem.dimension and velocity_dimension"
        ),
    },
    "multiwell-1d": {
        "particles.sampling=cell-jitter": "particles.sampling: cell-jitter needs a cosine position",
        "problem.force={kind='poisson'}": "problem.force.kind: poisson needs a periodic box",
    },
    "gaussian-1d": {
        "problem.velocity_dimension=3": (
            "problem.law.kind: gaussian is for velocity_dimension = dimension, got 3 and 1; use"
            " product"
        ),
    },
}


@pytest.mark.parametrize(
    ("case", "override", "begins"),
    [(case, override, begins) for case, bad in BAD.items() for override, begins in bad.items()],
)
def test_bad_input_is_refused_in_one_line(case, override, begins):
    message = refusal(lambda: small(case, override).build())
    assert message.startswith(begins) and "\n" not in message


def test_a_box_is_needed():
    data = tomllib.loads(small("landau-1d").to_toml())
    del data["problem"]["domain"]
    message = refusal(lambda: parse_toml(tomli_w.dumps(data), "open").build())
    assert message.startswith("problem.law.position.kind: cosine is periodic and the domain is unb")
    position = {"kind": "gaussian", "mean": [0.0], "covariance": [[1.0]]}
    data["problem"]["law"]["position"] = position
    message = refusal(lambda: parse_toml(tomli_w.dumps(data), "open").build())
    assert message == (
        "problem.force.kind: poisson needs a periodic box, got none; set problem.domain.length"
    )


@pytest.mark.parametrize("name", ["vpfp-1d1v-paper-weak", "vpfp-1d3v-paper-strong"])
def test_a_literal_wave_that_is_cut_is_warned_of(name, caplog):
    with caplog.at_level(logging.WARNING):
        experiment = small(name).build()
    problem, method = experiment.problem, experiment.method
    assert len(caplog.messages) == 1
    assert "problem.law.position.wave_number" in caplog.messages[0] and "\n" not in caplog.text[:-1]
    assert problem.law.position.literal
    assert method.splitting == kjko.Unsplit(kjko.DriftKick())
    assert (method.fit.steps, method.fit.learning_rate, method.fit.held_out) == (50, 0.001, 0.0)


def test_whole_waves_are_not_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        problem = small("landau-1d").build().problem
    assert not caplog.messages
    assert problem.law.position.mode == 1


def test_forces_by_name():
    force = small("vafp-1d", "problem.force.uniform_field=0.5").build().problem.flow
    assert isinstance(force, kjko.Ampere) and force.uniform == 0.5
    settings = ["laplacian='discrete'", "shape='quadratic'", "number_of_cells=[16, 8]"]
    force = small("landau-2d", *(f"problem.force.{s}" for s in settings)).build().problem.flow
    assert force == kjko.Poisson(
        kjko.Mesh(force.mesh.length, (16, 8), "quadratic"), laplacian="discrete"
    )


def test_linear_theory_of_the_cases(double):
    for name, frequency, rate in (
        ("landau-1d", 1.41566, -0.15336),
        ("landau-2d", 1.41566, -0.15336),
        ("two-stream-1d", 0.0, 0.22584),
        ("two-stream-1d3v", 0.0, 0.22584),
        ("landau-1d-collisional", 1.36425, -0.21074),
        ("landau-1d-dougherty", 1.38873, -0.10537),
    ):
        wave = linear_wave(small(name).build().problem)
        assert wave is not None
        assert (wave.frequency, wave.rate) == pytest.approx((frequency, rate), abs=2e-5)


HOT = "problem.law.velocity.widths=[1.2]"
DRIFT = "problem.law.velocity.means=[[0.5]]"


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("landau-1d-collisional", HOT),
        ("landau-1d-collisional", DRIFT),
        ("landau-1d-dougherty", "problem.collisions.number_of_cells=8"),
        ("two-stream-1d", "problem.collision_rate=0.1"),
        ("vpfp-1d1v-paper-weak", "solver.time_step=0.1"),
        ("multiwell-1d", "solver.time_step=0.1"),
    ],
)
def test_no_linear_theory(name, setting):
    """Collisions that change what the wave is on, a wave that is cut, an external potential."""
    assert linear_wave(small(name, setting).build().problem) is None


def test_a_wave_that_is_not_recorded_is_not_measured():
    records = [{"time": 0.1 * step} for step in range(50)]
    assert measured_wave(records, LinearWave(0.5, 1.4, -0.15)) is None


def test_collisions_among_the_particles_know_no_frame():
    """A hot plasma that drifts: its own mean and temperature are what it relaxes to."""
    waves = [
        linear_wave(small("landau-1d-dougherty", *settings).build().problem)
        for settings in ([HOT], [HOT, DRIFT])
    ]
    assert waves[0] is not None and waves[0] == waves[1]


@pytest.mark.parametrize("setting", ["problem.mass=1e-3", "problem.law.position.wave_number=[50]"])
def test_waves_that_are_gone_within_a_period(setting):
    """Shorter than the Debye length: there is no theory of them, and the case is valid."""
    cells = "problem.force.number_of_cells=256"
    assert linear_wave(small("landau-1d", setting, cells).build().problem) is None


@pytest.mark.parametrize(("frequency", "rate"), [(1.3, -0.1), (0.0, 0.2)])
def test_a_known_wave_is_measured(frequency, rate):
    time = np.arange(0, 60, 0.05)
    energy = np.minimum(1e-4 * np.exp(2 * rate * time) * np.cos(frequency * time) ** 2, 3.0)
    records = [{"time": t, "field_energy": e + 1e-12} for t, e in zip(time, energy, strict=True)]
    found = measured_wave(records, LinearWave(0.5, frequency, rate))
    assert found is not None
    if frequency:
        assert found[0].frequency == pytest.approx(frequency, rel=2e-3)
    else:
        assert found[0].frequency is None
    assert found[0].rate == pytest.approx(rate, rel=2e-2)
    assert measured_wave(records[:5], LinearWave(0.5, frequency, rate)) is None


def test_landau_damping(double):
    """ω and γ of a short run with few particles, within what the slow run is held to."""
    problem, method, particles, *_ = small(
        "landau-1d", "particles.number=20000", "problem.law.position.amplitude=[0.05]"
    ).build()
    run = kjko.simulate(problem, method, particles, time_step=0.05, end_time=11.0)
    records = [record for _, record in run]
    theory = linear_wave(problem)
    assert theory is not None
    found = measured_wave(records, theory)
    assert found is not None
    assert found[0].frequency == pytest.approx(theory.frequency, rel=0.02)
    assert found[0].rate == pytest.approx(theory.rate, rel=0.1)


def test_1d3v_moves_only_the_first_velocity():
    """Without collisions the other components stay as they are."""
    experiment = small("two-stream-1d3v", "problem.collision_rate=0").build()
    problem, method, particles, *_ = experiment
    assert particles.v.shape == (20, 3)
    state = experiment.init()
    pushed = eqx.tree_at(lambda s: s.field.electric, state, jnp.ones((128, 1)))
    end, _ = method.step(problem, pushed)
    np.testing.assert_array_equal(end.particles.v[:, 1:], particles.v[:, 1:])
    assert np.abs(end.particles.v[:, 0] - particles.v[:, 0]).min() > 0
