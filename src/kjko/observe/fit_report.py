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
    its value at u = 0. `fit_r2`: the share of the mean square of g = log f − log f∞, of the frozen
    bath, that the fit explains on the held-out particles, and `unresolved`, half the mean square of
    what it leaves: what the relative entropy ½ E[g²] may be wrong by; null if it fits no values.
    `fit_iterations`. `det_min`: the smallest determinant of the step. Null without a control.
    """

    collides: bool = True
    keys: ClassVar[tuple[str, ...]] = (
        "loss",
        "loss_heldout",
        "fit_r2",
        "unresolved",
        "fit_iterations",
        "det_min",
    )

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
        of_values = {"fit_r2": info.fit.explained, "unresolved": info.fit.unresolved}
        known = {key: float(number) for key, number in of_values.items()}
        record |= {key: None if np.isnan(number) else number for key, number in known.items()}
        record["fit_iterations"] = int(info.fit.iterations)
        record["det_min"] = None if info.det_min is None else float(info.det_min)
        return record
