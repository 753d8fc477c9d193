"""The unsplit form with any symplectic map."""

from typing import ClassVar

from kjko.integrators.maps import AbstractMap, StormerVerlet
from kjko.interfaces import AbstractForce, AbstractIntegrator, ForceState, Particles, Stage


class Unsplit(AbstractIntegrator):
    """A symplectic map plus the control, both taken at the start: equations (19)-(22). First order.

        (x', v') = S(x, v) + (0, Δt u(x, v))

    det = det(I + Δt (∇ᵥu R − Δt ∇ₓu)), R = I for `DriftKick` (Algorithm 2) and I − ½Δt² ∇²φ(x) for
    `StormerVerlet`; the paper's Δt ∇ᵥ·u leaves out the terms that come from S.
    """

    map: AbstractMap = StormerVerlet()
    fraction: ClassVar[float] = 1.0

    def substeps(self, collisions: float) -> int:
        return 1

    def prepare(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Stage, ForceState]:
        response = self.map.response(particles, force, state, dt)  # at t
        free, state = self.map(particles, force, state, dt)  # x, v and field at t + dt
        stage = Stage(particles.x, particles.v, free.x, free.v, particles.log_f, response, shear=dt)
        return stage, state

    def finish(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        return particles, state
