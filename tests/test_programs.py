"""Steps that are kept as they were traced: the same numbers, and only where nothing differs."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from traces import traces_of

import kjko
from kjko import compilation_cache, programs
from kjko.initial.sampling import _log_density

X, V = jnp.zeros((3, 1)), jnp.ones((3, 1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs are kept; this process has read none."""
    monkeypatch.setattr(compilation_cache, "_in_use", tmp_path)
    monkeypatch.setattr(programs, "_loaded", {})
    return tmp_path


def law(width=1.0):
    return kjko.Gaussian(np.zeros(2), width * np.eye(2))


def log_density(*args):
    return programs.program(_log_density, *args)


def test_from_a_file(folder, monkeypatch):
    """For other numbers too; made anew where the file is damaged or cut."""
    found = log_density(law(), X, V)(law(), X, V)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for content in (whole, whole[:-1] + b"x", whole[:40], b""):
        path.write_bytes(content)
        monkeypatch.setattr(programs, "_loaded", {})
        with traces_of("_log_density") as traces:
            again = log_density(law(2.0), X, V)
        assert len(traces) == (content != whole)
        np.testing.assert_array_equal(again(law(), X, V), found)
        np.testing.assert_allclose(again(law(2.0), X, V), -np.log(4 * np.pi) - 0.25, rtol=1e-6)
        assert (path.read_bytes() == content) == (content == whole)


def test_another_program_for_what_is_no_number(folder, monkeypatch, double):
    """Shapes, precisions, structures, settings, and the code of the package."""
    log_density(law(), X, V)
    log_density(law(), X[:2], V[:2])
    log_density(law(), X.astype(jnp.float64), V)
    log_density(kjko.GaussianMixture(np.zeros((1, 2)), np.eye(2)[None]), X, V)
    with jax.default_matmul_precision("highest"):
        log_density(law(), X, V)
    monkeypatch.setattr(programs, "_code", lambda: b"changed")
    log_density(law(), X, V)
    assert len(list(folder.iterdir())) == 6


def test_another_program_in_haste(folder, monkeypatch):
    """Which gives the same; what XLA_FLAGS tells XLA is left to them."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    at = (law(), X, V)
    quick, slow = (programs.program(_log_density, *at, quick=flag) for flag in (True, False))
    np.testing.assert_allclose(quick(*at), slow(*at), rtol=1e-6)
    assert len(list(folder.iterdir())) == 2
    hasty = programs._options(quick=True)
    assert hasty != programs._options(quick=False)
    monkeypatch.setenv("XLA_FLAGS", " ".join(f"--{name}=0" for name in hasty))
    assert not programs._options(quick=True)


def test_other_arguments_than_it_was_made_for(folder):
    """Go to the function, jitted anew."""
    kept = log_density(law(), X, V)
    mixture = kjko.GaussianMixture(np.zeros((1, 2)), np.eye(2)[None])
    for at in ((law(), X[:2], V[:2]), (mixture, X, V)):
        np.testing.assert_allclose(kept(*at), -np.log(2 * np.pi) - 0.5, rtol=1e-6)


def test_a_source_that_is_newer_than_the_process(folder, monkeypatch):
    """What runs may be older than what would be hashed."""
    programs._code.cache_clear()
    monkeypatch.setattr(compilation_cache, "BEGAN", 0.0)
    assert np.all(log_density(law(), X, V)(law(), X, V) < 0)
    assert not list(folder.iterdir())


class Own(kjko.Gaussian):
    """A law whose code is not of the package."""


@pytest.mark.parametrize("where", ["in the arguments", "as the function"])
def test_code_that_is_not_of_the_package_is_not_kept(where, folder):
    own = jax.jit(lambda x: x)
    if where == "as the function":
        assert not np.any(programs.program(own, X)(X))
    else:
        at = (Own(np.zeros(2), np.eye(2)), X, V)
        assert np.all(log_density(*at)(*at) < 0)
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_in_use", folder / "missing")
    assert np.all(np.isfinite(log_density(law(), X, V)(law(), X, V)))


def test_a_file_that_is_not_to_be_touched(folder, monkeypatch):
    """It is read."""
    log_density(law(), X, V)
    monkeypatch.setattr(programs, "_loaded", {})

    def refuse(path):
        raise PermissionError(path)

    monkeypatch.setattr(os, "utime", refuse)
    with traces_of("_log_density") as traces:
        log_density(law(), X, V)
    assert not traces


def test_a_run_is_the_same(folder, monkeypatch):
    """Bitwise, traced for the file or read from it."""
    well = kjko.External(kjko.Quadratic(np.eye(1), np.zeros(1)))
    problem = kjko.Problem(well, kjko.FokkerPlanck(1.0, 1.0), law())

    def run(traced):
        monkeypatch.setattr(programs, "_loaded", {})
        particles = kjko.sample(law(), 50)
        steps = kjko.simulate(problem, kjko.Langevin(), particles, time_step=0.1, end_time=0.3)
        with traces_of("take_step") as traces:
            found = [(np.asarray(s.particles.v), record["energy_kinetic"]) for s, record in steps]
        assert bool(traces) == traced
        return found

    kept = [run(traced=True), run(traced=False)]
    assert len(list(folder.iterdir())) == 3  # the step, and what is measured before and after
    monkeypatch.setattr(compilation_cache, "_in_use", None)
    jax.clear_caches()
    alone = run(traced=True)
    for other in kept:
        for (v, energy), (v_other, energy_other) in zip(alone, other, strict=True):
            np.testing.assert_array_equal(v, v_other)
            assert energy == energy_other
