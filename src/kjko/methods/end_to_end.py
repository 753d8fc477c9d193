"""What methods with one control for all times share: its training, and a step by it."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from kjko.forces import External
from kjko.interfaces import (
    AbstractMethod,
    FitResult,
    ForceState,
    Particles,
    State,
    StepInfo,
    TimeDependentControl,
)
from kjko.problem import Problem
from kjko.transport import BLOCK

LAG = 20.0  # pushes, at the beginning
PUSHED = 2000  # particles at most
TRAINING = 2**31 - 1  # folded into the run's key; steps are counted below it


class Path(eqx.Module):
    """Particles at t = 0, Δt, …, by the control as it was."""

    time: Float[Array, " m"]
    x: Float[Array, "m n d"]
    v: Float[Array, "m n d"]


class AbstractEndToEnd(AbstractMethod):
    """A method whose control u(t, x, v), for all of [0, T], is trained before the first step.

    Fixed-point iteration (29): some of the particles, drawn anew, are pushed through [0, T] by the
    control as it is; then it is improved by `gradient_steps` on ∫₀ᵀ E[objective] dt at the places
    where they went, each at a time drawn at random. A law that is too narrow has a steep score,
    which makes the next one too wide: to damp such swings the particles are pushed often, by a
    control that lags behind the one that learns, less and less; and over the first half of the
    training the part of [0, T] that is learned grows from nothing to the whole.

    The settings are those of the solver's `kjko.Adam`: its `steps` for each time step, on as many
    points as there are particles that are not held out, so that the work is that of a sequential
    method with the same fit; gradients longer than one are cut to one. The particles held out are
    so throughout, and only measured on: nothing is chosen by them. `warm_start` and `tolerance`
    mean nothing.
    """

    gradient_steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def outputs(self, dimension: int) -> int:
        """How many numbers the control gives, for a velocity of `dimension` components."""

    @abc.abstractmethod
    def objective(
        self,
        control: TimeDependentControl,
        problem: Problem,
        t: Float[Array, ""],
        x: Float[Array, " d"],
        v: Float[Array, " d"],
    ) -> Float[Array, ""]:
        """The objective at one particle; its mean is least where the control is right."""

    @abc.abstractmethod
    def push(
        self,
        problem: Problem,
        solver: Any,
        control: TimeDependentControl,
        t: Float[Array, ""],
        particles: Particles,
        force: ForceState,
    ) -> tuple[Particles, ForceState, StepInfo]:
        """A step by the control, with the density. What it tells has no `fit`."""

    def explore(
        self,
        problem: Problem,
        solver: Any,
        control: TimeDependentControl,
        t: Float[Array, ""],
        particles: Particles,
        force: ForceState,
    ) -> tuple[Particles, ForceState]:
        """A step of the particles at which the control is trained; as in `push` if not overridden.

        Any other motion will do that has the same law where the control is right.
        """
        moved, force, _ = self.push(problem, solver, control, t, particles, force)
        return moved, force


def train(
    method: AbstractEndToEnd, problem: Problem, solver: Any, state: State, steps: int, key: Key
) -> State:
    """The state with the trained control.

    Raises ValueError for a control of another shape, or a force that is not external.
    """
    if not isinstance(problem.force, External):
        raise ValueError(f"force: must be external for {method!r}; use JKO, Score or Langevin")
    _check_control(method, state)
    fit, total = solver.fit, solver.fit.steps * steps
    fitted, _ = _split(state, fit.held_out, key)
    memory = _adam(fit, total).init(eqx.filter(state.control, eqx.is_inexact_array))
    now, slow = (state.control, memory), state.control
    for done in range(0, total, method.gradient_steps):
        drawn = jax.random.fold_in(jax.random.fold_in(key, TRAINING), done)
        rows = jax.random.choice(drawn, fitted, (min(fitted.size, PUSHED),), replace=False)
        start = jax.tree.map(lambda leaf, rows=rows: leaf[rows], state.particles)
        path = _path(method, problem, solver, slow, start, state.force, steps)
        seen = jnp.asarray(min(steps, 1 + 2 * steps * done // total))
        number = min(method.gradient_steps, total - done)
        now = _improve(method, problem, fit, total, now, path, seen, fitted.size, drawn, number)
        slow = _towards(slow, now[0], jnp.asarray(1 / (1 + LAG * (1 - (done + number) / total))))
    return eqx.tree_at(lambda s: s.control, state, slow)


def end_to_end_step(
    method: AbstractEndToEnd, problem: Problem, solver: Any, state: State, key: Key
) -> tuple[State, StepInfo]:
    """One step by the trained control; its loss is that at the particles before the step."""
    control = state.control
    t = (state.step * solver.time_step).astype(state.particles.v.dtype)
    particles, force, info = method.push(problem, solver, control, t, state.particles, state.force)
    particles = eqx.tree_at(lambda p: p.x, particles, problem.wrap(particles.x))
    losses = jax.lax.map(
        lambda at: method.objective(control, problem, t, *at),
        (state.particles.x, state.particles.v),
        batch_size=BLOCK,
    )
    fitted, held = _split(state, solver.fit.held_out, key)
    fit = FitResult(control, jnp.mean(losses[fitted]), jnp.mean(losses[held]), solver.fit.steps)
    info = eqx.tree_at(lambda i: i.fit, info, fit, is_leaf=lambda leaf: leaf is None)
    return State(state.step + 1, particles, force, control), info


def _adam(fit: Any, total: int) -> optax.GradientTransformation:
    """Adam with the settings of the fit; a cosine falls to zero over all of the training."""
    rate = fit.learning_rate
    if fit.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, total)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def _split(state: State, held_out: float, key: Key) -> tuple[Int[Array, " m"], Int[Array, " k"]]:
    """The rows that the control is trained on, and those that it never sees."""
    n = state.particles.v.shape[0]
    order = jax.random.permutation(jax.random.fold_in(key, TRAINING), n)
    held = min(round(held_out * n), n - 1)
    return order[held:], order[:held]


def _check_control(method: AbstractEndToEnd, state: State) -> None:
    x, v = state.particles.x[0], state.particles.v[0]
    expected = (method.outputs(v.size),)
    try:
        shape = jax.eval_shape(state.control, v[0], x, v).shape
    except TypeError:
        raise ValueError(f"control: {method!r} needs one of (t, x, v), as InTime") from None
    if shape != expected:
        raise ValueError(f"control: {method!r} needs one of shape {expected}, got {shape}")


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
    solver: Any,
    control: TimeDependentControl,
    particles: Particles,
    force: ForceState,
    steps: int,
) -> Path:
    """Where the particles of the training are at every step, by the control as it is."""

    def step(carry, t):
        particles, force = carry
        moved, force = method.explore(problem, solver, control, t, particles, force)
        moved = eqx.tree_at(lambda p: p.x, moved, problem.wrap(moved.x))
        return (moved, force), (particles.x, particles.v)

    times = (solver.time_step * jnp.arange(steps + 1)).astype(particles.v.dtype)
    _, (x, v) = jax.lax.scan(step, (particles, force), times)
    return Path(times, x, v)


@eqx.filter_jit
def _improve(
    method: AbstractEndToEnd,
    problem: Problem,
    fit: Any,
    total: int,
    now: tuple[Any, Any],
    path: Path,
    seen: Int[Array, ""],
    points: int,
    key: Key,
    number: int,
) -> tuple[Any, Any]:
    """`number` gradient steps at points of a path, in its first `seen` steps."""
    control, memory = now
    optimiser = _adam(fit, total)
    params, static = eqx.partition(control, eqx.is_inexact_array)
    rows = jnp.arange(points) % path.v.shape[1]

    def loss(params, times):
        control = eqx.combine(params, static)
        at = jax.vmap(lambda t, x, v: method.objective(control, problem, t, x, v))
        return jnp.mean(at(path.time[times], path.x[times, rows], path.v[times, rows]))

    def step(carry, key):
        params, memory = carry
        times = jax.random.randint(key, rows.shape, 0, seen + 1)
        updates, memory = optimiser.update(jax.grad(loss)(params, times), memory)
        return (optax.apply_updates(params, updates), memory), None

    keys = jax.random.split(key, number)
    (learned, memory), _ = jax.lax.scan(step, (params, memory), keys)
    return eqx.combine(learned, static), memory
