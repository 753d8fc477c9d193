"""Fixtures: the precisions, and the problems that every part is tested on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kjko

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def forget_what_is_compiled():
    """Compiled functions take maps of memory; a process has 65,530 and crashes without one."""
    yield
    jax.clear_caches()


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["single", "double"])
def tolerance(request):
    """Both precisions, each with what an identity must hold to in it."""
    with jax.enable_x64(request.param == "double"):
        yield 1e-10 if request.param == "double" else 5e-4


def asymmetric_problem(dimension: int, collision_rate=0.7, temperature=1.3) -> kjko.Problem:
    """A Gaussian problem without symmetry: coupled coordinates, shifted centre, full covariance."""
    rng = np.random.default_rng(dimension)
    stiffness = 1.5 * np.eye(dimension) + 0.3
    factor = rng.normal(size=(2 * dimension, 2 * dimension))
    covariance = 0.5 * np.eye(2 * dimension) + 0.2 * factor @ factor.T
    return kjko.Problem(
        force=kjko.External(kjko.Quadratic(stiffness, rng.normal(size=dimension))),
        law=kjko.Gaussian(rng.normal(size=2 * dimension), covariance),
        collision_rate=collision_rate,
        temperature=temperature,
    )


def anharmonic_potential(x):
    """Smooth, not separable, without symmetry."""
    return 0.5 * jnp.sum(x**2) + jnp.sin(jnp.sum(x)) + 0.1 * jnp.sum(x**3) + 0.05 * x @ x * x[0]
