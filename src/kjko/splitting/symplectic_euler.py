"""The printed scheme."""

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from kjko.core import Particles, Stage
from kjko.interfaces import AbstractSplitting, FieldState
from kjko.problem import Problem
from kjko.splitting.maps import drift, kick
from kjko.splitting.stage import stage_at


class SymplecticEuler(AbstractSplitting):
    """Kick and control, then drift: equation (18). First order. Without a magnetic field.

        v' = v − Δt ∇φ(x) + Δt u(x, v),    x' = x + Δt v'

    det = det(I + Δt ∇ᵥu(x, v)).
    """

    fraction: ClassVar[float] = 1.0
    acts_after: ClassVar[bool] = False
    largest: ClassVar[float] = math.inf

    def prepare(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        free = kick(particles, problem.flow, field, t, dt)  # v at t + dt, without the control
        free = drift(free, dt)  # x at t + dt, without the control
        each = dt * jnp.ones_like(particles.log_f)
        return stage_at(problem, field, particles, free, drift=each), field

    def finish(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        return particles, problem.flow.update(field, particles, dt)  # field at t + dt
