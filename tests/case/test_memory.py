"""What a step needs is counted from the shapes in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_cases import refusal

from kjko.case import load, memory

NUMBER = 1000
WIDTH = 4 * NUMBER  # bytes of an array


def peak(function, *arguments):
    """In arrays."""
    return memory._peak(jax.make_jaxpr(function)(*arguments).jaxpr) / WIDTH


def one_after_the_other(x):
    for _ in range(10):
        x = jnp.sin(x)
    return x


def all_at_once(x):
    return sum(jnp.sin(k * x) for k in range(10))


def ten_to_the_end(x):
    kept = [jnp.sin(x) * k for k in range(10)]
    for _ in range(3):
        kept = [jnp.cos(a) for a in kept]
    return jnp.sum(jnp.stack(kept), axis=0)


def in_a_loop(x):
    return jax.lax.fori_loop(0, 5, lambda _, a: ten_to_the_end(a), x)


@pytest.mark.parametrize(
    ("function", "least", "most"),
    [
        (one_after_the_other, 3, 3),
        (all_at_once, 3, 5),
        (ten_to_the_end, 21, 32),
        (in_a_loop, 21, 34),
        (jax.jit(ten_to_the_end), 21, 34),
    ],
)
def test_what_is_alive_at_once(function, least, most):
    assert least <= peak(function, jnp.ones(NUMBER)) <= most + 0.1


def test_arguments_are_kept():
    """Ten that are used first, then ten others."""

    def late(*xs):
        total = sum(xs)
        return ten_to_the_end(total)

    assert peak(late, *np.ones((10, NUMBER), np.float32)) >= 30


LARGE = {
    "particles.number": ["particles.number=2147483647"],
    "solver.control": ["solver.control={kind='mlp',widths=[100000,100000]}"],
}


@pytest.mark.parametrize(("key", "overrides"), LARGE.items(), ids=LARGE)
def test_what_does_not_fit_is_refused(key, overrides, monkeypatch):
    monkeypatch.setattr(memory, "memory_left", lambda: 8.0 * 2**30)
    case = load("gaussian-1d-paper", overrides)
    said = refusal(case.build)
    assert said.startswith(f"{key}: expected what fits into the 8.0 GiB of memory")


def test_a_step_that_does_not_fit(monkeypatch):
    experiment = load("multiwell-1d", ["particles.number=20000"]).build()
    memory.check_step(experiment)
    monkeypatch.setattr(memory, "memory_left", lambda: memory.PROGRAMS + 1e6)
    assert refusal(lambda: memory.check_step(experiment)).startswith(
        "particles.number, solver.control: "
    )
