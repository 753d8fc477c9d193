"""A method of your own: the collisions by the exact control of a Gaussian, from moments alone."""

from typing import Any, ClassVar

import jax.numpy as jnp

from kjko.core import Particles, sums
from kjko.interfaces import AbstractMethod, AbstractStepInfo
from kjko.methods.states import first_state, next_state
from kjko.splitting import StrangMidpoint


class MomentInfo(AbstractStepInfo):
    """`stretch`: by what the collisions of the step have changed the volume."""

    stretch: Any
    fit: ClassVar[None] = None
    applied: ClassVar[None] = None
    det_min: ClassVar[None] = None
    passage: ClassVar[None] = None


class Moments(AbstractMethod):
    """v' = ū' + S'^½ S^−½ (v − ū): mean and variance as the exact collisions make them, in 1D1V.

    Second order between half steps of the flow, and exact in law where f is a Gaussian in v.
    """

    carries_density: ClassVar[bool] = True
    splitting: ClassVar[StrangMidpoint] = StrangMidpoint()

    def init(self, problem, particles, time_step, seed=0):
        return first_state(problem, particles, time_step, seed, None)

    def step(self, problem, state):
        t, dt = state.time, state.time_step
        stage, field = self.splitting.prepare(problem, state.field, state.particles, t, dt)
        x, v, strength = stage.x_free[:, 0], stage.v_free[:, 0], stage.bath.rate[0] * dt
        slope, offset = jnp.polyfit(x, v, 1)  # of the mean of v at x
        rest = v - slope * x - offset
        before = sums.mean(rest**2)
        decay = jnp.exp(-2 * strength)
        after = decay * before + (1 - decay) * stage.bath.temperature[0]
        stretch = jnp.sqrt(after / before)
        moved = jnp.exp(-strength) * (slope * x + offset) + stretch * rest
        moved = Particles(stage.x_free, moved[:, None], stage.log_f - jnp.log(stretch))
        particles, field = self.splitting.finish(problem, field, moved, t, dt)
        return next_state(problem, state, particles, field, None), MomentInfo(stretch)
