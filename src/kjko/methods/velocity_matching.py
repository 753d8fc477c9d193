"""Self-consistent velocity matching."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Bath, Particles
from kjko.core.rows import map_rows
from kjko.fit import Adam
from kjko.interfaces import AbstractSplitting, Applied, FieldState, TimeDependentControl
from kjko.methods.end_to_end import AbstractEndToEnd, bath_of
from kjko.methods.score_end_to_end import ScoreEndToEnd
from kjko.problem import Problem
from kjko.splitting import StrangMidpoint
from kjko.splitting.transport import BLOCK, determinant


class VelocityMatching(AbstractEndToEnd):
    """All of the velocity in phase space is learned: equations (28)-(30), corrected.

        w = (wˣ, wᵛ)(t, x, v) ≈ (v + T₀ ∇ᵥ log f, −∇ₓφ − T₀ ∇ₓ log f − ε (v + T₀ ∇ᵥ log f))

        ∫₀ᵀ E[ |wˣ|² − 2 wˣ·v + 2T₀ ∇ᵥ·wˣ + |wᵛ|² + 2 wᵛ·(∇ₓφ + ε v) − 2T₀ ∇ₓ·wᵛ − 2εT₀ ∇ᵥ·wᵛ ] dt

    (the paper prints the terms with ε with the other sign, and without ε). The particles follow
    the explicit midpoint rule in z = (x, v), and log f its exact determinant,

        z_½ = z + Δt/2 w(z),    z' = z + Δt w(z_½),    det(I + Δt ∂w(z_½) (I + Δt/2 ∂w(z))).

    Second order in Δt; neither a symplectic map nor a splitting has a part in it. The
    control in the usual sense is u = −ε wˣ.

    In training the particles move by x' = v, v' = −∇ₓφ + u instead, as those of `ScoreEndToEnd`:
    the two motions differ by T₀ (∇ᵥ log f, −∇ₓ log f), which leaves f as it is. With w itself the
    fixed-point iteration does not settle for long times (docs/design_decisions.md).

    `init` raises ValueError for a field of the particles' own, a magnetic field, collisions without
    a temperature of their own, and where v has more components than x.
    """

    control: TimeDependentControl
    fit: Adam = Adam()
    gradient_steps: int = eqx.field(static=True, default=10)
    carries_density: ClassVar[bool] = True
    splitting: ClassVar[AbstractSplitting] = StrangMidpoint()  # of the particles of the training

    def refuses(self, problem: Problem, particles: Particles) -> str | None:
        x, v = particles.x[0], particles.v[0]
        if v.size != x.size:
            return "particles: VelocityMatching needs as many components of x as of v"
        if problem.flow.gyrofrequency(v[0], x) is not None:
            return "flow: VelocityMatching knows no magnetic field; use ScoreEndToEnd"
        if problem.temperature is None:
            return "collisions: VelocityMatching needs a bath with a temperature; use ScoreEndToEnd"
        return None

    def outputs(self, dimension: int) -> int:
        return 2 * dimension

    def objective(
        self,
        problem: Problem,
        control: TimeDependentControl,
        t: Float[Array, ""],
        x: Float[Array, " d"],
        v: Float[Array, " d"],
        bath: Bath,
    ) -> Float[Array, ""]:
        rate, temperature = bath.rate, bath.temperature
        d = v.size
        w, matrix = _velocity_and_slopes(control, t, x, v)
        along_x, along_v = w[:d], w[d:]
        downhill = _given_acceleration(problem, t, x, v)  # −∇φ
        match_x = along_x @ along_x - 2 * along_x @ v
        match_v = along_v @ along_v + 2 * along_v @ (rate * v - downhill)
        by_parts = (
            jnp.trace(matrix[:d, d:])  # ∇ᵥ·wˣ
            - jnp.trace(matrix[d:, :d])  # ∇ₓ·wᵛ
            - rate * jnp.trace(matrix[d:, d:])  # ∇ᵥ·wᵛ
        )
        return match_x + match_v + 2 * temperature * by_parts

    def push(
        self,
        problem: Problem,
        field: FieldState,
        control: TimeDependentControl,
        particles: Particles,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState, Applied, Float[Array, ""]]:
        d = particles.v.shape[1]

        def at(t, particles):
            rows = (particles.x, particles.v)
            return map_rows(eqx.Partial(_velocity_and_slopes, control, t), rows, BLOCK)

        w, first = at(t, particles)
        half = _moved(particles, w, dt / 2, determinant(first, dt / 2))  # z at t + dt/2
        w, second = at(t + dt / 2, half)
        identity = jnp.eye(2 * d, dtype=w.dtype)[None]
        det = determinant(second @ (identity + dt / 2 * first), dt)
        moved = _moved(particles, w, dt, det)  # z at t + dt
        bath = bath_of(problem, half)
        applied = Applied(-bath.rate[:, None] * w[:, :d], half, jnp.asarray(0.5, w.dtype), True)
        return moved, field, applied, jnp.min(det)

    def explore(
        self,
        problem: Problem,
        field: FieldState,
        control: TimeDependentControl,
        particles: Particles,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState]:
        friction = _Friction(control, bath_of(problem, particles).rate[0])
        guide = ScoreEndToEnd(friction)
        return guide.explore(problem, field, friction, particles, t, dt)


def _given_acceleration(
    problem: Problem, t: Float[Array, ""], x: Float[Array, " d"], v: Float[Array, " d"]
) -> Float[Array, " d"]:
    """Of forces that carry no field."""
    return sum(
        (member.acceleration(None, t, x, v) for member in problem.flow.members), jnp.zeros_like(v)
    )


class _Friction(eqx.Module):
    """u = −ε wˣ, as a control."""

    velocity: TimeDependentControl
    rate: Float[Array, ""]

    def __call__(
        self, t: Float[Array, ""], x: Float[Array, " d"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return -self.rate * self.velocity(t, x, v)[: v.size]


def _velocity_and_slopes(
    control: TimeDependentControl,
    t: Float[Array, ""],
    x: Float[Array, " d"],
    v: Float[Array, " d"],
) -> tuple[Float[Array, " two_d"], Float[Array, "two_d two_d"]]:
    """w and ∂w/∂(x, v)."""
    z = jnp.concatenate([x, v])

    def along(direction):
        return jax.jvp(lambda z: control(t, *jnp.split(z, 2)), (z,), (direction,))

    values, columns = zip(*(along(e) for e in jnp.eye(z.size, dtype=z.dtype)), strict=True)
    return values[0], jnp.stack(columns, axis=-1)


def _moved(
    particles: Particles, w: Float[Array, "n two_d"], h: Float[Array, ""], det: Float[Array, " n"]
) -> Particles:
    along_x, along_v = jnp.split(w, 2, axis=1)
    log_f = particles.log_f - jnp.log(det)
    return Particles(particles.x + h * along_x, particles.v + h * along_v, log_f)
