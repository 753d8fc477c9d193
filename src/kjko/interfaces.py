"""The contracts between the parts; read this page first.

The equation is flow × collisions,

    ∂ₜf + v·∇ₓf + a(t, x, v; f)·∇ᵥf = Q[f],

a splitting interleaves the two, a method says how the collisions are done, and a control u(x, v)
and a fit belong to the methods that learn. A step is

    flow -> freeze what the collisions relax to -> fit the control -> move (x, v, log f) -> flow

and every part of it is an object with one of the interfaces below. To add one, write a class of
your own: nothing is asked of it but its contract. `kjko.core` has the data that go through:
`Particles`, `State`, `Stage`, `Bath`, `Response`. Case files name the built-in ones by `@part`, see
`kjko.case.parts`.

Symbols: d_x is the number of position and d ≥ d_x of velocity components, n of particles, p of
coefficients, Δt the time step, φ a potential. Positions move by the first d_x components of v.
"""

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from kjko.core import Bath, Mesh, Particles, Response, Stage, State

if TYPE_CHECKING:
    from kjko.methods.passage import Passage
    from kjko.observe import Start
    from kjko.problem import Problem

FieldState = Any  # a pytree: None for a given force, the field on a grid for a self-consistent one
Potential = Callable[[Float[Array, " d_x"]], Float[Array, ""]]  # φ of one particle
Control = Callable[[Float[Array, " d_x"], Float[Array, " d"]], Float[Array, " d"]]
TimeDependentControl = Callable[  # (t, x, v) -> u, or all of (x', v') where both are learned
    [Float[Array, ""], Float[Array, " d_x"], Float[Array, " d"]], Float[Array, " m"]
]
Measured = Mapping[str, np.ndarray]  # what an observable has measured, on the host
Record = dict[str, Any]  # a line of series.jsonl

# ------------------------------------------------------------------------------------ the equation


