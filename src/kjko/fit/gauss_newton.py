"""Second-order descent for networks of some hundred parameters."""

from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key

from kjko.controls.base import AbstractLayeredControl
from kjko.core import Stage
from kjko.core.checks import expect_one_of
from kjko.core.rows import spread_rows
from kjko.devices import alike
from kjko.fit.adam import Adam, refuses_expansion
from kjko.fit.gradient import value_and_gradient
from kjko.fit.held_out import Best, choose, split
from kjko.interfaces import CURVATURE, LOSS, AbstractFit, AbstractSubproblem, Control, FitInfo
from kjko.splitting.transport import response

Layers = Literal["all", "last"]
BLOCK = 256  # particles whose Jacobians are held at a time
DAMPING = (1e-3, 1e-6, 1e4)  # at first, least and most; times the mean diagonal of the matrix
PATIENCE = 3  # iterations in a row that may bring nothing


class GaussNewton(AbstractFit):
    """Levenberg-Marquardt with the generalised Gauss-Newton matrix of a loss, as JKO has one.

    That is a mean of a function of u and M (`kjko.core.Stage`); its second
    derivative in the parameters θ, without the curvature of the network, is

        G = mean[ h(1+εh) ∂uᵀ∂u + εT₀h² ∂Mᵀ(I+hM)⁻ᵀ(I+hM)⁻¹∂M ],    ∂ = ∂/∂θ,

    a dense matrix, from at most `particles` particles. θ goes on by −(G + damping)⁻¹∇J where that
    lowers J and folds nowhere; else the damping grows. (For d > 1 the last term stands for
    tr(P ∂M P ∂M), P = (I+hM)⁻¹, which need not be positive.) `layers`: all, or only the last one,
    in which u is linear, with `first` for the others before. `held_out` as in `Adam`. The
    fit ends after `steps` iterations, or three in a row that bring less than `tolerance` of the
    loss.
    """

    steps: int = 30
    held_out: float = 0.5
    tolerance: float = 1e-3
    particles: int = 4096
    layers: Layers = eqx.field(static=True, default="all")
    first: Adam | None = None

    needs: ClassVar[tuple[str, ...]] = (LOSS, CURVATURE)

    def __check_init__(self) -> None:
        expect_one_of("layers", self.layers, Layers)

    def refuses(self, control: Control) -> str | None:
        layered = isinstance(control, AbstractLayeredControl)
        if self.layers == "last" and not layered:
            return "GaussNewton: layers = 'last' needs a network (MLP)"
        return refuses_expansion(control, "GaussNewton")  # pyright: ignore[reportArgumentType]

    def __call__(
        self,
        subproblem: AbstractSubproblem,
        control: Control,
        previous: Control,
        stage: Stage,
        key: Key,
    ) -> tuple[Control, FitInfo]:
        if self.first is not None:
            control, _ = self.first(subproblem, control, previous, stage, key)
        fitted, held = split(stage, self.held_out, key)
        some = self._some(fitted)
        trained, static = eqx.partition(control, _trained(control, self.layers))
        flat, unravel = ravel_pytree(trained)

        def control_of(theta):
            return eqx.combine(unravel(theta), static)

        def keep(best, theta, of_theta):
            return choose(best, subproblem, control_of(theta), theta, of_theta, held)

        def step(state: "_State") -> "_State":
            of_theta, slopes = value_and_gradient(subproblem, unravel(state.theta), static, fitted)
            gradient, _ = ravel_pytree(slopes)
            matrix = alike(self._matrix, subproblem, control_of, state.theta, some)
            level = jnp.trace(matrix) / flat.size
            damped = matrix + state.damping * level * jnp.eye(flat.size, dtype=flat.dtype)
            trial = state.theta - jax.scipy.linalg.solve(damped, gradient, assume_a="pos")
            of_trial = subproblem(control_of(trial), fitted)
            lower = (of_trial[0] < of_theta[0]) & (of_trial[1] > 0)
            theta, of_theta = jax.tree.map(
                lambda new, old: jnp.where(lower, new, old),
                (trial, of_trial),
                (state.theta, of_theta),
            )
            best = keep(state.best, theta, of_theta)
            gained = self._gained(state.best, best, held)
            _, least, most = DAMPING
            damping = jnp.clip(state.damping * jnp.where(lower, 0.2, 5.0), least, most)
            idle = jnp.where(gained, 0, state.idle + 1)
            return _State(theta, damping, best, idle, state.count + 1)

        def go_on(state: "_State"):
            return (state.count < self.steps) & (state.idle < PATIENCE)

        start = keep(Best.start(flat, stage.v.dtype), flat, subproblem(control, fitted))
        zero = jnp.asarray(0)
        state = _State(flat, jnp.asarray(DAMPING[0], flat.dtype), start, zero, zero)
        state = jax.lax.while_loop(go_on, step, state)
        best = state.best
        return control_of(best.params), FitInfo(best.loss, best.loss_heldout, state.count)

    def _gained(self, before: Best, now: Best, held: Stage | None) -> Array:
        old, new = before.judged(held), now.judged(held)
        return old - new > self.tolerance * jnp.abs(old)

    def _some(self, stage: Stage) -> Stage:
        """The particles that the matrix is made of, in whole blocks."""
        n = len(stage.v)
        most = min(n, self.particles)
        return stage.take(jnp.asarray(spread_rows(n, most - most % min(BLOCK, most))))

    def _matrix(
        self,
        subproblem: AbstractSubproblem,
        control_of: Any,
        theta: Float[Array, " p"],
        stage: Stage,
    ) -> Float[Array, "p p"]:
        """G, summed over blocks of particles."""
        n = stage.v.shape[0]
        size = min(BLOCK, n)
        number = n // size

        def add(total, block):
            rows = jax.vmap(lambda one: _rows(subproblem, control_of, theta, one))(block)
            rows = rows.reshape(-1, theta.size)
            return total + rows.T @ rows, None

        blocks = jax.tree.map(lambda leaf: leaf.reshape(number, size, *leaf.shape[1:]), stage)
        total = jax.lax.scan(add, jnp.zeros((theta.size, theta.size), theta.dtype), blocks)[0]
        return total / (number * size)


class _State(NamedTuple):
    theta: Float[Array, " p"]
    damping: Float[Array, ""]
    best: Best
    idle: Int[Array, ""]  # iterations that brought nothing
    count: Int[Array, ""]


def _rows(
    subproblem: AbstractSubproblem, control_of: Any, theta: Float[Array, " p"], particle: Stage
) -> Float[Array, "outputs p"]:
    """The square root of one particle's part of G."""
    stage = jax.tree.map(lambda leaf: leaf[None], particle)
    (of_u,), (of_matrix,) = subproblem.curvature(response(control_of(theta), stage), stage)

    def outputs(theta):
        by = response(control_of(theta), stage)
        return jnp.concatenate([of_u * by.u[0], (of_matrix @ by.matrix[0]).ravel()])

    return jax.jacrev(outputs)(theta)


def _trained(control: Control, layers: str) -> Any:
    """For every leaf of the control, if it is fitted."""
    if layers == "last" and isinstance(control, AbstractLayeredControl):
        return control.last_layer()
    return jax.tree.map(eqx.is_inexact_array, control)
