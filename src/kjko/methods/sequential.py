"""What methods that fit a control at every step share: Algorithm 1."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.core import Particles, Response, Stage, State
from kjko.fit.newton import FRACTIONS
from kjko.interfaces import (
    AbstractFit,
    AbstractMethod,
    AbstractSplitting,
    AbstractStepInfo,
    AbstractSubproblem,
    Applied,
    Control,
    FieldState,
    FitInfo,
)
from kjko.methods.parts import check_control, check_fit, check_flow, first_state, next_state
from kjko.methods.resolution import Equilibrium
from kjko.problem import Problem
from kjko.splitting.stage import stage_at
from kjko.splitting.transport import determinant, move, response


class SequentialInfo(AbstractStepInfo):
    """The fit of a step, of the middle one if the collision was cut; `det_min` and the fit's
    `iterations` are those of all parts. Without collisions there is no control."""

    fit: FitInfo
    applied: Applied | None
    det_min: Float[Array, ""]


class Memory(eqx.Module):
    """What goes on from step to step: the control u as it was fitted, the `fraction` of it by which
    the particles were moved, and f∞ for a method that uses it. Called, it is what moved them.
    """

    control: Control
    fraction: Float[Array, ""]
    equilibrium: Equilibrium | None = None

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.fraction * self.control(x, v)


class AbstractSequential(AbstractMethod):
    """A method that fits a control anew at every step, by solving a subproblem.

    `implicit`: at its minimum u is −ε (v − ū + T ∇ᵥ log f) after the step of size h; else before.
    Raises ValueError for a fit that needs what the subproblem does not offer.
    """

    control: eqx.AbstractVar[Control]
    fit: eqx.AbstractVar[AbstractFit]
    splitting: eqx.AbstractVar[AbstractSplitting]
    implicit: eqx.AbstractClassVar[bool]

    def __check_init__(self):
        check_fit(type(self).__name__, self.offers, self.fit, self.control)

    @property
    @abc.abstractmethod
    def offers(self) -> tuple[str, ...]:
        """What its subproblem has: some of `LOSS`, `CONDITION` and `CURVATURE`."""

    @abc.abstractmethod
    def subproblem(
        self, problem: Problem, field: FieldState, h: Float[Array, ""], dt: Float[Array, ""]
    ) -> AbstractSubproblem:
        """That of a step of size h, after which the control moves the particles by dt."""

    @abc.abstractmethod
    def log_determinant(self, response: Response, h: Float[Array, ""]) -> Float[Array, " n"]:
        """log det(I + h M) as this method takes it."""

    def init(self, problem: Problem, particles: Particles, time_step: Any, seed: Any = 0) -> State:
        check_control(self.control, particles)
        check_flow(problem, self.splitting, particles)
        memory = Memory(self.control, jnp.ones((), particles.v.dtype))
        return first_state(problem, particles, time_step, seed, memory)

    def resolve(
        self,
        stage: Stage,
        control: Control,
        equilibrium: Equilibrium | None,
        dt: Float[Array, ""],
        key: Key[Array, ""],
    ) -> Stage:
        """The stage with what of log f the control resolves."""
        return stage

    def step(self, problem: Problem, state: State) -> tuple[State, SequentialInfo]:
        """Prepare, fit, move, finish; no fit where there are no collisions."""
        t, dt = state.time, state.time_step
        stage, field = self.splitting.prepare(problem, state.field, state.particles, t, dt)
        if stage.bath is None:
            moved, info = _free(stage)
            memory = state.memory
        else:
            substeps = self.splitting.substeps(jnp.max(stage.bath.rate) * dt)
            key = jax.random.fold_in(state.key, state.step)
            collide = partial(self._collide, problem, field, dt / substeps)
            start = (stage, state.memory, key)
            moved, memory, info = _repeat(problem, field, collide, substeps, *start)
        particles, field = self.splitting.finish(problem, field, moved, t, dt)
        return next_state(problem, state, particles, field, memory), info

    def _collide(
        self,
        problem: Problem,
        field: FieldState,
        dt: Float[Array, ""],
        stage: Stage,
        memory: Memory,
        key: Key[Array, ""],
    ) -> tuple[Particles, Memory, SequentialInfo]:
        """Fit a control and move the particles by it."""
        h = self.splitting.fraction * dt
        subproblem = self.subproblem(problem, field, h, dt)
        control, fit = self.fit(subproblem, self.control, memory.control, stage, key)
        stage = self.resolve(stage, control, memory.equilibrium, dt, key)
        by = response(control, stage)
        fraction = held_fraction(subproblem, by, stage)
        by = part_of(by, fraction)
        moved = move(stage, by, dt, self.log_determinant(by, dt))
        if self.implicit:
            there = move(stage, by, h, self.log_determinant(by, h))
            when = self.splitting.fraction
        else:
            there = Particles(stage.x, stage.v, stage.log_f)
            when = 0.5 if self.splitting.acts_after else 0.0  # the flow is done, the collision not
        applied = Applied(by.u, there, jnp.asarray(when, by.u.dtype))
        before = Particles(stage.x_free, stage.v_free, stage.log_f)
        kept = problem.collisions.conserve(before, moved)
        info = SequentialInfo(fit, applied, det_min(by, h, dt))
        return kept, Memory(control, fraction, memory.equilibrium), info


def held_fraction(subproblem: AbstractSubproblem, by: Response, stage: Stage) -> Float[Array, ""]:
    """The largest of some fractions of a control that does not raise the free energy.

    It is that of all particles: a control is fitted on some of them, by Newton to no objective.
    """
    fractions = jnp.asarray((*FRACTIONS, 0.0), by.u.dtype)

    def rises(number):
        raises = subproblem.raises_energy(part_of(by, fractions[number]), stage)
        return raises & (number < len(FRACTIONS))

    return fractions[jax.lax.while_loop(rises, lambda number: number + 1, jnp.asarray(0))]


def part_of(by: Response, fraction: Float[Array, ""]) -> Response:
    """The response of a fraction of the control."""
    return jax.tree.map(lambda leaf: fraction * leaf, by)


def det_min(by: Response, h: Float[Array, ""], dt: Float[Array, ""]) -> Float[Array, ""]:
    """The smallest determinant of the step of size h and of the whole move."""
    half, whole = (jnp.min(determinant(by.matrix, step)) for step in (h, dt))
    return jnp.minimum(half, whole)


def _free(stage: Stage) -> tuple[Particles, SequentialInfo]:
    """The step without a control; there is no loss."""
    moved = Particles(stage.x_free, stage.v_free, stage.log_f)
    one = jnp.ones((), stage.v.dtype)
    return moved, SequentialInfo(FitInfo(jnp.nan * one, jnp.nan * one, 0), None, one)


def _repeat(
    problem: Problem,
    field: FieldState,
    collide: Callable,
    substeps: Any,
    stage: Stage,
    memory: Memory,
    key: Key[Array, ""],
) -> tuple[Particles, Memory, SequentialInfo]:
    """The parts of a collision one after the other, as many as there are; the last memory.

    Where the control acts after the flow x does not change, and the next part starts from where
    the one before has left the particles; else there is one.
    """
    if isinstance(substeps, int):
        return collide(stage, memory, key)
    arrays, static = eqx.partition(memory, eqx.is_array)

    def part(number, carry):
        particles, arrays, middle = carry
        here = stage_at(problem, field, particles)
        own = jnp.where(number == 0, key, jax.random.fold_in(key, number))
        moved, memory, info = collide(here, eqx.combine(arrays, static), own)
        told = _told(info)
        kept = jax.tree.map(
            lambda new, old: jnp.where(number == substeps // 2, new, old), told, middle
        )
        lowest = jnp.minimum(middle.det_min, told.det_min)
        iterations = middle.fit.iterations + told.fit.iterations
        kept = eqx.tree_at(lambda i: (i.det_min, i.fit.iterations), kept, (lowest, iterations))
        return moved, eqx.filter(memory, eqx.is_array), kept

    start = Particles(stage.x_free, stage.v_free, stage.log_f)
    zero = jnp.zeros((), stage.v.dtype)
    nothing = SequentialInfo(
        FitInfo(zero, zero, 0), Applied(jnp.zeros_like(stage.v), start, zero), zero + jnp.inf
    )
    carry = (start, arrays, _told(nothing))
    moved, arrays, info = jax.lax.fori_loop(0, substeps, part, carry)
    return moved, eqx.combine(arrays, static), info


def _told(info: SequentialInfo) -> SequentialInfo:
    """With the types that it has whatever the fit is."""
    dtype = info.det_min.dtype
    fit = jax.tree.map(lambda number: jnp.asarray(number, dtype), info.fit)
    iterations = jnp.asarray(info.fit.iterations, jnp.int32)
    fit = eqx.tree_at(lambda i: i.iterations, fit, iterations)
    return SequentialInfo(fit, info.applied, info.det_min)
