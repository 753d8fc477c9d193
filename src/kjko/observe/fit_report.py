"""What the fit of a step reports."""

from collections.abc import Mapping
from typing import ClassVar

import jax
import numpy as np

from kjko.core import State
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Record
from kjko.observe.start import Start
from kjko.problem import Problem


class FitReport(AbstractObservable):
    """`loss` and `loss_heldout`: the objective on the fitted and on the held-out particles, minus
    its value at u = 0. `fit_iterations`. `det_min`: the smallest determinant of the step. Null
    without a control.
    """

    collides: bool = True
    keys: ClassVar[tuple[str, ...]] = ("loss", "loss_heldout", "fit_iterations", "det_min")

    def prepare(self, start: Start) -> "FitReport":
        x, v = start.particles.x, start.particles.v
        bath = jax.eval_shape(start.problem.collisions.freeze, x, v)
        return FitReport(bath is not None)

    def record(
        self,
        problem: Problem,
        state: State,
        info: AbstractStepInfo | None,
        measured: Mapping[str, np.ndarray],
    ) -> Record:
        record: Record = dict.fromkeys(self.keys)
        if info is None or info.fit is None:
            return record
        held = float(info.fit.loss_heldout)
        record["loss"] = float(info.fit.loss) if self.collides else None
        record["loss_heldout"] = None if np.isnan(held) else held
        record["fit_iterations"] = int(info.fit.iterations)
        record["det_min"] = None if info.det_min is None else float(info.det_min)
        return record
