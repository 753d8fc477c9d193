"""What methods with one control for all times share: its training, and a step by it."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from kjko.core import Bath, Particles, State, sums
from kjko.core.rows import map_rows
from kjko.devices import everywhere, shared_out
from kjko.fit import Adam
from kjko.interfaces import (
    AbstractMethod,
    AbstractSplitting,
    AbstractStepInfo,
    Applied,
    FieldState,
    FitInfo,
    TimeDependentControl,
)
from kjko.methods.checks import check_flow
from kjko.methods.passage import wrapped
from kjko.methods.states import first_state, next_state
from kjko.problem import Problem
from kjko.splitting.transport import BLOCK

LAG = 20.0  # pushes, at the beginning
PUSHED = 2000  # particles at most
TRAINING = 2**31 - 1  # folded into the run's key; steps are counted below it


class Path(eqx.Module):
    """Particles at t = 0, Δt, …, by the control as it was, and what they relax to there."""

    time: Float[Array, " m"]
    x: Float[Array, "m n d_x"]
    v: Float[Array, "m n d"]
    bath: Bath


class EndToEndInfo(AbstractStepInfo):
    """`fit`: the objective at the particles before the step, on those that the control was trained
    on and on the others."""

    fit: FitInfo
    applied: Applied
    det_min: Float[Array, ""]
    passage: ClassVar[None] = None


class AbstractEndToEnd(AbstractMethod):
    """A method whose control u(t, x, v), for all of [0, T], is trained before the first step.

    Fixed-point iteration (29): some of the particles, drawn anew, are pushed through [0, T] by the
    control as it is; then it is improved by `gradient_steps` on ∫₀ᵀ E[objective] dt at the places
    where they went, each at a time drawn at random. A law that is too narrow has a steep score,
    which makes the next one too wide: to damp such swings the particles are pushed often, by a
    control that lags behind the one that learns, less and less; and over the first half of the
    training the part of [0, T] that is learned grows from nothing to the whole.

    The settings are those of `fit`, a `kjko.Adam`: its `steps` for each time step, on as many
    points as there are particles that are not held out, so that the work is that of a sequential
    method with the same fit; gradients longer than one are cut to one. The particles held out are
    so throughout, and only measured on: nothing is chosen by them. `warm_start` and `tolerance`
    mean nothing.
    """

    control: eqx.AbstractVar[TimeDependentControl]
    fit: eqx.AbstractVar[Adam]
    splitting: eqx.AbstractVar[AbstractSplitting]
    gradient_steps: eqx.AbstractVar[int]

    def __check_init__(self) -> None:
        if not isinstance(self.fit, Adam):
            name = type(self).__name__
            raise ValueError(f"fit: {name} is trained by Adam, got {type(self.fit).__name__}")

    @abc.abstractmethod
    def outputs(self, dimension: int) -> int:
        """How many numbers the control gives, for a velocity of `dimension` components."""

    @abc.abstractmethod
    def refuses(self, problem: Problem, particles: Particles) -> str | None:
        """Why it cannot solve a problem, beside a field of the particles' own; None if it can."""

    @abc.abstractmethod
    def objective(
        self,
        problem: Problem,
        control: TimeDependentControl,
        t: Float[Array, ""],
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
        bath: Bath,
    ) -> Float[Array, ""]:
        """The objective at one particle, with its row of the bath; its mean is least where the
        control is right."""

    @abc.abstractmethod
    def push(
        self,
        problem: Problem,
        field: FieldState,
        control: TimeDependentControl,
        particles: Particles,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState, Applied, Float[Array, ""]]:
        """A step by the control, with the density and the smallest determinant."""

    def explore(
        self,
        problem: Problem,
        field: FieldState,
        control: TimeDependentControl,
        particles: Particles,
        t: Float[Array, ""],
        dt: Float[Array, ""],
    ) -> tuple[Particles, FieldState]:
        """A step of the particles at which the control is trained; as in `push` if not overridden.

        Any other motion will do that has the same law where the control is right.
        """
        moved, field, *_ = self.push(problem, field, control, particles, t, dt)
        return moved, field

    def init(self, problem: Problem, particles: Particles, time_step: Any, seed: Any = 0) -> State:
        check_flow(problem, self.splitting, particles)
        self._check(problem, particles)
        return first_state(problem, particles, time_step, seed, self.control)

    def learn(self, problem: Problem, state: State, steps: int) -> State:
        """With the control trained for `steps` steps."""
        return train(self, problem, state, steps)

    def step(self, problem: Problem, state: State) -> tuple[State, EndToEndInfo]:
        """One step by the trained control."""
        control, before = state.memory, state.particles
        t, dt = state.time, state.time_step
        particles, field, applied, det_min = self.push(problem, state.field, control, before, t, dt)
        bath = bath_of(problem, before)
        rows = (before.x, before.v, bath)
        losses = map_rows(eqx.Partial(self.objective, problem, control, t), rows, BLOCK)
        _, held = _split(state, self.fit.held_out)
        is_held = shared_out(jnp.zeros(len(losses), bool).at[held].set(True))
        loss, loss_heldout = sums.mean(losses, ~is_held), sums.mean(losses, is_held)
        fit = FitInfo(loss, loss_heldout, self.fit.steps)
        info = EndToEndInfo(fit, applied, det_min)
        return next_state(problem, state, particles, field, control), info

    def _check(self, problem: Problem, particles: Particles) -> None:
        name = type(self).__name__
        if problem.own_fields:
            raise ValueError(f"flow: must be external for {name}; use JKO, Score or Langevin")
        x, v = particles.x[0], particles.v[0]
        if jax.eval_shape(problem.collisions.freeze, x[None], v[None]) is None:
            raise ValueError(f"collisions: {name} has nothing to learn without any; use Langevin")
        reason = self.refuses(problem, particles)
        if reason is not None:
            raise ValueError(reason)
        expected = (self.outputs(v.size),)
        try:
            shape = jax.eval_shape(self.control, v[0], x, v).shape
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"control: {name} needs one of (t, x, v), as InTime, with x of shape {x.shape} and"
                f" v of shape {v.shape} ({str(error).splitlines()[0]})"
            ) from None
        if shape != expected:
            raise ValueError(f"control: {name} needs one of shape {expected}, got {shape}")


