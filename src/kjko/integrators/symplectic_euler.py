"""The printed scheme."""

from typing import ClassVar

from kjko.integrators.maps import drift, kick
from kjko.interfaces import AbstractForce, AbstractIntegrator, ForceState, Particles, Stage


class SymplecticEuler(AbstractIntegrator):
    """Kick and control, then drift: equation (18). First order.

        v' = v − Δt ∇φ(x) + Δt u(x, v),    x' = x + Δt v'

    det = det(I + Δt ∇ᵥu(x, v)).
    """

    fraction: ClassVar[float] = 1.0

    def substeps(self, collisions: float) -> int:
        return 1

    def prepare(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Stage, ForceState]:
        free = kick(particles, force, state, dt)  # v at t + dt, without the control
        free = drift(free, dt)  # x at t + dt, without the control
        return Stage(particles.x, particles.v, free.x, free.v, particles.log_f, drift=dt), state

    def finish(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        return particles, force.update(state, particles, dt)  # field at t + dt
