"""Splittings whose collisions act between two parts of the flow."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array

from kjko.core import Particles, Stage
from kjko.interfaces import AbstractSplitting, FieldState
from kjko.problem import Problem
from kjko.splitting.maps import AbstractMap
from kjko.splitting.stage import stage_at


class AbstractSplit(AbstractSplitting):
    """The map S of the flow over `share` · Δt, the collisions over Δt, then S over what is left.

        (x*, v*) = S(x, v),    v⁺ = v* + Δt u(x*, v*),    (x', v') = S(x*, v⁺)

    det = det(I + Δt ∇ᵥu(x*, v*)).
    """

    map: eqx.AbstractVar[AbstractMap]
    share: eqx.AbstractClassVar[float]
    acts_after: ClassVar[bool] = True

    def prepare(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        free, field = self.map(particles, problem.flow, field, t, self.share * dt)
        return stage_at(problem, field, free), field

    def finish(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        if self.share == 1:
            return particles, field
        return self.map(particles, problem.flow, field, *self._rest(t, dt))

    def undo_prepare(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        return self.map.inverse(particles, problem.flow, fields, t, self.share * dt)

    def undo_finish(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        if self.share == 1:
            return particles
        return self.map.inverse(particles, problem.flow, fields, *self._rest(t, dt))

    def _rest(self, t: Array, dt: Array) -> tuple[Array, Array]:
        """When the second part of the flow begins, and how long it lasts."""
        return t + self.share * dt, (1 - self.share) * dt
