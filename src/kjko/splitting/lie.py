"""Lie splitting."""

import math
from typing import ClassVar

from jaxtyping import Array

from kjko.core import Particles, Stage
from kjko.interfaces import AbstractSplitting, FieldState
from kjko.problem import Problem
from kjko.splitting.maps import AbstractMap, StormerVerlet
from kjko.splitting.stage import stage_at


class Lie(AbstractSplitting):
    """A symplectic map, then the control: equations (26)-(27). First order.

        (x*, v*) = S(x, v),    x' = x*,    v' = v* + Δt u(x*, v*)

    det = det(I + Δt ∇ᵥu(x*, v*)). The paper prints u(x*, v); the control acts after S.
    """

    map: AbstractMap = StormerVerlet()
    fraction: ClassVar[float] = 1.0
    acts_after: ClassVar[bool] = True
    largest: ClassVar[float] = math.inf

    def prepare(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        free, field = self.map(particles, problem.flow, field, t, dt)  # x, v and field at t + dt
        return stage_at(problem, field, free), field

    def finish(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        return particles, field

    def undo_prepare(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        return self.map.inverse(particles, problem.flow, fields, t, dt)

    def undo_finish(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        return particles
