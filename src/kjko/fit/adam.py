"""Gradient descent."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Key

from kjko.fit.held_out import split
from kjko.interfaces import AbstractFit, Control, FitResult, Stage
from kjko.subproblem import Subproblem


class Adam(AbstractFit):
    """Adam for a number of `steps` (K of Algorithm 1), in one compiled loop.

    `learning_rate`, and its `schedule` within a step: constant, or a half cosine to zero.
    `held_out`: the fraction of the particles, drawn anew at every step, that is kept from the
    gradient; of all iterates that do not fold the map at any particle, the one with the least loss
    on it is the result. With 0 the last iterate is, as in the paper. `warm_start`: begin with the
    last step's control, or anew (Algorithm 1).
    """

    steps: int = 100
    learning_rate: float = 2e-2
    schedule: Literal["constant", "cosine"] = "cosine"
    held_out: float = 0.5
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

        def loss_on(part, params):
            return subproblem(eqx.combine(params, static), part)

        def choose(best, params, loss, det_min):
            """Keep what does best on the held-out particles; without any, the newest."""
            if held is None:
                return params, loss, jnp.full_like(loss, jnp.nan)
            held_loss, held_det_min = loss_on(held, params)
            candidate = (params, loss, held_loss)
            better = (held_loss < best[2]) & (det_min > 0) & (held_det_min > 0)
            return jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, best)

        def step(carry, _):
            params, opt_state, best = carry
            (loss, det_min), gradient = value_and_grad(params)
            best = choose(best, params, loss, det_min)
            updates, opt_state = optimiser.update(gradient, opt_state)
            return (optax.apply_updates(params, updates), opt_state, best), None

        value_and_grad = jax.value_and_grad(lambda p: loss_on(fitted, p), has_aux=True)
        infinity = jnp.asarray(jnp.inf, dtype=stage.v.dtype)
        start = (params, optimiser.init(params), (params, infinity, infinity))
        (params, _, best), _ = jax.lax.scan(step, start, length=self.steps)
        params, loss, loss_heldout = choose(best, params, *loss_on(fitted, params))
        return FitResult(eqx.combine(params, static), loss, loss_heldout, self.steps)
