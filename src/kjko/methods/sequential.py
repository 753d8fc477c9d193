"""What methods that fit a control at every step share: Algorithm 1."""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from kjko.core import Particles, Response, Stage, State
from kjko.fit.fractions import held_fraction, part_of
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
from kjko.methods.checks import check_control, check_fit, check_flow
from kjko.methods.passage import Part, Passage
from kjko.methods.resolution import Equilibrium, Resolution
from kjko.methods.states import first_state, next_state
from kjko.methods.substeps import ATTEMPTS, Progress, in_parts, strain
from kjko.problem import Problem
from kjko.splitting.stage import stage_at
from kjko.splitting.transport import det_min, move, response


class SequentialInfo(AbstractStepInfo):
    """The fit of a step, of the middle part if the collision was cut; `det_min` and the fit's
    `iterations` are those of all parts. Without collisions there is no control."""

    fit: FitInfo
    applied: Applied | None
    det_min: Float[Array, ""]
    passage: Passage | None = None


class Memory(eqx.Module):
    """What goes on from step to step: the control u as it was fitted, the `fraction` of it by which
    the particles were moved, the `limit` of the next part of a collision, and f∞ for a method that
    uses it. Called, it is what moved them.
    """

    control: Control
    fraction: Float[Array, ""]
    limit: Float[Array, ""]
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

    def __check_init__(self) -> None:
        check_fit(type(self).__name__, self.offers, self.fit, self.control)

    @property
    @abc.abstractmethod
    def offers(self) -> tuple[str, ...]:
        """What its subproblem has: some of `LOSS`, `CONDITION` and `CURVATURE`."""

    @property
    def no_map(self) -> str | None:
        splitting = type(self.splitting)
        if not self.splitting.acts_after:
            return (
                f"in {splitting.__name__} the control acts before the flow; take StrangMidpoint or"
                " Lie"
            )
        if splitting.undo_finish is AbstractSplitting.undo_finish:
            return f"{splitting.__name__} has no undo_prepare and undo_finish"
        return None

    @property
    def exact(self) -> bool:
        """Whether its best control is the one that `Applied` tells of, not to first order only."""
        return self.splitting.acts_after

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
        one = jnp.ones((), particles.v.dtype)
        memory = Memory(self.control, one, one * jnp.inf)
        return first_state(problem, particles, time_step, seed, memory)

    def resolve(
        self,
        stage: Stage,
        control: Control,
        fit: FitInfo,
        equilibrium: Equilibrium | None,
        dt: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Stage, Resolution | None]:
        """The stage with what of log f the control resolves, and how that was done, if it was."""
        return stage, None

    def unresolved(self, stage: Stage, equilibrium: Equilibrium | None) -> Resolution | None:
        """A resolution that does nothing, in the form of those that `resolve` gives."""
        return None

    def step(self, problem: Problem, state: State) -> tuple[State, SequentialInfo]:
        """Prepare, fit, move, finish; no fit where there are no collisions."""
        t, dt = state.time, state.time_step
        stage, middle = self.splitting.prepare(problem, state.field, state.particles, t, dt)
        if stage.bath is None:
            done = _nothing_done(stage, state.memory)
        else:
            key = jax.random.fold_in(state.key, state.step)
            collide = self._collide if math.isinf(self.splitting.largest) else self._cut
            done = collide(problem, middle, stage, state.memory, dt, key)
        particles, end = self.splitting.finish(problem, middle, done.particles, t, dt)
        passage = None
        if self.no_map is None:
            passage = Passage(done.parts, done.number, middle, end, self.splitting, self.implicit)
        info = SequentialInfo(done.fit, done.applied, done.det_min, passage)
        return next_state(problem, state, particles, end, done.memory), info

    def _collide(
        self,
        problem: Problem,
        field: FieldState,
        stage: Stage,
        memory: Memory,
        dt: Float[Array, ""],
        key: Key[Array, ""],
        share: Float[Array, ""] | float = 1.0,
    ) -> "_Done":
        """Fit a control and move the particles by it, for a share of the collision of a step."""
        h = self.splitting.fraction * dt
        subproblem = self.subproblem(problem, field, h, dt)
        control, fit = self.fit(subproblem, self.control, memory.control, stage, key)
        stage, resolved = self.resolve(stage, control, fit, memory.equilibrium, dt, key)
        by = response(control, stage)
        stretch = strain(by, dt)
        fraction = held_fraction(subproblem, by, stage, share)
        by = part_of(by, fraction)
        moved = move(stage, by, dt, self.log_determinant(by, dt))
        if self.implicit:
            there = move(stage, by, h, self.log_determinant(by, h))
            when = self.splitting.fraction
        else:
            there = Particles(stage.x, stage.v, stage.log_f)
            when = 0.5 if self.splitting.acts_after else 0.0  # the flow is done, the collision not
        before = Particles(stage.x_free, stage.v_free, stage.log_f)
        return _Done(
            particles=problem.collisions.conserve(before, moved),
            memory=Memory(control, fraction, memory.limit, memory.equilibrium),
            fit=fit,
            applied=Applied(by.u, there, jnp.asarray(when, by.u.dtype), self.exact),
            det_min=det_min(by, h, dt),
            strain=stretch,
            parts=_with_rows(Part(control, fraction, dt, resolved), lambda leaf: leaf[None]),
            number=jnp.ones((), jnp.int32),
        )

    def _cut(
        self,
        problem: Problem,
        field: FieldState,
        stage: Stage,
        memory: Memory,
        dt: Float[Array, ""],
        key: Key[Array, ""],
    ) -> "_Done":
        """The same in parts: each starts from where the one before has left the particles."""
        start = _nothing_done(stage, memory)
        part = Part(memory.control, dt, dt, self.unresolved(stage, memory.equilibrium))
        many = _with_rows(part, lambda leaf: jnp.zeros((ATTEMPTS, *leaf.shape), leaf.dtype))
        u = Applied(jnp.zeros_like(stage.v), start.particles, jnp.zeros_like(dt), self.exact)
        start = start._replace(applied=u, parts=many, det_min=jnp.inf * start.det_min)
        _, static = eqx.partition(start, eqx.is_array)

        def attempt(progress, length, arrays):
            sofar = eqx.combine(arrays, static)
            here = stage_at(problem, field, sofar.particles)
            first = progress.attempts == 0
            own = jnp.where(first, key, jax.random.fold_in(key, progress.attempts))
            share = length / progress.total
            new = self._collide(problem, field, here, sofar.memory, length, own, share)
            done = _together(sofar, new, progress, dt)
            return eqx.filter(done, eqx.is_array), new.strain

        arrays = eqx.filter(start, eqx.is_array)
        largest, limit = self.splitting.largest, memory.limit
        arrays, progress = in_parts(attempt, arrays, stage.bath, dt, largest, limit)
        done: _Done = eqx.combine(arrays, static)
        lowest = jnp.where(progress.done < dt, jnp.nan, done.det_min)
        memory = eqx.tree_at(lambda m: m.limit, done.memory, progress.limit)
        return done._replace(memory=memory, det_min=lowest, number=progress.parts)


