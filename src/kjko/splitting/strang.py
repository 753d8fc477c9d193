"""Strang splitting with the implicit midpoint rule: the default."""

from typing import ClassVar

from jaxtyping import Array

from kjko.core import Particles, Stage
from kjko.interfaces import AbstractSplitting, FieldState
from kjko.problem import Problem
from kjko.splitting.maps import StormerVerlet
from kjko.splitting.stage import stage_at


class StrangMidpoint(AbstractSplitting):
    """Half a Störmer-Verlet step, the control over Δt, half a Störmer-Verlet step. Second order.

    The control is the minimiser for *half* a step, u = −ε (v + T₀ ∇ᵥ log f) at the midpoint of the
    collision, and then moves the particles a *whole* step: the implicit midpoint rule at the cost
    of implicit Euler. det = det(I + Δt ∇ᵥu(x*, v*)).
    """

    fraction: ClassVar[float] = 0.5
    acts_after: ClassVar[bool] = True
    largest: ClassVar[float] = 0.3  # where it is larger the midpoint rule can fold the map

    def prepare(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        free, field = StormerVerlet()(particles, problem.flow, field, t, dt / 2)
        return stage_at(problem, field, free), field  # x, v and field at t + dt/2

    def finish(
        self, problem: Problem, field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        return StormerVerlet()(particles, problem.flow, field, t + dt / 2, dt / 2)  # at t + dt

    def undo_prepare(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        return StormerVerlet().inverse(particles, problem.flow, fields, t, dt / 2)

    def undo_finish(
        self,
        problem: Problem,
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        return StormerVerlet().inverse(particles, problem.flow, fields, t + dt / 2, dt / 2)
