"""Gradient descent."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Key

from kjko.fit.gradient import value_and_gradient
from kjko.fit.held_out import Best, choose, split
from kjko.interfaces import AbstractFit, Control, FitResult, Stage
from kjko.subproblem import Subproblem

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
    schedule: Literal["constant", "cosine"] = "cosine"
    held_out: float = 0.5
    tolerance: float = 1e-3
    warm_start: bool = False

    def __call__(
        self, subproblem: Subproblem, control: Control, previous: Control, stage: Stage, key: Key
    ) -> FitResult:
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
        return FitResult(eqx.combine(best.params, static), best.loss, best.loss_heldout, count)
