"""The tables of a case file that are the same for all, around those of its parts."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from kjko.case import equation as equation  # makes the parts known
from kjko.case import law as law
from kjko.case import observables as observables
from kjko.case import solver as solver
from kjko.case.observables import NAMES
from kjko.case.parts import Table, any_of, of_kind
from kjko.case.values import Count, NotNegative, Positive, Whole, whole
from kjko.run.formats import FORMATS

if TYPE_CHECKING:
    Collisions = Potential = Force = Law = Integrator = Method = Control = Fit = Any
    Format = Observable = str
else:  # of what is registered
    Collisions, Potential, Force, Law, Integrator, Method, Control, Fit = map(
        any_of,
        ("collisions", "potential", "force", "law", "integrator", "method", "control", "fit"),
    )
    Format, Observable = Literal[tuple(FORMATS)], Literal[NAMES]

AXES = ("integrator", "method", "control", "fit")
LEARNED_BY_ADAM = ("score", "score-end-to-end", "velocity-matching")


class DomainTable(Table):
    """The periodic box: one of its two keys.

    length [length]: of each side
    wave_number [1/length]: 2π/L of each side
    """

    length: list[Positive] | None = None
    wave_number: list[Positive] | None = None


class ProblemTable(Table):
    """The equation, with a potential, a force, or both.

    dimension: of space
    velocity_dimension: dimension if not given, or more
    collision_rate [1/time]: ε; 0 is without collisions
    temperature [velocity²]: T₀ of the bath
    mass: the integral of f; the volume of the box for a plasma frequency of one
    collisions: Q[f]
    potential [velocity²]: φ(x), of a force −∇φ
    force: fields, of the particles themselves, uniform, driven or magnetic; one or a list of them
    law: f at t = 0; left out where particles come from a file
    domain: a periodic box; left out for all of space
    """

    dimension: Count
    velocity_dimension: Count | None = None
    collision_rate: NotNegative = 1.0
    temperature: Positive = 1.0
    mass: Positive = 1.0
    collisions: Collisions = of_kind("collisions")
    potential: Potential | None = None
    force: Force | list[Force] | None = None
    law: Law | None = None
    domain: DomainTable | None = None

    @field_validator("collisions", mode="before")
    @classmethod
    def _of_the_default_kind(cls, table: Any, info: ValidationInfo) -> Any:
        return _with_kind("collisions", table)


class ParticlesTable(Table):
    """Drawn from the law, or read from a file.

    number: of particles
    sampling: how they are drawn; a lattice is the quietest start in few dimensions
    seed: of all that is random
    file: an .npz with x (n, d_x), v (n, d) and log_f (n)
    """

    number: Annotated[int, Field(ge=2, lt=2**31), BeforeValidator(whole)] = 10_000
    sampling: Literal["random", "low-discrepancy", "lattice", "cell-jitter"] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(whole)] = 0
    file: str | None = None


class SolverTable(Table):
    """How the equation is solved.

    time_step [time]: Δt
    end_time [time]: a multiple of the time step
    precision: of the arithmetic
    integrator: where in a step collisions act
    method: how collisions are done
    control: the functions that are fitted; ridges by default where f has coupled pairs (x_k, v_k),
        mlp for learned scores and velocities
    fit: how they are fitted; levenberg-marquardt by default for ridges, adam for mlp
    """

    time_step: Positive
    end_time: Positive
    precision: Literal["single", "double"] = "single"
    integrator: Integrator = of_kind("integrator")
    method: Method = of_kind("method")
    control: Control = of_kind("control")
    fit: Fit = of_kind("fit")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_method(cls, table: Any) -> Any:
        """What is learned by Adam has a network by default, since no other fit goes with it."""
        if not isinstance(table, dict) or not isinstance(table.get("method"), dict):
            return table
        if table["method"].get("kind") not in LEARNED_BY_ADAM:
            return table
        network = {"control": {"kind": "mlp", "widths": [32, 32]}, "fit": {"kind": "adam"}}
        for key, default in network.items():
            given = table.get(key, default)
            if isinstance(given, dict) and "kind" not in given:
                given = {"kind": default["kind"], **given}
            table = table | {key: given}
        return table

    @field_validator(*AXES, mode="before")
    @classmethod
    def _of_the_default_kind(cls, table: Any, info: ValidationInfo) -> Any:
        return _with_kind(info.field_name or "", table)


class OutputTable(Table):
    """What is written.

    snapshot_times [time]: of snapshots of the particles, beside the last
    snapshot_every [steps]: more of them; 0 is none
    histogram_every [steps]: frames of the animation; 0 is none
    checkpoint_every [steps]: what a run goes on from
    passages: keep what each step did to phase space, for the density anywhere
    keep_programs: keep what is compiled for the next run, in the user's cache folder
    format: of snapshots
    observables: what is measured after each step; the usual ones if not given
    """

    snapshot_times: list[NotNegative] = [0.0]
    snapshot_every: Whole = 0
    histogram_every: Whole = 0
    checkpoint_every: Count = 10
    passages: bool = True
    keep_programs: bool = True
    format: Format = "hdf5"
    observables: list[Observable] | None = None


class CaseTable(Table):
    """A case.

    title: of its figures
    problem: the equation
    particles: those that carry f
    solver: how it is solved
    output: what is written
    """

    title: str = ""
    problem: ProblemTable
    particles: ParticlesTable = ParticlesTable()
    solver: SolverTable
    output: OutputTable = OutputTable()


def _with_kind(axis: str, table: Any) -> Any:
    """A table that does not say its kind is of the default one."""
    return {"kind": of_kind(axis).kind, **table} if isinstance(table, dict) else table