def bath_of(problem: Problem, particles: Particles) -> Bath:
    """What the particles relax to, by collisions that there are."""
    bath = problem.collisions.freeze(particles.x, particles.v)
    assert bath is not None  # `init` has refused no collisions
    return bath


def train(method: AbstractEndToEnd, problem: Problem, state: State, steps: int) -> State:
    """The state with the trained control."""
    fit, total = method.fit, method.fit.steps * steps
    fitted, _ = _split(state, fit.held_out)
    memory = _adam(fit, total).init(eqx.filter(state.memory, eqx.is_inexact_array))
    now, slow = (state.memory, memory), state.memory
    for done in range(0, total, method.gradient_steps):
        drawn = jax.random.fold_in(jax.random.fold_in(state.key, TRAINING), done)
        rows = jax.random.choice(drawn, fitted, (min(fitted.size, PUSHED),), replace=False)
        start = everywhere(jax.tree.map(lambda leaf, rows=rows: leaf[rows], state.particles))
        path = _path(method, problem, slow, start, state, steps)
        seen = jnp.asarray(min(steps, 1 + 2 * steps * done // total))
        number = min(method.gradient_steps, total - done)
        now = _improve(method, problem, total, now, path, seen, fitted.size, drawn, number)
        slow = _towards(slow, now[0], jnp.asarray(1 / (1 + LAG * (1 - (done + number) / total))))
    return eqx.tree_at(lambda s: s.memory, state, slow)


def _adam(fit: Adam, total: int) -> optax.GradientTransformation:
    """Adam with the settings of the fit; a cosine falls to zero over all of the training."""
    rate = fit.learning_rate
    if fit.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, total)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def _split(state: State, held_out: float) -> tuple[Int[Array, " m"], Int[Array, " k"]]:
    """The rows that the control is trained on, and those that it never sees."""
    n = state.particles.v.shape[0]
    order = jax.random.permutation(jax.random.fold_in(state.key, TRAINING), n)
    held = min(round(held_out * n), n - 1)
    return order[held:], order[:held]


@eqx.filter_jit
def _towards(
    slow: TimeDependentControl, control: TimeDependentControl, part: Float[Array, ""]
) -> TimeDependentControl:
    """The control that is `part` of the way on."""
    return jax.tree.map(
        lambda old, new: old + part * (new - old) if eqx.is_inexact_array(old) else old,
        *(slow, control),
    )


@eqx.filter_jit
def _path(
    method: AbstractEndToEnd,
    problem: Problem,
    control: TimeDependentControl,
    particles: Particles,
    state: State,
    steps: int,
) -> Path:
    """Where the particles of the training are at every step, by the control as it is."""
    dt = state.time_step

    def step(carry, t):
        particles, field = carry
        bath = bath_of(problem, particles)
        moved, field = method.explore(problem, field, control, particles, t, dt)
        return (wrapped(problem, moved), field), (particles.x, particles.v, bath)

    times = dt * jnp.arange(steps + 1, dtype=dt.dtype)
    _, (x, v, bath) = jax.lax.scan(step, (particles, state.field), times)
    return Path(times, x, v, bath)


@eqx.filter_jit
def _improve(
    method: AbstractEndToEnd,
    problem: Problem,
    total: int,
    now: tuple[Any, Any],
    path: Path,
    seen: Int[Array, ""],
    points: int,
    key: Key[Array, ""],
    number: int,
) -> tuple[Any, Any]:
    """`number` gradient steps at points of a path, in its first `seen` steps."""
    control, memory = now
    optimiser = _adam(method.fit, total)
    params, static = eqx.partition(control, eqx.is_inexact_array)
    rows = jnp.arange(points) % path.v.shape[1]

    def loss(params, times):
        control = eqx.combine(params, static)
        at = jax.vmap(lambda t, *of_one: method.objective(problem, control, t, *of_one))
        x, v, bath = jax.tree.map(lambda of: of[times, rows], (path.x, path.v, path.bath))
        return sums.mean(at(path.time[times], x, v, bath))

    def step(carry, key):
        params, memory = carry
        times = jax.random.randint(key, rows.shape, 0, seen + 1)
        updates, memory = optimiser.update(jax.grad(loss)(params, times), memory)
        return (optax.apply_updates(params, updates), memory), None

    keys = jax.random.split(key, number)
    (learned, memory), _ = jax.lax.scan(step, (params, memory), keys)
    return eqx.combine(learned, static), memory
