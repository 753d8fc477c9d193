"""Particles and the contracts between the parts; read this page first.

A step of the solver is

    force at the particles -> fit the control on the method's loss -> move (x, v, log f)

and every part of it is an object with one of the interfaces below. Symbols: d_x is the
number of position and d ≥ d_x of velocity components, n of particles, Δt the time step, u(x, v) the
control, φ the potential. Forces act on the first d_x components of v, and these move x.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

ForceState = Any  # a pytree: None for an external force, a grid field for a self-consistent one
Control = Callable[[Float[Array, " d_x"], Float[Array, " d"]], Float[Array, " d"]]
TimeDependentControl = Callable[  # (t, x, v) -> u, or all of (x', v') where both are learned
    [Float[Array, ""], Float[Array, " d_x"], Float[Array, " d"]], Float[Array, " m"]
]


class Particles(eqx.Module):
    """Samples of f of equal weight, each with the density at its own position.

    `x`: positions, `v`: velocities, `log_f`: log f(x, v), f with respect to dx dv and of mass one,
    whatever the mass of the problem is: its own log f is log_f + log M.
    """

    x: Float[Array, "n d_x"]
    v: Float[Array, "n d"]
    log_f: Float[Array, " n"]


class Stage(eqx.Module):
    """A step before its control is known: all that does not depend on u, one row a particle.

    The step of size h with the control u is

        v' = v_free + h u(x, v),    x' = x_free + drift · h u(x, v),
        log f' = log_f − log det(I + h M),    M = ∇ᵥu R − shear · ∇ₓu,

    and it is exact: `response` R and −shear · I are the blocks ∂v/∂v* and ∂x/∂v* of the inverse of
    the map S(x, v) = (x*, v*) over which u is carried. R = (∂x*/∂x)ᵀ where S is symplectic; R = I
    and shear = 0 where u is taken after S.
    """

    x: Float[Array, "n d_x"]  # where the control is evaluated
    v: Float[Array, "n d"]
    x_free: Float[Array, "n d_x"]  # where the particle arrives with u = 0
    v_free: Float[Array, "n d"]
    log_f: Float[Array, " n"]
    response: Float[Array, "n d d"] | None = None  # R; None is the identity
    shear: float = eqx.field(static=True, default=0.0)
    drift: float = eqx.field(static=True, default=0.0)

    @property
    def is_split(self) -> bool:
        """The control acts after the conservative map, on v alone."""
        return self.shear == 0 and self.drift == 0

    def take(self, rows: Int[Array, " m"]) -> "Stage":
        """The stage of some of the particles."""
        return jax.tree.map(lambda leaf: leaf[rows], self)


class Response(eqx.Module):
    """A control at the particles of a stage: u, M (see `Stage`) and the divergence ∇ᵥ·u."""

    u: Float[Array, "n d"]
    matrix: Float[Array, "n d d"]
    divergence: Float[Array, " n"]


class AbstractForce(eqx.Module):
    """x -> acceleration. It may be self-consistent, and may carry a state (a field on a grid)."""

    @abc.abstractmethod
    def init(self, particles: Particles, mass: float = 1.0) -> ForceState:
        """The state that belongs to these particles, of the total mass `mass`."""

    @abc.abstractmethod
    def update(self, state: ForceState, particles: Particles, dt: float) -> ForceState:
        """The state after the particles have drifted for a time `dt` to where they are now.

        They drifted with `particles.v` and are not wrapped into a box: they come from x − dt v.
        """

    @abc.abstractmethod
    def acceleration(self, state: ForceState, x: Float[Array, " d_x"]) -> Float[Array, " d_x"]:
        """−∇φ(x) at one particle."""

    @abc.abstractmethod
    def potential_energy(self, state: ForceState, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        """φ(x) at one particle."""

    @abc.abstractmethod
    def field_energy(self, state: ForceState) -> Float[Array, ""] | None:
        """∫|E|² dx of the particles' own field; None for an external force."""

    def energy(self, state: ForceState, x: Float[Array, "n d_x"]) -> Float[Array, ""]:
        """Mean of φ over particles in the field of `state`."""
        return jnp.mean(jax.vmap(lambda one: self.potential_energy(state, one))(x))


