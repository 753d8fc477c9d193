"""The time loop, on the host around one compiled step."""

import math
import time
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax

from kjko.core import Particles, State
from kjko.history import History, law_of_map
from kjko.initial import AbstractLaw
from kjko.interfaces import (
    AbstractBasis,
    AbstractMethod,
    AbstractObservable,
    AbstractStepInfo,
    Record,
)
from kjko.methods.passage import Passage
from kjko.observe import DEFAULT, Observer, Start, check
from kjko.observe.start import step_length
from kjko.observe.trust import warn_of_density
from kjko.problem import Problem
from kjko.programs import FEW, program


@eqx.filter_jit
def take_step(
    problem: Problem, method: AbstractMethod, state: State
) -> tuple[State, AbstractStepInfo]:
    """One compiled step, compiled once for a method and a kind of problem whatever its numbers.

    Products of matrices have all digits, also where a device would round them for speed.
    """
    with jax.default_matmul_precision("highest"):
        after, info = method.step(problem, state)
    return after.shared_out(), info


def evolve(
    problem: Problem,
    method: AbstractMethod,
    observer: Observer,
    state: State,
    steps: int,
    before: Record | None,
) -> Iterator[tuple[State, AbstractStepInfo, Record]]:
    """Take steps until the state has `steps` of them; yield each state with what the step told and
    its record.

    `before`: the record of the state that it starts from, if there is one. What the method learns
    before the first step counts to that step's seconds.

    Raises NumericalFailure at the step that went wrong; the states yielded before it are good.
    """
    start = time.perf_counter()
    state = learned(problem, method, state, steps).shared_out()
    step = program(take_step, problem, method, state, quick=is_quick(method, state))
    for _ in range(int(state.step), steps):
        state, info = step(problem, method, state)
        record = observer(state, info)
        record["seconds"] = time.perf_counter() - start
        check(record, before)
        yield state, info, record
        start, before = time.perf_counter(), record


def learned(problem: Problem, method: AbstractMethod, state: State, steps: int) -> State:
    """The state with what the method learns before the first of `steps` steps."""
    return method.learn(problem, state, steps) if int(state.step) == 0 else state


def is_quick(method: AbstractMethod, state: State) -> bool:
    """Whether a step is products and sums, of not too many particles to be compiled in haste."""
    nodes = jax.tree.leaves(method, is_leaf=lambda node: isinstance(node, AbstractBasis))
    bases = [node for node in nodes if isinstance(node, AbstractBasis)]
    few = len(state.particles.v) <= FEW
    return few and bool(bases) and all(basis.polynomial for basis in bases)


def number_of_steps(end_time: float, time_step: float) -> int:
    """⌈T/Δt⌉, forgiving the rounding of T/Δt. Raises ValueError if that is no number of steps."""
    ratio = end_time / time_step
    if not 0 < ratio < 2**31 - 1:  # a step is counted in 32 bits
        raise ValueError(
            f"end_time: expected 1 to 2^31 steps of time_step = {time_step:g}, got {end_time:g}"
        )
    return max(1, math.ceil(ratio - 1e-9))


class Simulation(Iterator[tuple[State, Record]]):
    """What `kjko.simulate` gives: an iterator over states and records, from the start on."""

    def __init__(
        self,
        problem: Problem,
        method: AbstractMethod,
        state: State,
        steps: int,
        observables: Sequence[AbstractObservable],
        law: AbstractLaw | None,
    ):
        """`law`: of the start, where steps are to be kept."""
        self._problem, self._method, self._first, self._law = problem, method, state, law
        observer = Observer(Start(problem, method, state.particles), observables)
        self._going = self._go(observer, steps)
        self._passages: list[Passage] = []
        self._history: History | None = None
        self._is_warned = False

    def __next__(self) -> tuple[State, Record]:
        state, record = next(self._going)
        self._is_warned = self._is_warned or warn_of_density([record])
        return state, record

    def _go(self, observer: Observer, steps: int) -> Iterator[tuple[State, Record]]:
        first = observer(self._first, None)
        check(first)
        yield self._first, first
        taken = evolve(self._problem, self._method, observer, self._first, steps, first)
        for state, info, record in taken:
            if self._law is not None and info.passage is not None:
                self._passages.append(info.passage.trimmed())
            yield state, record

    @property
    def history(self) -> History:
        """The density at any point and time up to the last step that was taken: slices, marginals,
        scores, new particles. Raises ValueError if `history` was not given.
        """
        if self._law is None:
            raise ValueError("history: steps were not kept; give simulate(..., history=True)")
        if self._history is None or len(self._history.passages) < len(self._passages):
            self._history = History(self._problem, self._law, self._first, self._passages)
        return self._history


def simulate(
    problem: Problem,
    method: AbstractMethod,
    particles: Particles | None = None,
    *,
    end_time: float,
    time_step: float | None = None,
    seed: int = 0,
    state: State | None = None,
    observables: Sequence[AbstractObservable] = DEFAULT,
    history: bool = False,
) -> Simulation:
    """Solve up to `end_time`; an iterator over (state, record) from the start on.

    Either from `particles` at t = 0 in steps of `time_step`, with `seed` for all that is drawn, or
    on from the `state` where another simulation has stopped, which has all three. `record` is a
    dictionary with "step", "time", "seconds" and the keys of the `observables`, see `kjko.observe`.

        for state, record in kjko.simulate(problem, method, particles, time_step=0.1, end_time=2.0):
            print(record["time"], record["free_energy"])

    With `history` what each step does to phase space is kept, some kB a step and the fields of a
    mesh, and the density is known anywhere:

        going = kjko.simulate(problem, method, particles, time_step=0.1, end_time=2.0, history=True)
        records = [record for _, record in going]
        f = going.history.slice(1.25, x1=np.linspace(-3, 3, 61), v1=np.linspace(-3, 3, 61))

    Raises ValueError for parts that do not go together, and for a `history` where the density is
    known at the particles only or the state is not one at t = 0; NumericalFailure if a step gives a
    value that is not finite or a map that folds. Warns of an `UntrustedDensity`, once.
    """
    state, steps = _begin(problem, method, particles, end_time, time_step, seed, state)
    if history and int(state.step) > 0:
        raise ValueError("history: expected a simulation from t = 0 on, got one that goes on")
    law = law_of_map(problem, method, state.particles) if history else None
    return Simulation(problem, method, state, steps, observables, law)


def _begin(
    problem: Problem,
    method: AbstractMethod,
    particles: Particles | None,
    end_time: float,
    time_step: float | None,
    seed: int,
    state: State | None,
) -> tuple[State, int]:
    """The first state, and how many steps the last one has."""
    if state is not None:
        if particles is not None or time_step is not None:
            raise ValueError("state: it has its particles and time_step; give it alone")
        return state.shared_out(), number_of_steps(end_time, step_length(state))
    if particles is None or time_step is None:
        raise ValueError("particles, time_step: expected both, or a state to go on from")
    state = method.init(problem, particles, time_step, seed)
    return state.shared_out(), number_of_steps(end_time, time_step)