class _Done(NamedTuple):
    """A collision, or a part of it, that was done."""

    particles: Particles
    memory: Memory
    fit: FitInfo
    applied: Any  # as in the step's info; None before the first part
    det_min: Float[Array, ""]
    strain: Float[Array, ""]
    parts: Any  # as in `Passage`
    number: Int[Array, ""]


def _nothing_done(stage: Stage, memory: Memory) -> _Done:
    """No control yet, and so no loss."""
    one = jnp.ones((), stage.v.dtype)
    fit = jax.tree.map(lambda _: jnp.nan * one, FitInfo(one, one, one))
    fit = eqx.tree_at(lambda f: f.iterations, fit, jnp.zeros((), jnp.int32))
    start = Particles(stage.x_free, stage.v_free, stage.log_f)
    return _Done(start, memory, fit, None, one, 0 * one, None, jnp.zeros((), jnp.int32))


def _with_rows(part: Part, of_leaf: Callable[[Array], Array]) -> Part:
    """Parts with a leading axis, made from the arrays of one."""
    return jax.tree.map(lambda leaf: of_leaf(leaf) if eqx.is_array(leaf) else leaf, part)


def _together(sofar: _Done, new: _Done, progress: Progress, dt: Float[Array, ""]) -> _Done:
    """What was done with one more part; fit and control are told of the one in the middle."""
    early = progress.done < progress.total / 2
    dtype = sofar.det_min.dtype
    iterations = sofar.fit.iterations + jnp.asarray(new.fit.iterations, jnp.int32)
    fit = jax.tree.map(
        lambda new, old: jnp.where(early, new, old).astype(dtype), new.fit, sofar.fit
    )
    length = new.parts.dt[0]
    when = (progress.done + new.applied.when * length) / dt
    applied = eqx.tree_at(lambda a: a.when, new.applied, when)
    return new._replace(
        fit=eqx.tree_at(lambda f: f.iterations, fit, iterations),
        applied=jax.tree.map(lambda new, old: jnp.where(early, new, old), applied, sofar.applied),
        det_min=jnp.minimum(sofar.det_min, new.det_min),
        strain=sofar.strain,
        parts=eqx.combine(
            jax.tree.map(
                lambda many, one: many.at[progress.parts].set(one[0]),
                eqx.filter(sofar.parts, eqx.is_array),
                eqx.filter(new.parts, eqx.is_array),
            ),
            sofar.parts,
        ),
        number=sofar.number,
    )
