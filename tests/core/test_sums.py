"""Sums over particles, against double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kjko.core import sums
from kjko.programs import program

FLOAT = 1.2e-7  # the rounding of a number


@pytest.mark.parametrize("n", [1, 2, 99, 100, 101, 12345])
def test_of_any_number_of_columns(n):
    values = np.random.default_rng(n).normal(2.0, 3.0, (n, 2, 3)).astype(np.float32)
    exact = values.astype(float)
    size = np.abs(exact).mean(axis=0)
    for one, other in (
        (sums.total(jnp.asarray(values)) / n, exact.mean(axis=0)),
        (sums.mean(jnp.asarray(values)), exact.mean(axis=0)),
        (sums.deviation(jnp.asarray(values)), exact.std(axis=0)),
    ):
        np.testing.assert_allclose(one, other, atol=30 * FLOAT * size.max())


def test_of_many(monkeypatch):
    """Three million in single precision, compiled as in a run: one after another, 1e-4 is lost."""
    monkeypatch.setenv("XLA_FLAGS", "")
    values = np.random.default_rng(0).uniform(0.5, 1.5, 3_000_000).astype(np.float32)
    found = program(sums.mean, jnp.asarray(values))(jnp.asarray(values))
    assert abs(float(found) / values.mean(dtype=float) - 1) < 10 * FLOAT


def test_the_mean_of_exponentials():
    values = np.random.default_rng(1).normal(200.0, 2.0, 1000)
    exact = 200 + np.log(np.mean(np.exp(values - 200)))
    assert abs(float(sums.log_mean_exp(jnp.asarray(values, jnp.float32))) - exact) < 1e-4


def test_slopes():
    """Of the mean square, 2 values/n."""
    values = jnp.arange(10.0)
    slope = jax.grad(lambda values: sums.mean(values**2))(values)
    np.testing.assert_allclose(slope, values / 5, rtol=1e-6)
