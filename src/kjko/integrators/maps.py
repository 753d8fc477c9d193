"""Explicit symplectic maps S(x, v) = (x*, v*), equation (20)."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.interfaces import AbstractForce, ForceState, Particles


def drift(particles: Particles, dt: float) -> Particles:
    """x + Δt v, by the first d_x components of v."""
    along = particles.v[:, : particles.x.shape[1]]
    return eqx.tree_at(lambda p: p.x, particles, particles.x + dt * along)


def kick(particles: Particles, force: AbstractForce, state: ForceState, dt: float) -> Particles:
    """v − Δt ∇φ(x), in the first d_x components of v."""
    acceleration = jax.vmap(lambda x: force.acceleration(state, x))(particles.x)
    others = particles.v.shape[1] - particles.x.shape[1]
    acceleration = jnp.pad(acceleration, ((0, 0), (0, others)))
    return eqx.tree_at(lambda p: p.v, particles, particles.v + dt * acceleration)


class AbstractMap(eqx.Module):
    """A symplectic map with ∂x*/∂v = Δt I; log f does not change along it."""

    @abc.abstractmethod
    def __call__(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        """The particles after a time `dt`, and the force's state there."""

    @abc.abstractmethod
    def response(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> Float[Array, "n d d"] | None:
        """R = ∂v/∂v* of the inverse map at every particle; None is the identity.

        It is (∂x*/∂x)ᵀ where the force has a potential; one gathered from a grid has none.
        """


class DriftKick(AbstractMap):
    """Symplectic Euler, equation (21)."""

    def __call__(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        particles = drift(particles, dt)  # x at t + dt
        state = force.update(state, particles, dt)  # field at t + dt
        return kick(particles, force, state, dt), state  # v at t + dt

    def response(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> None:
        return None


class StormerVerlet(AbstractMap):
    """Störmer-Verlet, equation (22): second order, symmetric."""

    def __call__(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        particles = kick(particles, force, state, dt / 2)  # v at t + dt/2
        particles = drift(particles, dt)  # x at t + dt
        state = force.update(state, particles, dt)  # field at t + dt
        return kick(particles, force, state, dt / 2), state  # v at t + dt

    def response(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> Float[Array, "n d d"]:
        """I + ½ Δt² ∇E(x), E = −∇φ: the first half kick, taken back."""
        d_x, d = particles.x.shape[1], particles.v.shape[1]
        arrival = jax.jacfwd(lambda x: x + 0.5 * dt**2 * force.acceleration(state, x))
        identity = jnp.eye(d, dtype=particles.x.dtype)
        return jax.vmap(lambda x: identity.at[:d_x, :d_x].set(arrival(x)))(particles.x)
