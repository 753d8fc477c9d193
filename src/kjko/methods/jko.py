"""The kinetic JKO method."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from kjko.core import Particles, Response, Stage, State, sums
from kjko.core.checks import expect, expect_one_of
from kjko.core.rows import each_row
from kjko.fit import Newton
from kjko.interfaces import (
    CONDITION,
    CURVATURE,
    LOSS,
    AbstractFit,
    AbstractFlow,
    AbstractLinearControl,
    AbstractSplitting,
    AbstractSubproblem,
    Control,
    FieldState,
    FitInfo,
)
from kjko.methods.barrier import extended_log
from kjko.methods.optimality import Optimality
from kjko.methods.resolution import Equilibrium, Resolution, resolution
from kjko.methods.sequential import AbstractSequential
from kjko.problem import Problem
from kjko.splitting import StrangMidpoint
from kjko.splitting.transport import det_min, determinant, log_determinant, response

LogDet = Literal["exact", "linear"]
CHANCE = 3.0  # standard errors of a mean over particles
RISE = 2e-4  # of T, in the collision of a step


class JKO(AbstractSequential):
    """Transport cost plus free energy after the step: equations (18) and (27).

        J(u) = mean[ h/2 |u|² + ε (½|v' − ū|² + φ(x') + T log f') ]

    with (x', v', log f') the particles after a step of size h (see `kjko.core.Stage`). Its
    minimiser is u = −ε (v' − ū + T ∇ᵥ log f') + O(h). φ(x') is constant, and left out, for every
    splitting but (18), where the control moves x as well. The value at u = 0 is subtracted.

    `control`: the u that is fitted, a `Gradient` or, with another fit, any function of (x, v).
    `fit`: how, and `splitting`: where in a step it acts. `log_det`: "exact" is log det(I + h M).
    "linear" is the paper's h ∇ᵥ·u (Remark 2); it makes the empirical objective unbounded below, see
    docs/design_decisions.md. `damping`: the rate, in units of ε, at which detail of log f that the
    functions of a control do not resolve is damped, and voids are filled, where it is fitted to
    values (`kjko.methods.resolution`); 0 leaves both, as the paper does. Voids are not filled where
    the problem is traced, as under `jax.vmap`. Raises ValueError for parts that do not go together.
    """

    control: Control
    fit: AbstractFit = Newton()
    splitting: AbstractSplitting = StrangMidpoint()
    log_det: LogDet = eqx.field(static=True, default="exact")
    damping: float = 1.0
    carries_density: ClassVar[bool] = True
    implicit: ClassVar[bool] = True

    def __check_init__(self) -> None:
        expect_one_of("log_det", self.log_det, LogDet)
        expect("damping", self.damping, lambda rate: rate >= 0, ">= 0 (0 leaves all detail)")

    @property
    def offers(self) -> tuple[str, ...]:
        if self.log_det == "linear":
            return (LOSS,)
        return (LOSS, CURVATURE, CONDITION) if self.splitting.acts_after else (LOSS, CURVATURE)

    @property
    def no_map(self) -> str | None:
        if self.log_det == "linear":
            return 'its log-determinants are the linear ones; take log_det = "exact"'
        return super().no_map

    @property
    def exact(self) -> bool:
        return self.log_det == "exact" and self.splitting.acts_after

    def init(self, problem: Problem, particles: Particles, time_step: Any, seed: Any = 0) -> State:
        state = super().init(problem, particles, time_step, seed)
        if not self._resolves:
            return state
        known = Equilibrium.of(problem, particles)
        return eqx.tree_at(
            lambda s: s.memory.equilibrium, state, known, is_leaf=lambda leaf: leaf is None
        )

    @property
    def _resolves(self) -> bool:
        return CONDITION in self.fit.needs and self.damping > 0

    def resolve(
        self,
        stage: Stage,
        control: Control,
        fit: FitInfo,
        equilibrium: Equilibrium | None,
        dt: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Stage, Resolution | None]:
        if not self._resolves or not isinstance(control, AbstractLinearControl):
            return stage, None
        time = self.damping * dt
        found, log_f = resolution(stage, control.basis, fit.ridge, equilibrium, time, key)
        return eqx.tree_at(lambda s: s.log_f, stage, log_f), found

    def unresolved(self, stage: Stage, equilibrium: Equilibrium | None) -> Resolution | None:
        if not self._resolves or not isinstance(self.control, AbstractLinearControl):
            return None
        return Resolution.none(self.control.basis, stage, equilibrium)

    def subproblem(
        self, problem: Problem, field: FieldState, h: Float[Array, ""], dt: Float[Array, ""]
    ) -> "JKOStep":
        return JKOStep(flow=problem.flow, field=field, h=h, dt=dt, log_det=self.log_det)

    def log_determinant(self, response: Response, h: Float[Array, ""]) -> Float[Array, " n"]:
        return h * response.divergence if self.log_det == "linear" else log_determinant(response, h)


class JKOStep(AbstractSubproblem):
    """The objective J of a step; see `JKO`. Its condition is that of the exact log-determinant."""

    flow: AbstractFlow
    field: FieldState
    h: Float[Array, ""]
    dt: Float[Array, ""]
    log_det: LogDet = eqx.field(static=True, default="exact")

    def __call__(self, control: Control, stage: Stage) -> tuple[Float[Array, ""], Float[Array, ""]]:
        by = response(control, stage)
        return self.loss(by, stage), det_min(by, self.h, self.dt)

    def loss(self, by: Response, stage: Stage) -> Float[Array, ""]:
        """J(u) − J(0)."""
        cost = 0.5 * self.h * sums.mean(jnp.sum(by.u**2, axis=-1))
        return cost + sums.mean(self.dissipation(by, stage, self.h))

    def raises_energy(
        self, by: Response, stage: Stage, share: Float[Array, ""] | float
    ) -> Bool[Array, ""]:
        """By more than chance, or by more than its share of `RISE` of T.

        The change is a mean over particles, and so is its error: held to zero, the exact control of
        a sampled law would be cut, which lowers the law's free energy.
        """
        changes = self.dissipation(by, stage, self.dt)
        error = sums.deviation(changes) / jnp.sqrt(changes.size)
        most = share * RISE * sums.mean(stage.bath.rate * stage.bath.temperature)
        return ~(sums.mean(changes) <= jnp.minimum(CHANCE * error, most))

    def dissipation(self, by: Response, stage: Stage, h: Float[Array, ""]) -> Float[Array, " n"]:
        """By what a step of size h changes the free energy of each particle, times ε."""
        u, bath = by.u, stage.bath
        square = jnp.sum(u**2, axis=-1)
        relative = stage.v_free - bath.velocity
        free_energy = h * jnp.sum(relative * u, axis=-1) + 0.5 * h**2 * square
        if self.log_det == "linear":
            free_energy -= bath.temperature * h * by.divergence
        else:
            free_energy -= bath.temperature * extended_log(determinant(by.matrix, h))
        if stage.drift is not None:
            moved = stage.x_free + (stage.drift * h)[:, None] * u[:, : stage.x.shape[1]]
            potential = eqx.Partial(self.flow.potential_energy, self.field)
            free_energy += each_row(potential, moved) - each_row(potential, stage.x_free)
        return bath.rate * free_energy

    def condition(self, control: AbstractLinearControl, stage: Stage) -> Optimality:
        return Optimality.at(control, stage, self.h)

    def curvature(
        self, by: Response, stage: Stage
    ) -> tuple[Float[Array, " n"], Float[Array, "n d d"]]:
        """G = mean[ h(1+εh) ∂uᵀ∂u + εTh² ∂Mᵀ(I+hM)⁻ᵀ(I+hM)⁻¹∂M ]."""
        rate, h = stage.bath.rate, self.h
        det, pull = jax.vjp(lambda matrix: determinant(matrix, h), by.matrix)
        (adjugate,) = pull(1 / (h * det))  # ∂det/∂M = h det (I + hM)⁻ᵀ
        inverse = jnp.swapaxes(adjugate, 1, 2)
        of_matrix = h * jnp.sqrt(rate * stage.bath.temperature)
        return jnp.sqrt(h * (1 + rate * h)), of_matrix[:, None, None] * inverse
