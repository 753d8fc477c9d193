"""What the fit of a step reports."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kjko.core import State
from kjko.interfaces import AbstractObservable, AbstractStepInfo
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

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        if info is None or info.fit is None:
            return {}
        fit = info.fit
        measured = {
            "loss_heldout": fit.loss_heldout,
            "fit_r2": jnp.asarray(fit.explained),
            "unresolved": jnp.asarray(fit.unresolved),
            "fit_iterations": jnp.asarray(fit.iterations),
        }
        if self.collides:
            measured["loss"] = fit.loss
        if info.det_min is not None:
            measured["det_min"] = info.det_min
        return measured
