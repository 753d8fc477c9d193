"""Strang splitting with the implicit midpoint rule: the default."""

import math
from typing import ClassVar

from kjko.integrators.maps import StormerVerlet
from kjko.interfaces import AbstractForce, AbstractIntegrator, ForceState, Particles, Stage


class StrangMidpoint(AbstractIntegrator):
    """Half a Störmer-Verlet step, the control over Δt, half a Störmer-Verlet step. Second order.

    The control is the minimiser for *half* a step, u = −ε (v + T₀ ∇ᵥ log f) at the midpoint of the
    collision, and then moves the particles a *whole* step: the implicit midpoint rule at the cost
    of implicit Euler. det = det(I + Δt ∇ᵥu(x*, v*)).
    """

    fraction: ClassVar[float] = 0.5

    def substeps(self, collisions: float) -> int:
        """So many that εΔt ≤ 0.3 in each: the midpoint rule can fold the map where it is large."""
        return 2 * math.ceil((collisions / 0.3 - 1) / 2 - 1e-9) + 1 if collisions > 0.3 else 1

    def prepare(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Stage, ForceState]:
        free, state = StormerVerlet()(particles, force, state, dt / 2)  # x, v, field: t + dt/2
        return Stage(free.x, free.v, free.x, free.v, free.log_f), state

    def finish(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        return StormerVerlet()(particles, force, state, dt / 2)  # x, v, field: t + dt
