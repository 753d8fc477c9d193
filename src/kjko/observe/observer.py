"""All observables of a run together."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from kjko.core import State
from kjko.hosts import at_hand
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Record
from kjko.observe.drift_error import DriftError
from kjko.observe.energies import Energies
from kjko.observe.failure import CHECKED
from kjko.observe.fit_report import FitReport
from kjko.observe.free_energy import Entropies
from kjko.observe.marginals import Marginals
from kjko.observe.score_check import ScoreCheck
from kjko.observe.start import Start, time_of
from kjko.problem import Problem
from kjko.programs import FEW, program

DEFAULT: tuple[AbstractObservable, ...] = (
    Energies(),
    Entropies(),
    DriftError(),
    FitReport(),
    ScoreCheck(),
    Marginals(),
)


class Observer:
    """What a run measures: the record of a state, by all observables in one compiled pass."""

    def __init__(self, start: Start, observables: Sequence[AbstractObservable] = DEFAULT):
        self.problem: Problem = start.problem
        self.observables: tuple[AbstractObservable, ...] = tuple(
            each.prepare(start) for each in observables
        )
        self._measure: dict[bool, Callable] = {}  # at the start, and after a step

    def __call__(self, state: State, info: AbstractStepInfo | None) -> Record:
        """A dictionary with "step", "time", the observables' keys and "seconds", which is left to
        the caller; None where a quantity has no meaning, or is not finite and none that a run is
        stopped for.
        """
        of = (self.observables, self.problem, state, info)
        is_first = info is None
        if is_first not in self._measure:
            quick = len(state.particles.v) <= FEW
            self._measure[is_first] = program(measure_all, *of, quick=quick)
        return self.record(state, jax.device_get(at_hand(self._measure[is_first](*of))))

    def record(self, state: State, measured: Any) -> Record:
        """The record of a state by what `measure_all` has given, on the host."""
        record: Record = {"step": int(state.step), "time": time_of(state)}
        with np.errstate(all="ignore"):  # what is not finite is for `check` to tell
            for each, values in zip(self.observables, measured, strict=True):
                record |= each.record(self.problem, state, values)
        for key, value in record.items():
            if key not in CHECKED and isinstance(value, float) and not math.isfinite(value):
                record[key] = None
        return record | {"seconds": None}


@eqx.filter_jit
def measure_all(
    observables: tuple[AbstractObservable, ...],
    problem: Problem,
    state: State,
    info: AbstractStepInfo | None,
) -> list[dict[str, Array]]:
    """What each observable measures, in one compiled pass."""
    return [each.measure(problem, state, info) for each in observables]
