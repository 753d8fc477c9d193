"""Self-consistent velocity matching."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.integrators import StrangMidpoint
from kjko.interfaces import ForceState, Particles, State, StepInfo, TimeDependentControl
from kjko.methods.end_to_end import AbstractEndToEnd, end_to_end_step, train
from kjko.methods.score_end_to_end import ScoreEndToEnd
from kjko.problem import Problem
from kjko.transport import BLOCK, determinant

GUIDE = ScoreEndToEnd()  # moves the particles of the training


class VelocityMatching(AbstractEndToEnd):
    """All of the velocity in phase space is learned: equations (28)-(30), corrected.

        w = (wˣ, wᵛ)(t, x, v) ≈ (v + T₀ ∇ᵥ log f, −∇ₓφ − T₀ ∇ₓ log f − ε (v + T₀ ∇ᵥ log f))

        ∫₀ᵀ E[ |wˣ|² − 2 wˣ·v + 2T₀ ∇ᵥ·wˣ + |wᵛ|² + 2 wᵛ·(∇ₓφ + ε v) − 2T₀ ∇ₓ·wᵛ − 2εT₀ ∇ᵥ·wᵛ ] dt

    (the paper prints the terms with ε with the other sign, and without ε). The particles follow
    the explicit midpoint rule in z = (x, v), and log f its exact determinant,

        z_½ = z + Δt/2 w(z),    z' = z + Δt w(z_½),    det(I + Δt ∂w(z_½) (I + Δt/2 ∂w(z))).

    Second order in Δt; neither a symplectic map nor the solver's integrator has a part in it. The
    control in the usual sense is u = −ε wˣ.

    In training the particles move by x' = v, v' = −∇ₓφ + u instead, as those of `ScoreEndToEnd`:
    the two motions differ by T₀ (∇ᵥ log f, −∇ₓ log f), which leaves f as it is. With w itself the
    fixed-point iteration does not settle for long times (docs/design_decisions.md).

    The force has to be an external one. `begin` raises
    ValueError where v has more components than x.
    """

    gradient_steps: int = eqx.field(static=True, default=10)
    carries_density: ClassVar[bool] = True

    def begin(self, problem: Problem, solver: Any, state: State, steps: int, key: Key) -> State:
        if state.particles.v.shape[1] != state.particles.x.shape[1]:
            raise ValueError(f"particles: {self!r} needs as many components of x as of v")
        return train(self, problem, solver, state, steps, key)

    def step(self, problem: Problem, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        return end_to_end_step(self, problem, solver, state, key)

    def outputs(self, dimension: int) -> int:
        return 2 * dimension

    def objective(
        self,
        control: TimeDependentControl,
        problem: Problem,
        t: Float[Array, ""],
        x: Float[Array, " d"],
        v: Float[Array, " d"],
    ) -> Float[Array, ""]:
        rate, temperature = problem.collision_rate, problem.temperature
        d = v.size
        w, matrix = _velocity_and_slopes(control, t, x, v)
        along_x, along_v = w[:d], w[d:]
        downhill = problem.force.acceleration(None, x)  # −∇φ
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
        solver: Any,
        control: TimeDependentControl,
        t: Float[Array, ""],
        particles: Particles,
        force: ForceState,
    ) -> tuple[Particles, ForceState, StepInfo]:
        dt, d = solver.time_step, particles.v.shape[1]

        def at(t, particles):
            rows = (particles.x, particles.v)
            return jax.lax.map(
                lambda row: _velocity_and_slopes(control, t, *row), rows, batch_size=BLOCK
            )

        w, first = at(t, particles)
        half = _moved(particles, w, dt / 2, determinant(first, dt / 2))  # z at t + dt/2
        w, second = at(t + dt / 2, half)
        identity = jnp.eye(2 * d, dtype=w.dtype)[None]
        det = determinant(second @ (identity + dt / 2 * first), dt)
        moved = _moved(particles, w, dt, det)  # z at t + dt
        u = -problem.collision_rate * w[:, :d]
        return moved, force, StepInfo(None, u, half, jnp.min(det), when=0.5)

    def explore(
        self,
        problem: Problem,
        solver: Any,
        control: TimeDependentControl,
        t: Float[Array, ""],
        particles: Particles,
        force: ForceState,
    ) -> tuple[Particles, ForceState]:
        friction = _Friction(control, problem.collision_rate)
        by_strang = dataclasses.replace(solver, integrator=StrangMidpoint())
        return GUIDE.explore(problem, by_strang, friction, t, particles, force)


class _Friction(eqx.Module):
    """u = −ε wˣ, as a control."""

    velocity: TimeDependentControl
    rate: float

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
    particles: Particles, w: Float[Array, "n two_d"], h: float, det: Float[Array, " n"]
) -> Particles:
    along_x, along_v = jnp.split(w, 2, axis=1)
    log_f = particles.log_f - jnp.log(det)
    return Particles(particles.x + h * along_x, particles.v + h * along_v, log_f)
