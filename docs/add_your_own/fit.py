"""A fit of your own: plain gradient descent on the loss."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from kjko.interfaces import LOSS, AbstractFit, FitInfo


class Descent(AbstractFit):
    """`steps` steps of length `rate` down the gradient of the loss over h."""

    steps: int = 50
    rate: float = 0.1
    needs: ClassVar[tuple[str, ...]] = (LOSS,)

    def refuses(self, control):
        return None

    def __call__(self, subproblem, control, previous, stage, key):
        params, static = eqx.partition(previous, eqx.is_inexact_array)

        def loss(params):
            return subproblem(eqx.combine(params, static), stage)[0]

        def step(_, params):
            slopes = jax.grad(loss)(params)
            return jax.tree.map(lambda p, s: p - self.rate / subproblem.h * s, params, slopes)

        params = jax.lax.fori_loop(0, self.steps, step, params)
        return eqx.combine(params, static), FitInfo(loss(params), jnp.asarray(jnp.nan), self.steps)
