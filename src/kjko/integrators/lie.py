"""Lie splitting."""

from typing import ClassVar

from kjko.integrators.maps import AbstractMap, StormerVerlet
from kjko.interfaces import AbstractForce, AbstractIntegrator, ForceState, Particles, Stage


class Lie(AbstractIntegrator):
    """A symplectic map, then the control: equations (26)-(27). First order.

        (x*, v*) = S(x, v),    x' = x*,    v' = v* + Δt u(x*, v*)

    det = det(I + Δt ∇ᵥu(x*, v*)). The paper prints u(x*, v); the control acts after S.
    """

    map: AbstractMap = StormerVerlet()
    fraction: ClassVar[float] = 1.0

    def substeps(self, collisions: float) -> int:
        return 1

    def prepare(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Stage, ForceState]:
        free, state = self.map(particles, force, state, dt)  # x, v and field at t + dt
        return Stage(free.x, free.v, free.x, free.v, free.log_f), state

    def finish(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        return particles, state
