"""What a step does to any point of phase space, and the way back."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from kjko.core import Particles, Response, Stage
from kjko.interfaces import AbstractFlow, AbstractSplitting, Control, FieldState
from kjko.methods.resolution import Resolution
from kjko.problem import Problem
from kjko.splitting.stage import stage_at
from kjko.splitting.transport import log_determinant, move, response

ITERATIONS = 30  # of Newton's method, at most
CLOSE = 1e-11  # to which it finds velocities
FOUND = 1e-8  # up to which it has found something


class Part(eqx.Module):
    """A part of a collision: v' = v + Δt w u(x, v) at fixed x, w the `fraction` of a control u, and
    what was done to log f before, if anything. Many of them are one with a leading axis.
    """

    control: Control
    fraction: Float[Array, ""]
    dt: Float[Array, ""]
    resolution: Resolution | None

    def shortened(self, portion: Float[Array, ""]) -> "Part":
        """What is done in a portion of its time."""
        part = eqx.tree_at(lambda p: p.dt, self, portion * self.dt)
        if self.resolution is None:
            return part
        time, lift = portion * self.resolution.time, portion * self.resolution.lift
        return eqx.tree_at(lambda p: (p.resolution.time, p.resolution.lift), part, (time, lift))

    def push(self, stage: Stage) -> Particles:
        """The particles of a stage after it, by the exact determinant."""
        if self.resolution is not None:
            log_f = self.resolution(self.control.basis, stage)  # pyright: ignore
            stage = eqx.tree_at(lambda s: s.log_f, stage, log_f)
        by = self._response(stage)
        return move(stage, by, self.dt, log_determinant(by, self.dt))

    def pull(self, stage: Stage) -> tuple[Float[Array, "n d"], Bool[Array, " n"]]:
        """The velocities from which those of a stage have come, by Newton's method; and where they
        were found.
        """
        target = stage.v
        size = jnp.sqrt(stage.bath.temperature)[:, None] + jnp.abs(target)

        def residual(v):
            by = self._response(eqx.tree_at(lambda s: s.v, stage, v))
            return v + self.dt * by.u - target, by.matrix

        def improve(carry):
            v, left, matrix, count = carry
            v = v - near_identity(self.dt * matrix, left)
            return v, *residual(v), count + 1

        def go_on(carry):
            _, left, _, count = carry
            return jnp.any(jnp.abs(left) > CLOSE * size) & (count < ITERATIONS)

        v, left, *_ = jax.lax.while_loop(go_on, improve, (target, *residual(target), 0))
        return v, jnp.all(jnp.abs(left) <= FOUND * size, axis=1)

    def _response(self, stage: Stage) -> Response:
        """Of w u."""
        return jax.tree.map(lambda leaf: self.fraction * leaf, response(self.control, stage))


class Passage(eqx.Module):
    """What happened to phase space in a step: the first `number` of the `parts` of its collision,
    None without collisions, and the field in the middle and at the end of the step. `splitting` and
    `implicit` are those of its method.

    Both ways go over a `portion` of the step: 1, or less for a time within, up to which the parts
    are done. Positions are taken back into the box.
    """

    parts: Part | None
    number: Int[Array, ""]
    middle: FieldState
    end: FieldState
    splitting: AbstractSplitting
    implicit: bool = eqx.field(static=True)

    def push(
        self,
        problem: Problem,
        start: FieldState,
        particles: Particles,
        t: Array,
        dt: Array,
        portion: Array,
    ) -> Particles:
        """Where points at t go, with their log f. `start`: the field there."""
        middle, end = self._fields(start, portion)
        first, second = (_recorded(problem, after) for after in (middle, end))
        span = portion * dt
        stage, _ = self.splitting.prepare(first, start, particles, t, span)
        moved = Particles(stage.x_free, stage.v_free, stage.log_f)

        def part(k, moved):
            return self._done(k, span).push(stage_at(problem, middle, moved))

        if self.parts is not None:
            moved = jax.lax.fori_loop(0, self.number, part, moved)
        return wrapped(problem, self.splitting.finish(second, middle, moved, t, span)[0])

    def pull(
        self,
        problem: Problem,
        start: FieldState,
        particles: Particles,
        t: Array,
        dt: Array,
        portion: Array,
    ) -> tuple[Particles, Bool[Array, " n"]]:
        """Where points have come from at t, and for which that was found."""
        middle, end = self._fields(start, portion)
        span = portion * dt
        moved = self.splitting.undo_finish(problem, (middle, end), particles, t, span)

        def part(k, carry):
            moved, found = carry
            stage = stage_at(problem, middle, moved)
            v, here = self._done(self.number - 1 - k, span).pull(stage)
            return eqx.tree_at(lambda p: p.v, moved, v), found & here

        found = jnp.ones(particles.log_f.shape, bool)
        if self.parts is not None:
            moved, found = jax.lax.fori_loop(0, self.number, part, (moved, found))
        start_of_all = self.splitting.undo_prepare(problem, (start, middle), moved, t, span)
        return wrapped(problem, start_of_all), found

    def trimmed(self) -> "Passage":
        """On the host, without the parts that were not done."""
        arrays, static = eqx.partition(self, eqx.is_array)
        host = jax.device_get(arrays)
        used = jax.tree.map(lambda leaf: leaf[: int(host.number)], host.parts)
        return eqx.combine(dataclasses.replace(host, parts=used), static)

    @property
    def when(self) -> float:
        """When f has the score of the control, in steps from the start of this one."""
        return self.splitting.fraction if self.implicit else 0.5

    def score(self, problem: Problem, points: Particles) -> Float[Array, "n d"]:
        """∇ᵥ log f at points of the time `when`, by the control in the middle of the collision:
        u = −ε (v' − ū + T ∇ᵥ log f(x, v')) with v' = v + h u(x, v), or v' = v where it is not
        `implicit`; nan where no v was found.
        """
        stage = stage_at(problem, self.middle, points)
        part = self._middle_part
        h = self.splitting.fraction * part.dt if self.implicit else 0.0 * part.dt
        part = eqx.tree_at(lambda p: (p.fraction, p.dt), part, (jnp.ones_like(part.fraction), h))
        v, found = part.pull(stage)
        score = stage.bath.score_of(jax.vmap(part.control)(stage.x, v), stage.v)
        return jnp.where(found[:, None], score, jnp.nan)

    @property
    def _middle_part(self) -> Part:
        """The part in which half of the collision is done."""
        assert self.parts is not None
        lengths = jnp.where(jnp.arange(self.parts.dt.size) < self.number, self.parts.dt, 0.0)
        done = jnp.cumsum(lengths)
        return self._part(jnp.argmax(done > done[-1] / 2))

    def _done(self, k: Int[Array, ""], span: Array) -> Part:
        """What a part has done after a time `span` of the collision."""
        assert self.parts is not None
        before = jnp.sum(jnp.where(jnp.arange(self.parts.dt.size) < k, self.parts.dt, 0.0))
        part = self._part(k)
        return part.shortened(jnp.clip((span - before) / part.dt, 0.0, 1.0))

    def _part(self, k: Int[Array, ""]) -> Part:
        arrays, static = eqx.partition(self.parts, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda leaf: leaf[k], arrays), static)

    def _fields(self, start: FieldState, portion: Array) -> tuple[Any, Any]:
        """In the middle and at the end of a portion, by linear interpolation."""

        def between(a, b, share):
            return jax.tree.map(lambda a, b: (1 - share) * a + share * b, a, b)

        early = between(start, self.middle, jnp.minimum(2 * portion, 1.0))
        late = between(self.middle, self.end, jnp.clip(2 * portion - 1, 0.0, 1.0))
        end = jax.tree.map(lambda a, b: jnp.where(portion < 0.5, a, b), early, late)
        return between(start, self.middle, portion), end


class Recorded(AbstractFlow):
    """A flow whose field was recorded: `after` is the next one."""

    flow: AbstractFlow
    after: FieldState
    conservative: bool = eqx.field(static=True)

    def acceleration(
        self, field: FieldState, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        return self.flow.acceleration(field, t, x, v)

    def gyrofrequency(
        self, t: Float[Array, ""], x: Float[Array, " d_x"]
    ) -> Float[Array, "3"] | None:
        return self.flow.gyrofrequency(t, x)

    def potential_energy(self, field: FieldState, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        return self.flow.potential_energy(field, x)

    def update(self, field: FieldState, particles: Particles, dt: Float[Array, ""]) -> FieldState:
        return self.after


def of_one_form(passages: Sequence[Passage]) -> list[Passage]:
    """Each with room for as many parts as any has, so that what is compiled for one is for all."""
    most = max((int(passage.number) for passage in passages), default=0)

    def longer(leaf):
        if not eqx.is_array(leaf):
            return leaf
        return np.pad(leaf, [(0, most - len(leaf))] + [(0, 0)] * (leaf.ndim - 1))

    return [dataclasses.replace(p, parts=jax.tree.map(longer, p.parts)) for p in passages]


def wrapped(problem: Problem, particles: Particles) -> Particles:
    """The particles, taken back into the box if there is one."""
    if problem.box is None:
        return particles
    return eqx.tree_at(lambda p: p.x, particles, problem.box.wrap(particles.x)[0])


def _recorded(problem: Problem, after: FieldState) -> Problem:
    flow = Recorded(problem.flow, after, problem.flow.conservative)  # pyright: ignore
    return eqx.tree_at(lambda p: p.flow, problem, flow)


def near_identity(matrix: Float[Array, "n d d"], right: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """(I + matrix)⁻¹ right, by elimination without pivoting."""
    d = right.shape[1]
    rows = [[matrix[:, i, k] + (i == k) for k in range(d)] + [right[:, i]] for i in range(d)]
    for i in range(d):
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for other in range(d):
            if other != i:
                factor = rows[other][i]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[i], strict=True)]
    return jnp.stack([row[-1] for row in rows], axis=1)
