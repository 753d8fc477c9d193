"""Explicit volume-preserving maps S(x, v) = (x*, v*) of the flow, equation (20)."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.core.rows import each_row
from kjko.interfaces import AbstractFlow, FieldState

Parts = tuple[tuple[Callable[..., Particles], float], ...]  # of a map, with their shares of Δt


def drift(particles: Particles, dt: Float[Array, ""]) -> Particles:
    """x + Δt v, by the first d_x components of v."""
    along = particles.v[:, : particles.x.shape[1]]
    return eqx.tree_at(lambda p: p.x, particles, particles.x + dt * along)


def kick(
    particles: Particles,
    flow: AbstractFlow,
    field: FieldState,
    t: Float[Array, ""],
    dt: Float[Array, ""],
) -> Particles:
    """v + Δt a(t, x)."""
    acceleration = eqx.Partial(flow.acceleration, field, t)
    moved = particles.v + dt * each_row(acceleration, particles.x, particles.v)
    return eqx.tree_at(lambda p: p.v, particles, moved)


def turn(
    particles: Particles,
    flow: AbstractFlow,
    field: FieldState,
    t: Float[Array, ""],
    dt: Float[Array, ""],
) -> Particles:
    """v̇ = v × Ω over Δt: the rotation by −|Ω|Δt about Ω (Rodrigues), of determinant one."""
    turned = each_row(eqx.Partial(_turned, flow, t, dt), particles.x, particles.v)
    return eqx.tree_at(lambda p: p.v, particles, turned)


def _turned(
    flow: AbstractFlow,
    t: Float[Array, ""],
    dt: Float[Array, ""],
    x: Float[Array, " d_x"],
    v: Float[Array, " d"],
) -> Float[Array, " d"]:
    frequency = flow.gyrofrequency(t, x)
    if frequency is None:
        return v
    size = jnp.linalg.norm(frequency)
    axis = frequency / jnp.where(size > 0, size, 1.0)
    wide = jnp.pad(v, (0, 3 - v.size))
    along = axis * (axis @ wide)
    across = wide - along
    angle = size * dt
    turned = along + jnp.cos(angle) * across + jnp.sin(angle) * jnp.cross(across, axis)
    return turned[: v.size]


class AbstractMap(eqx.Module):
    """A volume-preserving map of the flow; log f does not change along it.

    A drift over Δt, `before` it what is done to v at t with the field there, `after` it what is at
    t + Δt: each a `kick` or a `turn`, with its share of Δt.
    """

    before: eqx.AbstractClassVar[Parts]
    after: eqx.AbstractClassVar[Parts]

    def __call__(
        self,
        particles: Particles,
        flow: AbstractFlow,
        field: FieldState,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState]:
        """The particles after a time `dt` from t on, and the field there."""
        for change, share in self.before:
            particles = change(particles, flow, field, t, share * dt)
        particles = drift(particles, dt)  # x at t + dt
        field = flow.update(field, particles, dt)  # field at t + dt
        for change, share in self.after:
            particles = change(particles, flow, field, t + dt, share * dt)
        return particles, field

    def inverse(
        self,
        particles: Particles,
        flow: AbstractFlow,
        fields: tuple[FieldState, FieldState],
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> Particles:
        """Where particles that the map has taken on from t have come from. `fields`: those before
        and after it.
        """
        for change, share in reversed(self.after):
            particles = change(particles, flow, fields[1], t + dt, -share * dt)
        particles = drift(particles, -dt)
        for change, share in reversed(self.before):
            particles = change(particles, flow, fields[0], t, -share * dt)
        return particles

    @abc.abstractmethod
    def response(
        self,
        particles: Particles,
        flow: AbstractFlow,
        field: FieldState,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> Float[Array, "n d d"] | None:
        """R = ∂v/∂v* of the inverse map at every particle; None is the identity. Without a magnetic
        field, where ∂x/∂v* = −Δt I.

        It is (∂x*/∂x)ᵀ where the force has a potential; one gathered from a grid has none.
        """


class DriftKick(AbstractMap):
    """Symplectic Euler, equation (21)."""

    before: ClassVar[Parts] = ()
    after: ClassVar[Parts] = ((turn, 1.0), (kick, 1.0))

    def response(
        self,
        particles: Particles,
        flow: AbstractFlow,
        field: FieldState,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> None:
        return None


class StormerVerlet(AbstractMap):
    """Störmer-Verlet, equation (22), with the turn of v by a magnetic field between the half kicks:
    second order, symmetric.
    """

    before: ClassVar[Parts] = ((kick, 0.5), (turn, 0.5))
    after: ClassVar[Parts] = ((turn, 0.5), (kick, 0.5))

    def response(
        self,
        particles: Particles,
        flow: AbstractFlow,
        field: FieldState,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> Float[Array, "n d d"]:
        """I + ½ Δt² ∇a(x): the first half kick, taken back."""
        at_one = eqx.Partial(_taken_back, flow, field, t, dt)
        return each_row(at_one, particles.x, particles.v)


def _taken_back(
    flow: AbstractFlow,
    field: FieldState,
    t: Float[Array, ""],
    dt: Float[Array, ""],
    x: Float[Array, " d_x"],
    v: Float[Array, " d"],
) -> Float[Array, "d d"]:
    def arrival(x):
        return x + 0.5 * dt**2 * flow.acceleration(field, t, x, v)[: x.size]

    identity = jnp.eye(v.size, dtype=x.dtype)
    return identity.at[: x.size, : x.size].set(jax.jacfwd(arrival)(x))
