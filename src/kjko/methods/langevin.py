"""Stochastic particles."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.core import Particles, Stage, State, sums
from kjko.interfaces import AbstractMethod, AbstractSplitting, AbstractStepInfo
from kjko.methods.checks import check_flow
from kjko.methods.states import first_state, next_state
from kjko.problem import Problem
from kjko.splitting import StrangMidpoint


class LangevinInfo(AbstractStepInfo):
    """Nothing is learned and no density is carried. `heating`: mean of ½|v|² that the collisions of
    the step have added.
    """

    heating: Float[Array, ""]
    fit: ClassVar[None] = None
    applied: ClassVar[None] = None
    det_min: ClassVar[None] = None
    passage: ClassVar[None] = None


class Langevin(AbstractMethod):
    """Langevin dynamics: samples of the same equation, without a density.

        dx = v dt,    dv = a dt − ε (v − ū) dt + √(2εT) dW

    Between two half steps of Störmer-Verlet the Ornstein-Uhlenbeck process is exact,

        v' = ū + e^{−εΔt} (v − ū) + √(T (1 − e^{−2εΔt})) ξ,    ξ standard normal.

    Second order in law. `splitting`: where in a step the collisions act, after the flow.
    """

    splitting: AbstractSplitting = StrangMidpoint()
    carries_density: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if not self.splitting.acts_after:
            raise ValueError("splitting: Langevin needs one after the flow, StrangMidpoint or Lie")

    def init(self, problem: Problem, particles: Particles, time_step: Any, seed: Any = 0) -> State:
        check_flow(problem, self.splitting, particles)
        return first_state(problem, particles, time_step, seed, None)

    def step(self, problem: Problem, state: State) -> tuple[State, LangevinInfo]:
        t, dt, split = state.time, state.time_step, self.splitting
        stage, field = split.prepare(problem, state.field, state.particles, t, dt)  # t + dt/2
        moved = Particles(stage.x, stage.v, jnp.full_like(stage.log_f, jnp.nan))
        before = moved
        if stage.bath is not None:
            key = jax.random.fold_in(state.key, state.step)
            v = _relax(stage, dt, key)  # after the collision
            moved = problem.collisions.conserve(before, Particles(moved.x, v, moved.log_f))
        heating = 0.5 * sums.mean(jnp.sum(moved.v**2 - before.v**2, axis=-1))
        particles, field = split.finish(problem, field, moved, t, dt)  # t + dt
        return next_state(problem, state, particles, field, None), LangevinInfo(heating)


def _relax(stage: Stage, dt: Float[Array, ""], key: Key[Array, ""]) -> Float[Array, "n d"]:
    """The exact Ornstein-Uhlenbeck process over dt."""
    bath = stage.bath
    strength = bath.rate * dt
    width = jnp.sqrt(-bath.temperature * jnp.expm1(-2 * strength))
    noise = jax.random.normal(key, stage.v.shape, stage.v.dtype)
    kept = jnp.exp(-strength)[:, None] * (stage.v - bath.velocity)
    return bath.velocity + kept + width[:, None] * noise
