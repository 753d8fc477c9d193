"""Into which parts a collision is cut."""

import jax.numpy as jnp
import numpy as np
import pytest

import kjko
from kjko.core import Bath
from kjko.methods.substeps import in_parts, odd_number

INFINITE = jnp.asarray(jnp.inf)


def lengths_of(dt, rate=1.0, largest=0.3, limit=INFINITE, strain_of=lambda t, length: 0.0):
    """The lengths of the parts, and how the collision ended."""
    bath = Bath(rate * jnp.ones(3), jnp.zeros((3, 1)), jnp.ones(3))

    def attempt(progress, length, result):
        lengths = result.at[progress.parts].set(length)
        return lengths, jnp.asarray(strain_of(progress.done, length))

    dt = jnp.asarray(dt)
    lengths, progress = in_parts(attempt, jnp.zeros(64), bath, dt, largest, limit)
    return np.asarray(lengths)[: int(progress.parts)], progress


@pytest.mark.parametrize("collisions", [1e-6, 0.1, 0.3, 0.1 * 3])
def test_weak_collisions_are_one_part(collisions, double):
    lengths, _ = lengths_of(collisions / 7, rate=7.0)
    np.testing.assert_allclose(lengths, [collisions / 7])


@pytest.mark.parametrize("collisions", [0.31, 0.9, 2.0, 5.7])
def test_parts_of_strong_ones(collisions, double):
    """They add up, start with no more than 0.3 and grow to no more than 2."""
    lengths, progress = lengths_of(collisions / 7, rate=7.0)
    assert float(progress.done) == collisions / 7
    np.testing.assert_allclose(lengths.sum(), collisions / 7)
    assert lengths[0] * 7 <= 0.3 + 1e-5 and lengths.max() * 7 <= 2 + 1e-5
    assert np.all(np.diff(lengths) > -0.2 * lengths[:-1])


def test_a_collision_is_over_when_all_has_relaxed(double):
    """εΔt = 6 and 10⁶ are as much work."""
    long, progress = lengths_of(1e6)
    assert float(progress.done) == 1e6 and len(long) < 12
    np.testing.assert_allclose(long.sum(), 6.0)


def test_what_stretches_is_cut_finer(double):
    """A gas of s times the bath's temperature, s' = 2 (1 − s): strain |1/s − 1| of a part."""

    def strain_of(done, length):
        return length * jnp.abs(1 / (1 - 0.999 * jnp.exp(-2 * (done + length / 2))) - 1)

    lengths, progress = lengths_of(1.0, strain_of=strain_of)
    ends = np.cumsum(lengths)
    assert float(progress.done) == 1.0
    np.testing.assert_allclose(ends[-1], 1.0)
    strains = [float(strain_of(end - h, h)) for end, h in zip(ends, lengths, strict=True)]
    assert max(strains) <= 0.35 and lengths[0] < 2e-3 and len(lengths) < 40


def test_the_next_step_begins_with_the_last_length(double):
    _, progress = lengths_of(0.3, strain_of=lambda done, length: 3 * length)
    lengths, _ = lengths_of(0.3, limit=progress.limit, strain_of=lambda done, length: 3 * length)
    again, progress = lengths_of(0.3, limit=progress.limit)
    assert float(progress.attempts) == len(again) and lengths[0] <= 0.35 / 3


def test_what_cannot_be_cut_fine_enough_is_told(double):
    _, progress = lengths_of(1.0, strain_of=lambda done, length: 1e3 * length)
    assert float(progress.done) < 1.0 and int(progress.attempts) == 64


def test_equal_parts_of_methods_for_all_times():
    for parts in (1e-6, 0.3, 1.0, 0.1 * 3 / 0.3):
        assert odd_number(jnp.asarray(parts)) == 1
    for parts in (1.05, 3.0, 3.1, 25.0, 300.0):
        n = int(odd_number(jnp.asarray(parts)))
        assert n % 2 == 1 and n >= 3 and parts / n <= 1 + 1e-5 < parts / (n - 2)


def test_only_some_splittings_can_be_cut():
    for splitting in (kjko.Lie(), kjko.SymplecticEuler(), kjko.Unsplit()):
        assert splitting.largest == np.inf
