"""Score-based transport with one score for all times."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.interfaces import (
    ForceState,
    Particles,
    Response,
    Stage,
    State,
    StepInfo,
    TimeDependentControl,
)
from kjko.methods.end_to_end import AbstractEndToEnd, end_to_end_step, train
from kjko.methods.jko import JKO
from kjko.problem import Problem
from kjko.transport import move, response

EXACT = JKO()  # its log-determinant


class ScoreEndToEnd(AbstractEndToEnd):
    """Implicit score matching over [0, T]: equation (31).

        ∫₀ᵀ E[ ½ |u|² + ε v·u − ε T₀ ∇ᵥ·u ] dt

    It is ½ ∫ E|u + ε (v + T₀ ∇ᵥ log f)|² dt less a constant: (31) with the score in the form of the
    control. After a symplectic map the control moves the particles by the explicit midpoint rule,

        v_½ = v + Δt/2 u(v),    v' = v + Δt u(v_½),    M = ∇ᵥu(v_½) (I + Δt/2 ∇ᵥu(v)),

    with the exact determinant det(I + Δt M): second order between half steps of Störmer-Verlet.
    Where the control is taken before the map it moves them by Euler's rule.
    """

    gradient_steps: int = eqx.field(static=True, default=10)
    carries_density: ClassVar[bool] = True

    def begin(self, problem: Problem, solver: Any, state: State, steps: int, key: Key) -> State:
        return train(self, problem, solver, state, steps, key)

    def step(self, problem: Problem, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        return end_to_end_step(self, problem, solver, state, key)

    def outputs(self, dimension: int) -> int:
        return dimension

    def objective(
        self,
        control: TimeDependentControl,
        problem: Problem,
        t: Float[Array, ""],
        x: Float[Array, " d"],
        v: Float[Array, " d"],
    ) -> Float[Array, ""]:
        directions = jnp.eye(v.size, dtype=v.dtype)
        values, slopes = zip(
            *(jax.jvp(lambda w: control(t, x, w), (v,), (e,)) for e in directions), strict=True
        )
        u = values[0]
        divergence = sum(slope[k] for k, slope in enumerate(slopes))
        return 0.5 * u @ u + problem.collision_rate * (v @ u - problem.temperature * divergence)

    def push(
        self,
        problem: Problem,
        solver: Any,
        control: TimeDependentControl,
        t: Float[Array, ""],
        particles: Particles,
        force: ForceState,
    ) -> tuple[Particles, ForceState, StepInfo]:
        dt, integrator = solver.time_step, solver.integrator
        stage, force = integrator.prepare(particles, problem.force, force, dt)
        if stage.is_split:
            substeps = integrator.substeps(problem.collision_rate * dt)
            moved, info = _collide(control, stage, t, dt, substeps)
        else:
            by = response(lambda x, v: control(t, x, v), stage)
            moved, det = move(EXACT, stage, by, dt)
            here = Particles(stage.x, stage.v, stage.log_f)
            info = StepInfo(None, by.u, here, jnp.min(det), when=0.0)
        particles, force = integrator.finish(moved, problem.force, force, dt)
        return particles, force, info


def _collide(
    control: TimeDependentControl, stage: Stage, t: Float[Array, ""], dt: float, substeps: int
) -> tuple[Particles, StepInfo]:
    """The midpoint rule, in equal parts; what the middle one tells."""
    h = dt / substeps

    def substep(particles, k):
        time = t + ((k + 0.5) * h).astype(t.dtype)

        def at(x, v):
            return control(time, x, v)

        stage = _at(particles)
        first = response(at, stage)
        middle, det_half = move(EXACT, stage, first, h / 2)
        second = response(at, _at(middle))
        identity = jnp.eye(stage.v.shape[1], dtype=stage.v.dtype)[None]
        matrix = second.matrix @ (identity + h / 2 * first.matrix)
        moved, det = move(EXACT, stage, Response(second.u, matrix, second.divergence), h)
        det_min = jnp.minimum(jnp.min(det_half), jnp.min(det))
        return moved, StepInfo(None, second.u, middle, det_min, when=0.5)

    start = Particles(stage.x_free, stage.v_free, stage.log_f)
    moved, told = jax.lax.scan(substep, start, jnp.arange(substeps))
    info = jax.tree.map(lambda leaf: leaf[substeps // 2], told)
    return moved, eqx.tree_at(lambda i: i.det_min, info, jnp.min(told.det_min))


def _at(particles: Particles) -> Stage:
    """The stage of a control that acts on v alone, where the particles are."""
    x, v = particles.x, particles.v
    return Stage(x, v, x, v, particles.log_f)
