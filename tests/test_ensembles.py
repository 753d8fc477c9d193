"""Ensembles: each member as it would be alone, and members that do not go together."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from traces import traces_of

import kjko
from kjko.case import load
from kjko.ensembles import _groups
from kjko.observe import trust

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
    """By two threads, one of which has too few members; and by vmap, as on another device."""
    if device == "cpu":
        monkeypatch.setattr("kjko.ensembles.cores", lambda: 2)
    else:
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


def test_goes_on_from_the_states_that_it_gave(members, alone):
    *_, (states, _) = kjko.ensemble(members, end_time=0.2)
    later = [
        (problem, method, jax.tree.map(lambda leaf, i=i: leaf[i], states))
        for i, (problem, method, _) in enumerate(members)
    ]
    steps = list(kjko.ensemble(later, end_time=0.3))
    assert [records[0]["step"] for _, records in steps] == [2, 3]
    assert steps[-1][1][2]["entropy"] == pytest.approx(alone[2][3][1]["entropy"], abs=1e-4)


def test_it_warns_once_of_a_density_that_cannot_be_trusted(members, monkeypatch):
    """By limits that the members' checks exceed; the first of them is named."""
    (key, _, told), *_ = trust.LIMITS
    monkeypatch.setattr(trust, "LIMITS", ((key, -1.0, told),))
    with pytest.warns(kjko.UntrustedDensity, match="^member 0: the density cannot") as caught:
        list(kjko.ensemble(members, end_time=0.2))
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize(
    "other, message",
    [
        (["particles.number=300"], "another kind of method in member 1"),
        (["solver.fit={kind='newton', iterations=9}"], "another kind of method in member 1"),
        (["solver.time_step=0.05"], "same time_step in all states, got 0.05 in member 1 and 0.1"),
    ],
)
def test_members_that_do_not_go_together(members, other, message):
    with pytest.raises(ValueError, match=message):
        next(kjko.ensemble([members[0], member(*other)], end_time=0.3))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 7, 8])
def test_groups_have_all_members_in_their_order(number, workers):
    groups = _groups(number, workers)
    assert len(groups) <= workers and len({len(group) for group in groups}) == 1
    together = np.concatenate(groups)
    assert together[:number].tolist() == list(range(number))
    assert all(group[0] < number for group in groups) and set(together[number:]) <= {number - 1}


def langevin(stiffness, rate):
    """A member that is compiled at once."""
    problem = kjko.Problem(
        kjko.External(kjko.Quadratic([[stiffness]], [0.0])),
        kjko.FokkerPlanck(rate=rate),
        kjko.Gaussian(mean=[0.0, 1.0], covariance=[[2.0, 1.0], [1.0, 3.0]]),
    )
    method = kjko.Langevin()
    return problem, method, method.init(problem, kjko.sample(problem.law, 50, seed=0), 0.1, 0)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_threads_have_the_precision_of_the_caller(precision, monkeypatch):
    monkeypatch.setattr("kjko.ensembles.cores", lambda: 2)
    with jax.enable_x64(precision == "double"):
        members = [langevin(2.0, rate) for rate in (0.5, 1.0, 2.0)]
        *_, (states, records) = kjko.ensemble(members, end_time=0.3)
        for number, (problem, method, state) in enumerate(members):
            *_, (alone, record) = kjko.simulate(problem, method, state=state, end_time=0.3)
            assert states.particles.v.dtype == alone.particles.v.dtype
            assert np.allclose(states.particles.v[number], alone.particles.v, atol=1e-5)
            assert records[number]["energy_kinetic"] == pytest.approx(record["energy_kinetic"])


def test_numbers_may_be_weakly_typed():
    problem, method, state = langevin(2.0, 1.0)
    strong = eqx.tree_at(lambda p: p.collisions.rate, problem, jnp.asarray(0.7, jnp.float32))
    members = [(problem, method, state), (strong, method, state)]
    *_, (_, records) = kjko.ensemble(members, end_time=0.2)
    assert records[0]["energy_kinetic"] != records[1]["energy_kinetic"]


def test_what_the_observables_found_is_of_one_kind():
    """One member has a law at rest, the other has none."""
    members = [langevin(2.0, 1.0), langevin(-2.0, 1.0)]
    with pytest.raises(ValueError, match="another kind of observables in member 1"):
        next(kjko.ensemble(members, end_time=0.2))


class Pushes(eqx.Module):
    """A control with a leaf that is no array."""

    strength: jax.Array
    bend: Callable = jnp.tanh

    def __call__(self, x, v):
        return self.strength * self.bend(x + v)


def test_controls_may_hold_functions():
    problem, _, _ = langevin(2.0, 1.0)
    method = kjko.JKO(Pushes(jnp.asarray(-0.1)), kjko.Adam(steps=2))
    particles = kjko.sample(problem.law, 50, seed=0)
    members = [(problem, method, method.init(problem, particles, 0.1, seed)) for seed in (0, 1)]
    with traces_of("_advance") as traced:
        steps = list(kjko.ensemble(members, end_time=0.3))
    assert len(steps) == 4 and len(traced) == 1
    assert steps[-1][0].memory.control.bend is jnp.tanh


def test_there_are_none():
    with pytest.raises(ValueError, match="expected one or more"):
        next(kjko.ensemble([], end_time=0.3))


def test_devices_share_no_members(members):
    with kjko.several(1), pytest.raises(ValueError, match="not shared out among devices"):
        next(kjko.ensemble(members, end_time=0.3))


@pytest.mark.parametrize("after", [0, 1])
def test_a_failure_names_the_member(members, after, monkeypatch):
    """At the start, and after a step."""
    problem, method, state = members[1]
    lost = eqx.tree_at(lambda s: s.particles.log_f, state, state.particles.log_f.at[0].set(np.nan))
    both = [members[0], (problem, method, lost if after == 0 else state)]
    steps = kjko.ensemble(both, end_time=0.3)
    if after == 1:
        next(steps)
        monkeypatch.setattr("kjko.ensembles.check", refuse_the_second())
    with pytest.raises(kjko.NumericalFailure, match="member 1: "):
        list(steps)


def refuse_the_second():
    """In place of the check: no record that is looked at second passes."""
    seen = []

    def check(record, before):
        assert before["step"] == record["step"] - 1
        seen.append(record)
        if len(seen) == 2:
            raise kjko.NumericalFailure("it is refused")

    return check
