"""Ensembles: each member as it would be alone, and members that do not go together."""

import equinox as eqx
import jax
import numpy as np
import pytest

import kjko
from kjko.case import load

KEYS = ("entropy", "free_energy", "kl_stationary", "energy_kinetic", "det_min", "loss")


def member(*overrides):
    experiment = load("multiwell-1d", ["particles.number=200", *overrides]).build()
    return experiment.problem, experiment.method, experiment.init()


@pytest.fixture(scope="module")
def members():
    """Of other seeds and rates."""
    rates = (0.5, 1.0, 2.0)
    return [
        member(f"particles.seed={seed}", f"problem.collision_rate={rate}")
        for seed, rate in enumerate(rates)
    ]


@pytest.fixture(scope="module")
def alone(members):
    return [
        list(kjko.simulate(problem, method, state=state, end_time=0.3))
        for problem, method, state in members
    ]


@pytest.mark.parametrize("device", ["cpu", "another"])
def test_each_member_is_as_it_would_be_alone(members, alone, device, monkeypatch):
    """On cores, the last of which has too few members; and by vmap, as on another device."""
    if device != "cpu":
        monkeypatch.setattr(jax, "default_backend", lambda: device)
    steps = list(kjko.ensemble(members, end_time=0.3))
    assert len(steps) == 4
    for states, records in steps[-2:]:
        assert states.particles.v.shape == (3, 200, 1)
        for number, record in enumerate(records):
            state, own = alone[number][record["step"]]
            for key in KEYS:
                assert record[key] == pytest.approx(own[key], rel=1e-3, abs=1e-4), key
            assert record["seconds"] > 0 and record.keys() == own.keys()
            assert np.allclose(states.particles.v[number], state.particles.v, atol=1e-3)
            assert np.allclose(states.particles.log_f[number], state.particles.log_f, atol=1e-2)


def test_goes_on_from_states_that_were_stopped(members, alone):
    later = [(p, m, run[2][0]) for (p, m, _), run in zip(members, alone, strict=True)]
    steps = list(kjko.ensemble(later, end_time=0.3))
    assert [records[0]["step"] for _, records in steps] == [2, 3]
    assert steps[-1][1][2]["entropy"] == pytest.approx(alone[2][3][1]["entropy"], abs=1e-4)


@pytest.mark.parametrize(
    "other, message",
    [
        (["particles.number=300"], "member 1 with another"),
        (["solver.fit={kind='newton', iterations=9}"], "member 1 with another"),
        (["solver.time_step=0.05"], "same time_step in all states, got 0.05 in member 1 and 0.1"),
    ],
)
def test_members_that_do_not_go_together(members, other, message):
    with pytest.raises(ValueError, match=message):
        next(kjko.ensemble([members[0], member(*other)], end_time=0.3))


def test_there_are_none():
    with pytest.raises(ValueError, match="expected one or more"):
        next(kjko.ensemble([], end_time=0.3))


def test_devices_share_no_members(members):
    with kjko.several(1), pytest.raises(ValueError, match="not shared out among devices"):
        next(kjko.ensemble(members, end_time=0.3))


def test_a_failure_names_the_member(members):
    problem, method, state = members[1]
    lost = eqx.tree_at(lambda s: s.particles.log_f, state, state.particles.log_f.at[0].set(np.nan))
    with pytest.raises(kjko.NumericalFailure, match="member 1: entropy is not finite"):
        list(kjko.ensemble([members[0], (problem, method, lost)], end_time=0.3))
