"""Many small problems at once: seeds, or parameters, as the members of an ensemble."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from kjko.core import State
from kjko.devices import in_use
from kjko.interfaces import AbstractMethod, AbstractObservable, Record
from kjko.observe import DEFAULT, NumericalFailure, Observer, Start, check
from kjko.observe.observer import measure_all
from kjko.observe.start import step_length
from kjko.problem import Problem
from kjko.programs import Kind, program
from kjko.simulation import is_quick, learned, number_of_steps, take_step

Member = tuple[Problem, AbstractMethod, State]


def ensemble(
    members: Sequence[Member],
    *,
    end_time: float,
    observables: Sequence[AbstractObservable] = DEFAULT,
) -> Iterator[tuple[State, list[Record]]]:
    """Solve problems that differ in numbers only, compiled once; yield (states, records) from the
    start on.

    A member is a problem, its method and the state that it starts from. `states` is one whose
    arrays, on the host, have the members as their first axis; `records` has for each member what
    `kjko.simulate` gives, "seconds" its share of the time of all.

        starts = [method.init(problem, kjko.sample(law, 1000, s), 0.1, s) for s in range(32)]
        members = [(problem, method, start) for start in starts]
        for states, records in kjko.ensemble(members, end_time=2.0):
            print(np.std([record["free_energy"] for record in records]))

    The cores of a processor each have a part of the members, one after another; any other device
    has them all at once, by `jax.vmap`.

    Raises ValueError for members that differ in more than numbers or in their steps, and where
    devices share particles; NumericalFailure as `kjko.simulate`, with the number of the member.
    """
    steps = _common_steps(members, end_time)
    observers = [Observer(Start(p, m, state.particles), observables) for p, m, state in members]
    members = [(p, m, learned(p, m, state, steps)) for p, m, state in members]
    records = [each(state, None) for each, (*_, state) in zip(observers, members, strict=True)]
    _check_each(records, None)
    yield _stacked([state for *_, state in members]), records

    of = [(each.observables, *member) for each, member in zip(observers, members, strict=True)]
    quick, first = is_quick(*members[0][1:]), int(members[0][2].step)
    groups = [_stacked([of[i] for i in rows]) for rows in _groups(len(members))]
    advance = program(_advance, *groups[0], quick=quick)
    with ThreadPoolExecutor(len(groups)) as pool:
        for _ in range(first, steps):
            start, before = time.perf_counter(), records
            done = list(pool.map(lambda group: jax.block_until_ready(advance(*group)), groups))
            groups = [(*group[:3], state) for group, (state, _) in zip(groups, done, strict=True)]
            states, measured = _joined(done, len(members))
            records = [
                each.record(*jax.tree.map(lambda leaf, i=i: leaf[i], (states, measured)))
                for i, each in enumerate(observers)
            ]
            seconds = (time.perf_counter() - start) / len(members)
            records = [record | {"seconds": seconds} for record in records]
            _check_each(records, before)
            yield states, records


@eqx.filter_jit
def _advance(observables: Any, problem: Problem, method: AbstractMethod, state: State) -> Any:
    """A step of each of some members, and what is measured after it."""
    arrays, others = eqx.partition((observables, problem, method, state), eqx.is_array)
    rest = []

    def of_one(arrays):
        observables, problem, method, state = eqx.combine(arrays, others)
        after, info = take_step(problem, method, state)
        result = after, measure_all(observables, problem, after, info)
        found, other = eqx.partition(result, eqx.is_array)
        rest.append(other)
        return found

    one_by_one = jax.default_backend() == "cpu"  # together they take four times as long there
    found = jax.lax.map(of_one, arrays) if one_by_one else jax.vmap(of_one)(arrays)
    return eqx.combine(found, rest[-1])


def _common_steps(members: Sequence[Member], end_time: float) -> int:
    """The number of steps that each is to have at the end."""
    if not members:
        raise ValueError("members: expected one or more, got none")
    if in_use():
        raise ValueError("members: they are not shared out among devices; leave kjko.several")
    kind, (*_, first) = Kind(members[0]), members[0]
    for number, member in enumerate(members):
        if Kind(member) != kind:
            raise ValueError(
                f"members: expected all to differ in numbers only, got member {number} with another"
                " kind of problem, method or state than the first"
            )
        for name in ("step", "time_step"):
            own, common = (float(getattr(state, name)) for state in (member[2], first))
            if own != common:
                raise ValueError(
                    f"members: expected the same {name} in all states, got {own:g} in member"
                    f" {number} and {common:g} in the first"
                )
    return number_of_steps(end_time, step_length(first))


def _groups(number: int) -> list[Int[np.ndarray, " size"]]:
    """The members of each core; all of them on another device. The last ones are done more than
    once where that gives each core as many.
    """
    cores = len(os.sched_getaffinity(0)) if jax.default_backend() == "cpu" else 1
    size = -(-number // min(cores, number))
    parts = -(-number // size)
    return list(np.minimum(np.arange(parts * size), number - 1).reshape(parts, size))


def _stacked(trees: Sequence[Any]) -> Any:
    """One whose arrays have the trees as their first axis."""
    arrays, (others, *_) = zip(*(eqx.partition(tree, eqx.is_array) for tree in trees), strict=True)
    return eqx.combine(jax.tree.map(lambda *leaves: np.stack(leaves), *arrays), others)


def _joined(parts: Sequence[Any], number: int) -> Any:
    """The first `number` of the members that the parts are of, on the host."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:number], *jax.device_get(parts))


def _check_each(records: Sequence[Record], before: Sequence[Record] | None) -> None:
    """Raise NumericalFailure, naming the member, as `kjko.observe.check` does."""
    for number, record in enumerate(records):
        try:
            check(record, before[number] if before else None)
        except NumericalFailure as failure:
            raise NumericalFailure(f"member {number}: {failure}") from None
