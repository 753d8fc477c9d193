"""Gradient descent."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Key

from kjko.core import Stage
from kjko.core.checks import expect_one_of
from kjko.fit.gradient import value_and_gradient
from kjko.fit.held_out import Best, choose, split
from kjko.interfaces import (
    LOSS,
    AbstractFit,
    AbstractLinearControl,
    AbstractSubproblem,
    Control,
    FitInfo,
)

Schedule = Literal["constant", "cosine"]
WINDOW = 20  # steps in which the loss must fall


class Adam(AbstractFit):
    """Adam for at most a number of `steps` (K of Algorithm 1), in one compiled loop.

    `learning_rate`, and its `schedule` within a step: constant, or a half cosine to zero.
    `held_out`: the fraction of the particles, drawn anew at every step, that is kept from the
    gradient; of all iterates that do not fold the map at any particle, the one with the least loss
    on it is the result. With 0 the last iterate is, as in the paper. `tolerance`: the fit ends when
    the loss by which the result is chosen has fallen by less than this fraction in the last 20
    steps; with 0 it never ends early. `warm_start`: begin with the last step's control, or anew
    (Algorithm 1).
    """

    steps: int = 100
    learning_rate: float = 2e-2
    schedule: Schedule = "cosine"
    held_out: float = 0.5
    tolerance: float = 1e-3
    warm_start: bool = False
    needs: ClassVar[tuple[str, ...]] = (LOSS,)

    def __check_init__(self) -> None:
        expect_one_of("schedule", self.schedule, Schedule)

    def refuses(self, control: Control) -> str | None:
        return refuses_expansion(control, "Adam")

    def __call__(
        self,
        subproblem: AbstractSubproblem,
        control: Control,
        previous: Control,
        stage: Stage,
        key: Key,
    ) -> tuple[Control, FitInfo]:
        fitted, held = split(stage, self.held_out, key)
        params, static = eqx.partition(
            previous if self.warm_start else control, eqx.is_inexact_array
        )
        rate = self.learning_rate
        if self.schedule == "cosine":
            rate = optax.cosine_decay_schedule(self.learning_rate, self.steps)
        optimiser = optax.adam(rate)

        def losses(params):
            return subproblem(eqx.combine(params, static), fitted)

        def keep(best, params, of_params):
            return choose(best, subproblem, eqx.combine(params, static), params, of_params, held)

        def step(carry):
            params, opt_state, best, at_window, count = carry
            of_params, gradient = value_and_gradient(subproblem, params, static, fitted)
            best = keep(best, params, of_params)
            updates, opt_state = optimiser.update(gradient, opt_state)
            params = optax.apply_updates(params, updates)
            now, (before, _) = best.judged(held), at_window
            over = count % WINDOW == WINDOW - 1
            stands = now >= before - self.tolerance * jnp.abs(before)  # not from infinity
            falls = ~(over & stands)
            return params, opt_state, best, (jnp.where(over, now, before), falls), count + 1

        def go_on(carry):
            *_, (_, falls), count = carry
            return (count < self.steps) & (falls | (self.tolerance == 0))

        best = Best.start(params, stage.v.dtype)
        at_window = (best.loss, jnp.asarray(True))
        start = (params, optimiser.init(params), best, at_window, jnp.asarray(0))
        params, _, best, _, count = jax.lax.while_loop(go_on, step, start)
        best = keep(best, params, losses(params))
        control = eqx.combine(best.params, static)
        return control, FitInfo(best.loss, best.loss_heldout, count)


def refuses_expansion(control: Control, fit: str) -> str | None:
    """A fit that changes every number of a control would change the scales of a basis too."""
    if not isinstance(control, AbstractLinearControl):
        return None
    return f"{fit} fits every number of a control, and those of a basis are its scales; use Newton"
