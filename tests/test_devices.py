"""Particles shared out among several devices: the same answers, and few messages."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import kjko as command
from commands import line
from small_cases import small

import kjko
from kjko.core import Mesh, sums
from kjko.core.rows import each_row
from kjko.devices import everywhere, in_use, number_in_use, several, shared_out
from kjko.run.series import read_series
from kjko.simulation import take_step

MESSAGE = re.compile(r"= (.*) (?:all-gather|all-reduce|all-to-all|collective-permute)\S*\(")
SHAPE = re.compile(r"\w+\[([\d,]*)\]")


def test_where_things_are():
    values = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    assert not in_use() and shared_out(values) is values and everywhere(values) is values
    with several(2):
        assert number_in_use() == 2
        parts = shared_out({"x": values, "name": "x"})
        assert [part.data.shape for part in parts["x"].addressable_shards] == [(3, 2), (3, 2)]
        whole = everywhere(parts)["x"]
        assert [part.data.shape for part in whole.addressable_shards] == [(6, 2), (6, 2)]
        np.testing.assert_array_equal(whole, values)
    assert not in_use()


def test_more_devices_than_there_are():
    with pytest.raises(ValueError, match="devices: expected 1 to 4, as many as there are, got 5"):
        several(5)


def test_sums_and_deposits():
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 3, (4000, 2)).astype(np.float32)
    mesh = Mesh((3.0, 3.0), (8, 8))

    def of(x):
        return sums.mean(x), sums.deviation(x), mesh.deposit(x)

    alone = jax.jit(of)(x)
    with several(4):
        together = jax.jit(of)(shared_out(x))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6)
    np.testing.assert_allclose(alone[1], x.astype(float).std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(alone[2]) * mesh.volume, 1.0, rtol=1e-6)


def test_rows_that_no_devices_divide():
    """As of a sample, which is on all of them."""
    rows = np.arange(65.0, dtype=np.float32)
    with several(2):
        found = jax.jit(lambda rows: (sums.mean(rows), each_row(jnp.square, rows)))(rows)
    np.testing.assert_allclose(found[0], 32.0, rtol=1e-6)
    np.testing.assert_array_equal(found[1], rows**2)


FEW = ("particles.number=400", "solver.precision='double'")
CASES = {
    "splines": small("multiwell-1d", *FEW),
    "ridges": small("rotated-well-2d", *FEW),
    "plasma": small("landau-1d-collisional", *FEW),
    "own bath": small("landau-1d-dougherty", *FEW),
    "end to end": small(
        "gaussian-1d",
        "particles.number=416",  # 13 blocks of the sample
        "solver.precision='double'",
        "solver.end_time=0.2",
        "solver.fit.steps=2",
        "solver.method={kind='score-end-to-end'}",
    ),
    "stochastic": small("gaussian-1d", *FEW, "solver.method={kind='langevin'}"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_run_on_several(case, double):
    """The same in double precision, but for rounding, of which an ill-posed fit makes more."""
    experiment = case.build()

    def run():
        end = experiment.time_step
        steps = kjko.simulate(*experiment[:2], state=experiment.init(), end_time=end)
        *_, (state, record) = steps
        return state, record

    alone, record = run()
    with several(2):
        together, other = run()
        assert together.particles.v.sharding.spec == jax.sharding.PartitionSpec("particles")
    for name in ("x", "v", "log_f"):
        one, two = (getattr(state.particles, name) for state in (alone, together))
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
    for key in ("energy_kinetic", "entropy", "free_energy", "fit_r2"):
        if record[key] is not None:
            np.testing.assert_allclose(record[key], other[key], rtol=1e-6)


NEWTON = "solver.fit={kind='newton',particles=1000}"


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("multiwell-1d", NEWTON),
        ("landau-1d-dougherty", NEWTON),
        ("gaussian-1d", "solver.fit.steps=5"),
    ],
)
def test_no_message_has_an_array_of_particles(name, fit):
    """Devices tell each other sums, samples of 50,000, and the gradients of blocks."""
    n = 2**20
    experiment = small(name, f"particles.number={n}", fit).build()
    with several(2):
        state = experiment.init().shared_out()
        program = take_step.lower(*experiment[:2], state).compile().compiled.as_text()
    sizes = [
        np.prod([int(side) for side in shape.split(",") if side], dtype=int)
        for message in MESSAGE.findall(program)
        for shape in SHAPE.findall(message)
    ]
    assert sizes and max(sizes) <= 50_000


def test_the_command(tmp_path):
    """A run on four devices goes on upon two, to the series of one to rounding."""
    few = ("--set", "particles.number=64", "--set", "solver.fit.steps=5")
    few += ("--set", "output.snapshot_times=[]", "--set", "output.checkpoint_every=1")

    def series(out, end, *more):
        setting = ("--set", f"solver.end_time={end}")
        done = command("run", "gaussian-1d", "--out", tmp_path / out, *few, *setting, *more)
        assert done.exit_code == 0, done.stderr
        return list(read_series(tmp_path / out))

    alone = series("alone", 0.2)
    series("shared", 0.1, "--devices", "4")
    text = (tmp_path / "shared" / "case.toml").read_text()
    (tmp_path / "shared" / "case.toml").write_text(text.replace("end_time = 0.1", "end_time = 0.2"))
    done = command("resume", tmp_path / "shared", "--devices", "2")
    assert done.exit_code == 0 and "2 devices (cpu)" in done.stderr
    for one, other in zip(alone, read_series(tmp_path / "shared"), strict=True):
        np.testing.assert_allclose(one["entropy"], other["entropy"], rtol=1e-5)


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (3, "--devices: expected a divisor of 4 for 64 particles, got 3"),
        (5, "--devices: expected 1 to 4, as many as there are, got 5"),
        (0, "--devices: expected 1 to 64, got 0"),
    ],
)
def test_what_cannot_be_shared_out(devices, says, tmp_path):
    few = ("--set", "particles.number=64")
    out = tmp_path / "run"
    done = command("run", "gaussian-1d", "--out", out, *few, "--devices", devices)
    assert line(done, 2) == says
    assert not out.exists()


@pytest.mark.parametrize(
    "case", ["gaussian-1d", "multiwell-1d", "landau-1d-collisional", "mixture-2d"]
)
def test_bitwise_the_same_series(case, tmp_path):
    """On one device, asked for, and on four, in processes of their own."""

    def series(devices):
        few = ["particles.number=640", "solver.end_time=0.2", "output.snapshot_times=[]"]
        words = [word for key in few for word in ("--set", key)]
        out = tmp_path / str(devices)
        asked = [case, "--out", str(out), *words, "--devices", str(devices)]
        done = subprocess.run(
            [sys.executable, "-m", "kjko", "run", *asked], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return [{**record, "seconds": None} for record in read_series(out)]

    assert series(1) == series(4)