class AbstractFlow(eqx.Module):
    """The conservative part: what accelerates a particle. In `kjko.flow`.

    `conservative`: all work that it does is in its `energies`; else there is no free energy.
    """

    conservative: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def acceleration(
        self, field: FieldState, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        """a at one particle. It must not depend on v, which only tells d: the determinant of a kick
        is taken as one. A magnetic field is a `gyrofrequency`.
        """

    def gyrofrequency(
        self, t: Float[Array, ""], x: Float[Array, " d_x"]
    ) -> Float[Array, "3"] | None:
        """Ω at one particle, which turns v by v̇ = v × Ω; None if there is no magnetic field."""
        return None

    def init(self, particles: Particles, mass: Float[Array, ""]) -> FieldState:
        """The field that belongs to these particles, of the total mass `mass`."""
        return None

    def update(self, field: FieldState, particles: Particles, dt: Float[Array, ""]) -> FieldState:
        """The field after the particles have drifted for a time `dt` to where they are now.

        They drifted with `particles.v` and are not wrapped into a box: they come from x − dt v.
        """
        return field

    def potential_energy(self, field: FieldState, x: Float[Array, " d_x"]) -> Float[Array, ""]:
        """φ(x) at one particle, as far as there is one: a = −∇φ + what has none."""
        return jnp.zeros((), x.dtype)

    def energies(
        self, field: FieldState, particles: Particles, mass: Float[Array, ""]
    ) -> dict[str, Float[Array, ""]]:
        """What is part of the free energy, by name: "external" is ∫φ f, "field" ½∫|E|² dx."""
        return {}

    def fields(self, field: FieldState) -> dict[str, Array]:
        """What of its field is kept in a snapshot, at the cell centres: "density", "electric", …"""
        return {}

    @property
    def given_potential(self) -> Potential | None:
        """φ(x) where the whole flow is that of a given potential (and of magnetic fields)."""
        return None

    @property
    def members(self) -> tuple["AbstractFlow", ...]:
        """The flows that it is the sum of."""
        return (self,)


class AbstractCollisions(eqx.Module):
    """The dissipative part Q[f]. In `kjko.collisions`.

    `temperature`: T₀ of the bath, which the free energy ∫(½|v|² + φ + T₀ log f) f is taken with;
    None where there is none.
    """

    temperature: eqx.AbstractVar[Float[Array, ""] | None]

    @abc.abstractmethod
    def freeze(self, x: Float[Array, "n d_x"], v: Float[Array, "n d"]) -> Bath | None:
        """What the particles relax to in this step; None if they do not collide."""

    def grid(self) -> Mesh | None:
        """The periodic mesh over whose cells it averages, if any; a box has to fit it."""
        return None

    def conserve(self, before: Particles, after: Particles) -> Particles:
        """The particles `after` a collision, with what it has to keep put right; x has not moved.

        log f follows the map that does it, exactly.
        """
        return after


# ------------------------------------------------------------------------- what is learned, and how


class AbstractBasis(eqx.Module):
    """Functions Φ of one particle to expand a potential ψ = Σ c_k Φ_k in. In `kjko.bases`.

    `polynomial`: whether they are products and sums, of which a step is compiled in less time.
    """

    polynomial: ClassVar[bool] = False
    size: eqx.AbstractVar[int]  # p

    @abc.abstractmethod
    def adapt(self, stage: Stage) -> "AbstractBasis":
        """The basis on the scales of these particles."""

    @abc.abstractmethod
    def potential(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """Φ(x, v) · c."""

    def derivatives(
        self, x: Float[Array, " d_x"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """∇ᵥ and ∇ᵥ² of Φ(x, v) · c."""
        gradient = jax.grad(self.potential, argnums=1)
        slope, along = jax.linearize(lambda v: gradient(x, v, c), v)
        return slope, jax.vmap(along, out_axes=-1)(jnp.eye(v.size, dtype=v.dtype))

    @abc.abstractmethod
    def design(
        self, stage: Stage, slope: Float[Array, "n d"], curvature: Float[Array, "n d d"]
    ) -> "AbstractDesign":
        """The matrix with a = `slope` and B = `curvature` at the particles of a stage."""


class AbstractTrainableBasis(AbstractBasis):
    """A basis whose functions have parameters of their own, as the directions of ridges have.

    Its `adapt` keeps a basis that has been trained as it is.
    """

    @abc.abstractmethod
    def values(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v); the first function is one."""

    @abc.abstractmethod
    def tangent(
        self,
        stage: Stage,
        slope: Float[Array, "n d"],
        curvature: Float[Array, "n d d"],
        c: Float[Array, " p"],
    ) -> Float[Array, "n q"]:
        """The `design`'s matrix; beside it (1 + a·∇ᵥ − B:∇ᵥ²) of the derivatives of Φ·c by the
        functions' own parameters.
        """

    @abc.abstractmethod
    def trained(self, step: Float[Array, " m"]) -> "AbstractTrainableBasis":
        """The basis with `step` added to the functions' own parameters."""


class AbstractDesign(eqx.Module):
    """The matrix M of a basis at n particles, one column a function; row p is

        M c = (1 + a·∇ᵥ − B:∇ᵥ²) Φ(x_p, v_p)·c    with a (d) and B (d × d) of particle p,

    and its penalised normal equations (MᵀM/n + ridge R) c = r. `kjko.bases.Dense` stores it.
    """

    @abc.abstractmethod
    def rows(self, which: slice) -> "AbstractDesign":
        """The matrix of some of the particles, with the same R."""

    @abc.abstractmethod
    def apply(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        """M c."""

    @abc.abstractmethod
    def transpose(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        """Mᵀ r."""

    @abc.abstractmethod
    def penalty(self, c: Float[Array, " p"], ridge: Float[Array, ""]) -> Float[Array, " p"]:
        """ridge R c, and a floor that keeps the equations definite."""

    @abc.abstractmethod
    def gram(self) -> Any:
        """MᵀM/n, in the form that `factor` takes; may be added and scaled."""

    @abc.abstractmethod
    def normal(self, c: Float[Array, " p"], gram: Any) -> Float[Array, " p"]:
        """MᵀM c/n, by the Gram matrix if that is whole."""

    @abc.abstractmethod
    def factor(self, gram: Any, ridge: Float[Array, ""]) -> Any:
        """A factor of MᵀM/n + ridge R, or of its diagonal blocks: a pytree of arrays."""

    @abc.abstractmethod
    def solve(self, factor: Any, r: Float[Array, " p"]) -> Float[Array, " p"]:
        """c with (…) c = r, exactly or up to the blocks that the factor leaves out."""

    @abc.abstractmethod
    def with_penalty_of(self, other: "AbstractDesign") -> "AbstractDesign":
        """This matrix, with R of another one."""


class AbstractLinearControl(eqx.Module):
    """A control u = ∇ᵥψ, ψ = Σ c_k Φ_k, which is linear in its coefficients c.

    Any other pytree that is a function of one particle is a control as well.
    """

    basis: eqx.AbstractVar[AbstractBasis]
    coefficients: eqx.AbstractVar[Float[Array, " p"]]
    ridge: eqx.AbstractVar[Float[Array, ""]]  # where the next search for one begins

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        """u(x, v)."""

    @abc.abstractmethod
    def potential(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """ψ(x, v)."""


class AbstractCondition(eqx.Module):
    """What the minimiser u = ∇ᵥψ of a subproblem satisfies at every particle: residual(c) = 0."""

    control: eqx.AbstractVar[AbstractLinearControl]
    stage: eqx.AbstractVar[Stage]
    h: eqx.AbstractVar[Float[Array, ""]]
    strength: eqx.AbstractVar[Float[Array, ""]]  # ψ = −strength Φ·c
    right: eqx.AbstractVar[Float[Array, " n"]]  # the residual of u = 0

    def control_of(self, c: Float[Array, " p"]) -> AbstractLinearControl:
        """The control with unknowns c, of the scale that the condition is linear with."""
        return eqx.tree_at(lambda u: u.coefficients, self.control, -self.strength * c)

    @abc.abstractmethod
    def residual(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        """The condition's left side less its right one."""

    @abc.abstractmethod
    def directions(
        self, c: Float[Array, " p"]
    ) -> tuple[Float[Array, "n d"], Float[Array, "n d d"]]:
        """a and B with which −∂residual is (1 + a·∇ᵥ − B:∇ᵥ²) of a change of Φ·c."""

    def linearise(self, c: Float[Array, " p"]) -> AbstractDesign:
        """−∂residual/∂c."""
        return self.control.basis.design(self.stage, *self.directions(c))


LOSS = "a loss"
CONDITION = "an optimality condition"
CURVATURE = "the curvature of its loss"


class AbstractSubproblem(eqx.Module):
    """The problem of one step: which control? It has a loss, and what else its method `offers`.

    `h`: the step that the control is fitted for. `dt`: the one by which it then moves.
    """

    h: eqx.AbstractVar[Float[Array, ""]]
    dt: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def __call__(self, control: Control, stage: Stage) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss minus its value at u = 0, and the smallest determinant of the whole move."""

    def raises_energy(
        self, by: Response, stage: Stage, share: Float[Array, ""] | float
    ) -> Bool[Array, ""]:
        """Whether the whole move by a control, for a `share` of the collision of a step, raises the
        free energy by more than may be.
        """
        return jnp.zeros((), bool)

    def condition(self, control: AbstractLinearControl, stage: Stage) -> AbstractCondition:
        """Its optimality condition at the particles of a stage, if it offers `CONDITION`."""
        raise NotImplementedError

    def curvature(
        self, by: Response, stage: Stage
    ) -> tuple[Float[Array, " n"], Float[Array, "n d d"]]:
        """a and P with which the loss's second derivative is mean[ a² |∂u|² + |P ∂M|² ], without
        the curvature of the control, if it offers `CURVATURE`.
        """
        raise NotImplementedError


class FitInfo(eqx.Module):
    """What a fit reports: the loss on the particles it was fitted on and on the ones it has not
    seen (nan if there are none), and its iterations. Of a fit of values of g = log f − log f∞: the
    share of the mean square of g that it explains on those, and half the mean square of what it
    leaves, `unresolved`, in units of the relative entropy ½ E[g²]; nan of any other. `ridge`: the
    one with which it fits its functions to values.
    """

    loss: Float[Array, ""]
    loss_heldout: Float[Array, ""]
    iterations: Any
    explained: Any = np.nan
    unresolved: Any = np.nan
    ridge: Any = np.nan


class AbstractFit(eqx.Module):
    """How the control is found. In `kjko.fit`.

    `needs`: what of the subproblem, some of `LOSS`, `CONDITION` and `CURVATURE`.
    """

    needs: eqx.AbstractVar[tuple[str, ...]]

    @abc.abstractmethod
    def refuses(self, control: Control) -> str | None:
        """Why it cannot fit such a control; None if it can."""

    @abc.abstractmethod
    def __call__(
        self,
        subproblem: AbstractSubproblem,
        control: Control,
        previous: Control,
        stage: Stage,
        key: Key[Array, ""],
    ) -> tuple[Control, FitInfo]:
        """Solve the subproblem; where particles are held out, over controls that do not fold the
        map. `control`: the method's own, as it was given; `previous`: the last step's result.
        """


# --------------------------------------------------------------------------------------- the solver


class AbstractSplitting(eqx.Module):
    """One step of (x, v, log f): the flow, and where in it the collisions act. In `kjko.splitting`.

    A step is `prepare`, then the control moves the particles over Δt, then `finish`. The control is
    fitted for a step of `fraction` · Δt: 1 is implicit Euler (JKO), ½ the implicit midpoint rule.
    `acts_after`: the control acts after the flow, on v alone. `largest`: the largest εΔt of a move,
    which is cut into parts with a control each where there is more of it; infinite where it cannot
    be cut. Only where the control acts after the flow can it.
    """

    fraction: eqx.AbstractClassVar[float]
    acts_after: eqx.AbstractClassVar[bool]
    largest: eqx.AbstractClassVar[float]

    @abc.abstractmethod
    def prepare(
        self, problem: "Problem", field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Stage, FieldState]:
        """The flow from t on, up to the control."""

    @abc.abstractmethod
    def finish(
        self, problem: "Problem", field: FieldState, particles: Particles, t: Array, dt: Array
    ) -> tuple[Particles, FieldState]:
        """What is left of the flow up to t + dt, after the control has acted."""

    def undo_prepare(
        self,
        problem: "Problem",
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        """Where particles that are about to collide were at t, if the control acts after the flow.
        `fields`: before and after it.
        """
        raise NotImplementedError

    def undo_finish(
        self,
        problem: "Problem",
        fields: tuple[FieldState, FieldState],
        particles: Particles,
        t: Array,
        dt: Array,
    ) -> Particles:
        """Where particles that are at t + dt were just after the collision, likewise."""
        raise NotImplementedError


class Applied(eqx.Module):
    """A control where it acted: `u` at `particles`, where it should be −ε (v − ū + T ∇ᵥ log f),
    with the law f of the time t + `when` · Δt. `exact`: False where even the best one is that only
    to first order in Δt.
    """

    u: Float[Array, "n d"]
    particles: Particles
    when: Float[Array, ""]
    exact: bool = eqx.field(static=True)


class AbstractStepInfo(eqx.Module):
    """What a step tells beside its result; an own type for each kind of method.

    `fit`: what the fit reports; `applied`: the control at the particles; `det_min`: the smallest
    determinant of the step; `passage`: what it did to any point of phase space, for a method whose
    `no_map` is None. None where the method has none of it.
    """

    fit: eqx.AbstractVar[FitInfo | None]
    applied: eqx.AbstractVar[Applied | None]
    det_min: eqx.AbstractVar[Float[Array, ""] | None]
    passage: eqx.AbstractVar["Passage | None"]


class AbstractMethod(eqx.Module):
    """How the equation is solved: it owns the parts that it uses. In `kjko.methods`.

    `carries_density`: log f moves along with the particles; else `Particles.log_f` is nan.
    """

    carries_density: eqx.AbstractClassVar[bool]

    @property
    def no_map(self) -> str | None:
        """Why its steps are no map of all phase space that `kjko.history` can take back; None if
        they are, and each tells its `passage`.
        """
        return f"{type(self).__name__} keeps no map of its steps"

    @abc.abstractmethod
    def init(
        self, problem: "Problem", particles: Particles, time_step: Any, seed: Any = 0
    ) -> State:
        """The state at t = 0, for steps of length `time_step`. Raises ValueError for a problem that
        the method cannot solve.
        """

    def learn(self, problem: "Problem", state: State, steps: int) -> State:
        """What is learned for all of a run of `steps` steps, before the first of them."""
        return state

    @abc.abstractmethod
    def step(self, problem: "Problem", state: State) -> tuple[State, AbstractStepInfo]:
        """One step, to be compiled. It draws from `state.key` and `state.step` alone."""


# ------------------------------------------------------------------------------- what a run tells


class AbstractObservable(eqx.Module):
    """Something that a run measures after every step. In `kjko.observe`.

    `keys`: of the records that it fills; null (None) where a quantity has no meaning.
    """

    keys: eqx.AbstractVar[tuple[str, ...]]

    def prepare(self, start: "Start") -> "AbstractObservable":
        """Itself, with all that is found out once, at the start of a run."""
        return self

    @abc.abstractmethod
    def measure(
        self, problem: "Problem", state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        """Arrays of a state and of what the step that led to it has told, None at t = 0; compiled
        together with those of the other observables.
        """

    def record(self, problem: "Problem", state: State, measured: Measured) -> Record:
        """Numbers and lists by `keys`, on the host; as they were measured, if not overridden."""
        return {key: measured[key].tolist() if key in measured else None for key in self.keys}


class SnapshotFormat(Protocol):
    """A format of the snapshots in a run folder. In `kjko.run.formats`."""

    @property
    def suffix(self) -> str:
        """Of the files' names, as ".h5"."""
        ...

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        """All of the file or nothing, by `kjko.run.atomic`; OSError if it cannot be."""
        ...

    def read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays and the attributes. Raises OSError for a file that is none of it."""
        ...
