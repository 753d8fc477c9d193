"""The control against that of a known law."""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array

from kjko.core import State
from kjko.described import OnHost
from kjko.interfaces import (
    AbstractObservable,
    AbstractStepInfo,
    Measured,
    Record,
)
from kjko.observe.start import Start, step_length, time_of
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, score_error


def _on_host(law: KnownLaw | OnHost | None) -> OnHost | None:
    return law if law is None or isinstance(law, OnHost) else OnHost(law)


class DriftError(AbstractObservable):
    """`drift_error`: mean |u − u*|² at the particles, (34); u* = −ε (v − ū + T ∇ᵥ log f).

    `law`: the f that it is held to; if not given, the exact one where that is known in closed form.
    """

    law: OnHost | None = eqx.field(default=None, converter=_on_host)
    keys: ClassVar[tuple[str, ...]] = ("drift_error",)

    def prepare(self, start: Start) -> "DriftError":
        return self if self.law is not None else DriftError(start.exact)

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        applied = None if info is None else info.applied
        if applied is None or self.law is None:
            return {}
        x, v = applied.particles.x, applied.particles.v
        bath = problem.collisions.freeze(x, v)
        if bath is None:
            return {}
        of_bath = {"rate": bath.rate, "velocity": bath.velocity, "temperature": bath.temperature}
        return {"x": x, "v": v, "u": applied.u, **of_bath, "when": applied.when}

    def record(self, problem: Problem, state: State, measured: Measured) -> Record:
        if self.law is None or not measured:
            return {"drift_error": None}
        known = {name: np.asarray(values, dtype=float) for name, values in measured.items()}
        time = time_of(state) - (1 - float(known.pop("when"))) * step_length(state)
        law: KnownLaw = self.law.value
        if not law.knows(time):
            return {"drift_error": None}
        return {"drift_error": score_error(law, time, **known)}
