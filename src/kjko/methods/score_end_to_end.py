"""Score-based transport with one score for all times."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Bath, Particles, Response, Stage
from kjko.fit import Adam
from kjko.interfaces import AbstractSplitting, Applied, FieldState, TimeDependentControl
from kjko.methods.end_to_end import AbstractEndToEnd
from kjko.methods.substeps import odd_number
from kjko.problem import Problem
from kjko.splitting import StrangMidpoint
from kjko.splitting.stage import stage_at
from kjko.splitting.transport import determinant, log_determinant, move, response


class ScoreEndToEnd(AbstractEndToEnd):
    """Implicit score matching over [0, T]: equation (31).

        ∫₀ᵀ E[ ½ |u|² + ε v·u − ε T₀ ∇ᵥ·u ] dt

    It is ½ ∫ E|u + ε (v + T₀ ∇ᵥ log f)|² dt less a constant: (31) with the score in the form of the
    control. After a symplectic map the control moves the particles by the explicit midpoint rule,

        v_½ = v + Δt/2 u(v),    v' = v + Δt u(v_½),    M = ∇ᵥu(v_½) (I + Δt/2 ∇ᵥu(v)),

    with the exact determinant det(I + Δt M): second order between half steps of Störmer-Verlet.
    Where the control is taken before the map it moves them by Euler's rule.
    """

    control: TimeDependentControl
    fit: Adam = Adam()
    splitting: AbstractSplitting = StrangMidpoint()
    gradient_steps: int = eqx.field(static=True, default=10)
    carries_density: ClassVar[bool] = True

    def outputs(self, dimension: int) -> int:
        return dimension

    def refuses(self, problem: Problem, particles: Particles) -> None:
        return None

    def objective(
        self,
        problem: Problem,
        control: TimeDependentControl,
        t: Float[Array, ""],
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
        bath: Bath,
    ) -> Float[Array, ""]:
        directions = jnp.eye(v.size, dtype=v.dtype)
        values, slopes = zip(
            *(jax.jvp(lambda w: control(t, x, w), (v,), (e,)) for e in directions), strict=True
        )
        u = values[0]
        divergence = sum(slope[k] for k, slope in enumerate(slopes))
        drift = (v - bath.velocity) @ u - bath.temperature * divergence
        return 0.5 * u @ u + bath.rate * drift

    def push(
        self,
        problem: Problem,
        field: FieldState,
        control: TimeDependentControl,
        particles: Particles,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState, Applied, Float[Array, ""]]:
        stage, field = self.splitting.prepare(problem, field, particles, t, dt)
        if self.splitting.acts_after:
            collisions = jnp.max(stage.bath.rate) * dt
            substeps = odd_number(collisions / self.splitting.largest)
            moved, applied, det_min = _collide(problem, field, control, stage, t, dt, substeps)
        else:
            by = response(lambda x, v: control(t, x, v), stage)
            moved = move(stage, by, dt, log_determinant(by, dt))
            here = Particles(stage.x, stage.v, stage.log_f)
            applied = Applied(by.u, here, jnp.zeros((), by.u.dtype), False)
            det_min = jnp.min(determinant(by.matrix, dt))
        before = Particles(stage.x_free, stage.v_free, stage.log_f)
        moved = problem.collisions.conserve(before, moved)
        particles, field = self.splitting.finish(problem, field, moved, t, dt)
        return particles, field, applied, det_min


def _collide(
    problem: Problem,
    field: FieldState,
    control: TimeDependentControl,
    stage: Stage,
    t: Float[Array, ""],
    dt: Float[Array, ""],
    substeps,
) -> tuple[Particles, Applied, Float[Array, ""]]:
    """The midpoint rule, in equal parts: where they leave the particles, what the middle one did,
    and the smallest determinant."""
    h = dt / substeps

    def substep(k, carry):
        particles, middle_one, lowest = carry
        time = t + (k + 0.5) * h

        def at(x, v):
            return control(time, x, v)

        stage = stage_at(problem, field, particles)
        first = response(at, stage)
        middle = move(stage, first, h / 2, log_determinant(first, h / 2))
        second = response(at, stage_at(problem, field, middle))
        identity = jnp.eye(stage.v.shape[1], dtype=stage.v.dtype)[None]
        matrix = second.matrix @ (identity + h / 2 * first.matrix)
        by = Response(second.u, matrix, second.divergence)
        moved = move(stage, by, h, log_determinant(by, h))
        dets = (determinant(first.matrix, h / 2), determinant(matrix, h))
        lowest = jnp.minimum(lowest, jnp.minimum(*(jnp.min(det) for det in dets)))
        told = Applied(second.u, middle, jnp.asarray(0.5, second.u.dtype), True)
        kept = jax.tree.map(
            lambda new, old: jnp.where(k == substeps // 2, new, old), told, middle_one
        )
        return moved, kept, lowest

    start = Particles(stage.x_free, stage.v_free, stage.log_f)
    infinity = jnp.asarray(jnp.inf, stage.v.dtype)
    nothing = Applied(jnp.zeros_like(stage.v), start, jnp.zeros_like(infinity), True)
    return jax.lax.fori_loop(0, substeps, substep, (start, nothing, infinity))
