"""What arguments are but for their numbers: nothing that a trace depends on is left out."""

import functools
import json
from enum import IntEnum
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kjko
from kjko.described import Unknown, describe, rebuild

POTENTIAL = kjko.Quadratic(np.eye(2), np.zeros(2))
LAW = kjko.Gaussian(np.zeros(4), np.eye(4))


def network(*widths):
    return kjko.MLP(1, widths, key=jax.random.key(0))


def text(value, constant=False):
    return json.dumps(describe(value, constant))


def test_numbers_are_left_out():
    assert text(POTENTIAL) == text(kjko.Quadratic(3 * np.eye(2), np.ones(2)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (jnp.zeros(2), jnp.zeros(3)),
        (jnp.zeros(2), jnp.zeros(2, int)),
        (1, 1.0),
        (1, True),
        ((1, 2), [1, 2]),
        ((1, (2, 3)), ((1, 2), 3)),
        ({"a": 1}, {"b": 1}),
        (None, "None"),
        (jnp.tanh, jnp.sin),
        (kjko.Splines, kjko.Quadratics),
        (kjko.Splines(1, (6, 3)), kjko.Splines(1, (6, 4))),
        (kjko.Adam(steps=3), kjko.Adam(steps=4)),
        (network(4), network(4, 4)),
    ],
)
def test_what_is_no_number_tells(one, other):
    assert text(one) != text(other)


def test_constants_tell_by_what_they_hold():
    assert text(POTENTIAL, constant=True) != text(kjko.Quadratic(3 * np.eye(2), np.zeros(2)), True)


class Pair(NamedTuple):
    first: int


class Part(eqx.Module):
    at: jax.Array


@pytest.mark.parametrize(
    "value",
    [
        lambda x: x,
        functools.partial(jnp.sum, axis=0),
        functools.wraps(jnp.tanh)(lambda x: x),
        jax.grad(jnp.tanh),
        kjko.Sine(np.ones(1), mode=2).__call__,
        Pair(1),
        Part(jnp.zeros(1)),
        np.dtype(float),
        object(),
        IntEnum("Few", ["ONE"])(1),
        text,
    ],
)
def test_what_has_code_or_contents_of_its_own_is_refused(value):
    with pytest.raises(Unknown):
        describe((1, [value]))


def test_again_from_its_description():
    state = kjko.Langevin().init(
        kjko.Problem(kjko.External(POTENTIAL), kjko.FokkerPlanck(1.0, 1.0), LAW),
        kjko.sample(LAW, 3),
        0.1,
    )
    value = {"a": (state, [1, None]), "b": network(4)}
    again = rebuild(json.loads(text(value)))
    assert text(jax.tree.map(lambda leaf: 0, eqx.filter(again, eqx.is_array))) == text(
        jax.tree.map(lambda leaf: 0, eqx.filter(value, eqx.is_array))
    )
    assert text(eqx.filter(again, eqx.is_array, inverse=True)) == text(
        eqx.filter(value, eqx.is_array, inverse=True)
    )
    with pytest.raises(Unknown):
        rebuild(describe(POTENTIAL, constant=True))
