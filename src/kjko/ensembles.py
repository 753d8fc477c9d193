"""Many small problems at once: seeds, or parameters, as the members of an ensemble."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from kjko.core import State
from kjko.devices import cores, in_use
from kjko.interfaces import AbstractMethod, AbstractObservable, Record
from kjko.observe import DEFAULT, NumericalFailure, Observer, Start, check
from kjko.observe.observer import measure_all
from kjko.observe.start import step_length
from kjko.observe.trust import warn_of_density
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

    A member is a problem, its method and the state that it starts from. `states` is a `State` whose
    arrays, on the host, have the members as their first axis: `jax.tree.map(lambda a: a[i],
    states)` is that of member i, to go on from. `records` has for each member what `kjko.simulate`
    gives, "seconds" its share of the time of all.

        starts = [method.init(problem, kjko.sample(law, 1000, s), 0.1, s) for s in range(32)]
        members = [(problem, method, start) for start in starts]
        for states, records in kjko.ensemble(members, end_time=2.0):
            print(np.std([record["free_energy"] for record in records]))

    Each core of a processor takes a part of the members, one after another; any other device takes
    all of them at once, by `jax.vmap`. What a method learns before the first step is learned by one
    member after another.

    Raises ValueError for members that differ in more than numbers or in their steps, and where
    devices share particles; NumericalFailure as `kjko.simulate`, with the number of the member.
    Warns of an `UntrustedDensity`, once.
    """
    steps = _common_steps(members, end_time)
    observers = [Observer(Start(p, m, state.particles), observables) for p, m, state in members]
    _check_kinds([(each.observables, *of) for each, of in zip(observers, members, strict=True)])
    records = [each(of[-1], None) for each, of in zip(observers, members, strict=True)]
    _check_each(records, None)
    yield _stacked([state for *_, state in members]), records

    start, first = time.perf_counter(), int(members[0][-1].step)
    of = [
        (each.observables, problem, method, learned(problem, method, state, steps))
        for each, (problem, method, state) in zip(observers, members, strict=True)
    ]
    groups = [_stacked([of[i] for i in rows]) for rows in _groups(len(members), _workers())]
    advance = program(_advance, *groups[0], quick=is_quick(*of[0][2:]))
    wide: bool = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]

    def advanced(group):
        with jax.enable_x64(wide):  # which each thread has for itself
            return jax.block_until_ready(advance(*group))

    is_warned = False
    with ThreadPoolExecutor(len(groups)) as pool:
        for _ in range(first, steps):
            before, done = records, list(pool.map(advanced, groups))
            groups = [(*group[:3], state) for group, (state, _) in zip(groups, done, strict=True)]
            states, measured = _joined(done, len(members))
            records = [
                each.record(*_member(i, (states, measured))) for i, each in enumerate(observers)
            ]
            seconds = (time.perf_counter() - start) / len(members)
            records = [record | {"seconds": seconds} for record in records]
            _check_each(records, before)
            is_warned = is_warned or warn_of_density(records)
            yield states, records
            start = time.perf_counter()


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
    *_, first = members[0]
    for number, (*_, state) in enumerate(members):
        for name in ("step", "time_step"):
            own, common = (float(getattr(each, name)) for each in (state, first))
            if own != common:
                raise ValueError(
                    f"members: expected the same {name} in all states, got {own:g} in member"
                    f" {number} and {common:g} in the first"
                )
    return number_of_steps(end_time, step_length(first))


def _check_kinds(members: Sequence[tuple[Any, Problem, AbstractMethod, State]]) -> None:
    """Raise ValueError for the first that differs from the first of all in more than numbers."""
    parts = ("observables", "problem", "method", "state")
    for number, member in enumerate(members):
        for name, own, common in zip(parts, member, members[0], strict=True):
            if Kind(_on_host(own)) != Kind(_on_host(common)):
                raise ValueError(
                    f"members: expected all to differ in numbers only, got another kind of {name}"
                    f" in member {number} than in the first"
                )


def _on_host(tree: Any) -> Any:
    """With arrays of numpy, which are not weakly typed."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if eqx.is_array(leaf) else leaf, tree)


def _workers() -> int:
    """The threads that take members: one for each core, or one for another device."""
    return cores() if jax.default_backend() == "cpu" else 1


def _groups(number: int, workers: int) -> list[Int[np.ndarray, " size"]]:
    """The members that each worker takes. The last one is taken more than once where that gives
    each worker as many.
    """
    size = -(-number // min(workers, number))
    parts = -(-number // size)
    return list(np.minimum(np.arange(parts * size), number - 1).reshape(parts, size))


def _stacked(trees: Sequence[Any]) -> Any:
    """The trees as one, whose arrays have them as their first axis."""
    return _merged(np.stack, trees)


def _joined(groups: Sequence[Any], number: int) -> Any:
    """The first `number` members of stacked groups as one, on the host."""
    return _merged(lambda leaves: np.concatenate(leaves)[:number], groups)


def _merged(merge: Callable[[Sequence[np.ndarray]], np.ndarray], trees: Sequence[Any]) -> Any:
    """One tree, whose arrays are merged of those of all, and whose other leaves are the first's."""
    arrays, (others, *_) = zip(*(eqx.partition(tree, eqx.is_array) for tree in trees), strict=True)
    merged = jax.tree.map(lambda *leaves: merge(leaves), *jax.device_get(arrays))
    return eqx.combine(merged, others)


def _member(number: int, stacked: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[number] if eqx.is_array(leaf) else leaf, stacked)


def _check_each(records: Sequence[Record], before: Sequence[Record] | None) -> None:
    """Raise NumericalFailure, naming the member, as `kjko.observe.check` does."""
    for number, record in enumerate(records):
        try:
            check(record, before[number] if before else None)
        except NumericalFailure as failure:
            raise NumericalFailure(f"member {number}: {failure}") from None
