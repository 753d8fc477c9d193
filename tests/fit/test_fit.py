"""Fits: how particles are held out, and what Adam returns on toy problems."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import free_stage

import kjko
from kjko.fit.held_out import split


def numbered_stage(n, d=1):
    """Particles that can be told apart."""
    number = jnp.arange(n, dtype=float)
    rows = number[:, None] + jnp.arange(d)[None] / 10
    return free_stage(rows, rows + 0.5, number)


@pytest.mark.parametrize(
    ("n", "fraction", "held"), [(10, 0.5, 5), (11, 0.2, 2), (7, 0.9, 6), (640, 0.01, 32)]
)
def test_a_split_is_a_partition(n, fraction, held):
    stage = numbered_stage(n, 2)
    fitted, kept = split(stage, fraction, jax.random.key(0))
    assert kept is not None
    assert (fitted.v.shape[0], kept.v.shape[0]) == (n - held, held)
    numbers = np.concatenate([fitted.log_f, kept.log_f])
    np.testing.assert_array_equal(np.sort(numbers), np.arange(n))
    for part in (fitted, kept):  # whole rows
        rows = np.asarray(part.log_f, dtype=int)
        np.testing.assert_array_equal(part.x, stage.x[rows])
        np.testing.assert_array_equal(part.v_free, stage.v_free[rows])


def test_a_split_is_one_of_each_block():
    """As many of each of 16 blocks, so that no particle leaves its device."""
    _, kept = split(numbered_stage(16 * 25), 0.5, jax.random.key(0))
    blocks = np.asarray(kept.log_f, dtype=int) // 25
    np.testing.assert_array_equal(np.bincount(blocks), np.full(16, 12))


def test_every_key_splits_anew():
    stage = numbered_stage(1000)
    parts = [split(stage, 0.5, jax.random.key(s))[1] for s in (0, 0, 1)]
    numbers = [set(np.asarray(part.log_f, dtype=int)) for part in parts]
    assert numbers[0] == numbers[1]
    assert 200 < len(numbers[0] & numbers[2]) < 300  # two random halves share a quarter


@pytest.mark.parametrize("fraction", [0.0, 0.04])
def test_nothing_held_out(fraction):
    stage = numbered_stage(10)
    fitted, kept = split(stage, fraction, jax.random.key(0))
    assert kept is None
    assert fitted is stage


HELD = 3  # of ten particles: so a toy problem can tell the parts apart


class Toy(eqx.Module):
    """A one-number control c with the loss (c − 1)², on held-out particles (c − target)².

    The map folds where c reaches `fold` on the fitted, `fold_held` on the held-out particles.
    """

    target: float = 1.0
    fold: float = np.inf
    fold_held: float = np.inf

    def __call__(self, control, stage):
        c = control["c"]
        if stage.v.shape[0] == HELD:
            return (c - self.target) ** 2, jnp.minimum(self.fold_held - c, 1.0)
        return (c - 1.0) ** 2, jnp.minimum(self.fold - c, 1.0)


class Slope(eqx.Module):
    """The loss −c: each step of Adam goes up by the learning rate of that step."""

    def __call__(self, control, stage):
        return -control["c"], jnp.ones(())


def fit(toy, start=0.0, previous=5.0, held_out=HELD / 10, **settings):
    settings = {"steps": 60, "learning_rate": 0.05, "schedule": "constant"} | settings
    adam = kjko.Adam(held_out=held_out, **settings)
    control, last = ({"c": jnp.asarray(c), "name": "toy"} for c in (start, previous))
    control, info = adam(toy, control, last, numbered_stage(10), jax.random.key(0))
    return control["c"], info, control["name"]


def test_adam_returns_what_does_best_on_the_held_out():
    """On the way from 0 to 1 the iterates, 0.05 apart, pass the held-out minimum."""
    last, *_ = fit(Toy())
    best, info, name = fit(Toy(target=0.52))
    assert float(last) == pytest.approx(1.0, abs=0.06)
    assert float(best) == pytest.approx(0.52, abs=0.026)
    assert float(info.loss) == pytest.approx((float(best) - 1) ** 2, abs=1e-6)
    assert float(info.loss_heldout) == pytest.approx((float(best) - 0.52) ** 2, abs=1e-6)
    assert name == "toy"
    assert info.iterations == 40  # the second window of 20 steps brings nothing


def test_the_last_iterate_can_be_the_best():
    assert float(fit(Slope(), steps=3)[0]) == pytest.approx(0.15, abs=1e-5)


@pytest.mark.parametrize("toy", [Toy(fold=0.31), Toy(fold_held=0.31)], ids=["fitted", "held out"])
def test_adam_returns_no_iterate_that_folds(toy):
    assert float(fit(toy)[0]) == pytest.approx(0.285, abs=0.025)


def test_if_all_fold_the_start_is_returned():
    c, info, _ = fit(Toy(fold=-1.0), start=0.1)
    assert float(c) == pytest.approx(0.1)
    assert not np.isfinite(info.loss)  # so the run stops there


def test_a_nan_is_not_the_best():
    def toy(control, stage):
        loss, det_min = Toy()(control, stage)
        bad = (control["c"] > 0.4) & (stage.v.shape[0] == HELD)
        return jnp.where(bad, jnp.nan, loss), det_min

    assert float(fit(toy)[0]) == pytest.approx(0.375, abs=0.026)


def test_without_held_out_the_last_iterate_is_returned():
    """As in the paper: even where it folds."""
    c, info, _ = fit(Toy(target=0.5, fold=0.3), held_out=0.0)
    assert float(c) == pytest.approx(1.0, abs=0.06)
    assert np.isnan(info.loss_heldout)
    assert float(info.loss) == pytest.approx((float(c) - 1) ** 2, abs=1e-6)


@pytest.mark.parametrize(("warm_start", "start"), [(True, 5.0), (False, 0.25)])
@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_where_adam_begins(warm_start, start, held_out):
    c, *_ = fit(Slope(), 0.25, previous=5.0, held_out=held_out, warm_start=warm_start, steps=1)
    assert float(c) == pytest.approx(start + 0.05, abs=1e-5)


def test_schedules():
    """On a slope the steps add up: K, or Σ ½(1 + cos(πk/K)) = (K + 1)/2 for the half cosine."""
    for schedule, total in (("constant", 10), ("cosine", 5.5)):
        c, *_ = fit(Slope(), steps=10, learning_rate=0.1, schedule=schedule)
        assert float(c) == pytest.approx(0.1 * total, abs=1e-4)