class AbstractIntegrator(eqx.Module):
    """One step of (x, v, log f): the conservative map, and where in it the control acts.

    A step is `prepare`, then the control moves the particles over Δt, then `finish`. The control is
    fitted for a step of `fraction` · Δt: 1 is implicit Euler (JKO), ½ the implicit midpoint rule.
    """

    fraction: eqx.AbstractClassVar[float]

    @abc.abstractmethod
    def substeps(self, collisions: float) -> int:
        """Into how many equal parts the control's move is cut, given εΔt; an odd number.

        Each part has a control of its own. Only where the control acts after the map can it be cut.
        """

    @abc.abstractmethod
    def prepare(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Stage, ForceState]:
        """The conservative map up to the control."""

    @abc.abstractmethod
    def finish(
        self, particles: Particles, force: AbstractForce, state: ForceState, dt: float
    ) -> tuple[Particles, ForceState]:
        """What is left of the conservative map after the control has acted."""


class FitResult(eqx.Module):
    """A fitted control and what the fit reports."""

    control: Any  # Control or TimeDependentControl
    loss: Float[Array, ""]  # on the particles the control was fitted on
    loss_heldout: Float[Array, ""]  # on the ones it has not seen; nan if there are none
    iterations: Any


class State(eqx.Module):
    """All that a run carries from step to step.

    `control`: the last step's; u(t, x, v) for all times where it was trained before the first step.
    """

    step: Int[Array, ""]
    particles: Particles
    force: ForceState
    control: Any  # Control or TimeDependentControl


class StepInfo(eqx.Module):
    """What a step tells beside its result; None where there is no control.

    `u`: the control at the particles. `middle`: the particles where u should be
    −ε (v + T₀ ∇ᵥ log f), with the law f of the time t + `when` · Δt. `det_min`: the smallest
    determinant of the step.
    """

    fit: Any = None  # FitResult
    u: Any = None  # Float[Array, "n d"]
    middle: Any = None  # Particles
    det_min: Any = None  # Float[Array, ""]
    when: float = eqx.field(static=True, default=1.0)


class AbstractMethod(eqx.Module):
    """How the equation is solved: what is learned, when, and how a step is taken with it.

    `solver`: the `kjko.Solver` that has this method, for its control, integrator, fit and Δt.
    `carries_density`: log f moves along with the particles; else `Particles.log_f` is nan.
    """

    carries_density: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def begin(self, problem: Any, solver: Any, state: State, steps: int, key: Key) -> State:
        """The state before the first of `steps` steps: with a trained control, or as it is."""

    @abc.abstractmethod
    def step(self, problem: Any, solver: Any, state: State, key: Key) -> tuple[State, StepInfo]:
        """One step. `key` is the run's own."""


class AbstractSequential(AbstractMethod):
    """A method that fits a control anew at every step: what is minimised over it.

    `implicit`: at its minimum u is −ε (v + T₀ ∇ᵥ log f) after the step of size h; else before it.
    """

    implicit: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def loss(
        self, response: Response, stage: Stage, problem: Any, state: ForceState, h: float
    ) -> Float[Array, ""]:
        """The objective of a step of size h by the control, minus its value at u = 0.

        The difference is what is minimised either way; it has no large constant to round against,
        and no sampling noise of log f in it, so its values on two samples can be compared.
        """

    @abc.abstractmethod
    def log_determinant(self, response: Response, h: float) -> Float[Array, " n"]:
        """log det(I + h M) as this method takes it."""


class AbstractFit(eqx.Module):
    """How the control is found."""

    @abc.abstractmethod
    def __call__(
        self, subproblem: Any, control: Control, previous: Control, stage: Stage, key: Key
    ) -> FitResult:
        """Minimise the loss; where particles are held out, over controls that do not fold the map.

        `subproblem(control, stage)` is the loss and the smallest determinant of the whole move.

        `control` is the solver's own, as it was given; `previous` the last step's result.
        """
