"""The control against that of a known law."""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from kjko.core import Bath, State
from kjko.interfaces import AbstractCollisions, AbstractObservable, AbstractStepInfo, Record
from kjko.observe.start import Start, step_length, time_of
from kjko.problem import Problem
from kjko.reference import KnownLaw, score_error


class DriftError(AbstractObservable):
    """`drift_error`: mean |u − u*|² at the particles, (34); u* = −ε (v − ū + T ∇ᵥ log f).

    `law`: the f that it is held to; if not given, the exact one where that is known in closed form.
    """

    law: KnownLaw | None = None
    keys: ClassVar[tuple[str, ...]] = ("drift_error",)

    def prepare(self, start: Start) -> "DriftError":
        return self if self.law is not None else DriftError(start.exact)

    def record(
        self,
        problem: Problem,
        state: State,
        info: AbstractStepInfo | None,
        measured: Mapping[str, np.ndarray],
    ) -> Record:
        applied, law = None if info is None else info.applied, self.law
        if applied is None or law is None:
            return {"drift_error": None}
        time = time_of(state) - (1 - float(applied.when)) * step_length(state)
        bath = _bath(problem.collisions, applied.particles.x, applied.particles.v)
        if bath is None or not law.knows(time):
            return {"drift_error": None}
        x, v, u, velocity = (
            np.asarray(a, dtype=float)
            for a in (applied.particles.x, applied.particles.v, applied.u, bath.velocity)
        )
        rate, temperature = (np.asarray(a, dtype=float) for a in (bath.rate, bath.temperature))
        error = score_error(law, time, x, v, u, rate, velocity, temperature)
        return {"drift_error": error}


@eqx.filter_jit
def _bath(
    collisions: AbstractCollisions, x: Float[Array, "n d_x"], v: Float[Array, "n d"]
) -> Bath | None:
    return collisions.freeze(x, v)
