"""The unsplit form with any symplectic map."""

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from kjko.core import Particles, Stage
from kjko.interfaces import AbstractSplitting, FieldState
from kjko.problem import Problem
from kjko.splitting.maps import AbstractMap, StormerVerlet
from kjko.splitting.stage import stage_at


class Unsplit(AbstractSplitting):
    """A symplectic map plus the control, both taken at the start: equations (19)-(22). First order.
    Without a magnetic field.

        (x', v') = S(x, v) + (0, Δt u(x, v))

    det = det(I + Δt (∇ᵥu R − Δt ∇ₓu)), R = I for `DriftKick` (Algorithm 2) and I − ½Δt² ∇²φ(x) for
    `StormerVerlet`; the paper's Δt ∇ᵥ·u leaves out the terms that come from S.
    """

    map: AbstractMap = StormerVerlet()
    fraction: ClassVar[float] = 1.0
    acts_after: ClassVar[bool] = False
    largest: ClassVar[float] = math.inf

    def prepare(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        response = self.map.response(particles, problem.flow, field, t, dt)  # at t
        free, after = self.map(particles, problem.flow, field, t, dt)  # x, v, field at t + dt
        each = dt * jnp.ones_like(particles.log_f)
        stage = stage_at(problem, field, particles, free, response, shear=each)
        return stage, after

    def finish(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        return particles, field
