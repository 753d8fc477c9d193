"""The tables of a case file that are the same for all, around those of its parts."""

# pyright: reportInvalidTypeForm=false
# The types of parts are made from what is registered.

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from kjko.case import equation as equation  # makes the parts known
from kjko.case import law as law
from kjko.case import observables as observables
from kjko.case import solver as solver
from kjko.case.observables import NAMES
from kjko.case.parts import Table, any_of, of_kind
from kjko.case.values import Count, NotNegative, Positive, Whole, whole
from kjko.run.formats import FORMATS

AXES = ("integrator", "method", "control", "fit")
LEARNED_BY_ADAM = ("score", "score-end-to-end", "velocity-matching")


class DomainTable(Table):
    """The periodic box: its sides, or the wave number 2π/L of each."""

    length: list[Positive] | None = None
    wave_number: list[Positive] | None = None


class ProblemTable(Table):
    """`potential`, `force` (one or several), or both; `velocity_dimension` is `dimension` if not
    given; `law` may be left out where the particles come from a file.
    """

    dimension: Count
    velocity_dimension: Count | None = None
    collision_rate: NotNegative = 1.0
    temperature: Positive = 1.0
    mass: Positive = 1.0
    collisions: any_of("collisions") = of_kind("collisions")
    potential: any_of("potential") | None = None
    force: any_of("force") | list[any_of("force")] | None = None
    law: any_of("law") | None = None
    domain: DomainTable | None = None

    @field_validator("collisions", mode="before")
    @classmethod
    def _of_the_default_kind(cls, table: Any, info: ValidationInfo) -> Any:
        return _with_kind("collisions", table)


class ParticlesTable(Table):
    """Drawn from the law, or read from a `file`, an .npz with x (n, d_x), v (n, d), log_f (n)."""

    number: Annotated[int, Field(ge=2, lt=2**31), BeforeValidator(whole)] = 10_000
    sampling: Literal["random", "low-discrepancy", "lattice", "cell-jitter"] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**32), BeforeValidator(whole)] = 0
    file: str | None = None


class SolverTable(Table):
    time_step: Positive
    end_time: Positive
    precision: Literal["single", "double"] = "single"
    integrator: any_of("integrator") = of_kind("integrator")
    method: any_of("method") = of_kind("method")
    control: any_of("control") = of_kind("control")
    fit: any_of("fit") = of_kind("fit")

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
    """Times of snapshots, and every how many steps there is one more (0: none); the same of frames
    of the animation; of checkpoints. `passages`: keep what each step did to phase space, for the
    density anywhere. `keep_programs`: for the next run, in the user's cache folder.
    """

    snapshot_times: list[NotNegative] = [0.0]
    snapshot_every: Whole = 0
    histogram_every: Whole = 0
    checkpoint_every: Count = 10
    passages: bool = True
    keep_programs: bool = True
    format: Literal[tuple(FORMATS)] = "hdf5"
    observables: list[Literal[NAMES]] | None = None  # of the default ones if not given


class CaseTable(Table):
    title: str = ""
    problem: ProblemTable
    particles: ParticlesTable = ParticlesTable()
    solver: SolverTable
    output: OutputTable = OutputTable()


def _with_kind(axis: str, table: Any) -> Any:
    """A table that does not say its kind is of the default one."""
    return {"kind": of_kind(axis).kind, **table} if isinstance(table, dict) else table
