"""The tables of a case file: every key, its type, its range and its default."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

Count = Annotated[int, Field(gt=0, lt=2**31)]
Vector = list[float]
Matrix = list[list[float]]


class Table(BaseModel):
    """Unknown keys, wrong types, nan and inf are refused; an integer may stand for a float."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class QuadraticTable(Table):
    kind: Literal["quadratic"]
    stiffness: PositiveFloat | Matrix = 1.0
    center: Vector | None = None


class MultiwellTable(Table):
    kind: Literal["multiwell"]
    stiffness: PositiveFloat = 1.0
    amplitude: float = 1.0


class DoubleWellTable(Table):
    kind: Literal["double-well"]
    barrier: PositiveFloat = 1.0
    minimum: PositiveFloat = 1.0


class WaveTable(Table):
    kind: Literal["sine", "cosine"]
    amplitude: float = 0.2
    mode: Count = 1


class GaussianLawTable(Table):
    kind: Literal["gaussian"]
    mean: Vector
    covariance: Matrix


class GaussianPositionTable(Table):
    kind: Literal["gaussian"]
    mean: Vector
    covariance: Matrix


class CosinePositionTable(Table):
    """One of `mode` and `wave_number`; `literal` keeps a wave number that does not fit the box."""

    kind: Literal["cosine"]
    amplitude: list[Annotated[float, Field(ge=-1, le=1)]]
    mode: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = None
    wave_number: list[Annotated[float, Field(ge=0)]] | None = None
    literal: bool = False


class MixtureTable(Table):
    means: Matrix
    widths: list[PositiveFloat]
    weights: list[PositiveFloat] | None = None


class ProductLawTable(Table):
    kind: Literal["product"]
    position: Annotated[GaussianPositionTable | CosinePositionTable, Field(discriminator="kind")]
    velocity: MixtureTable


class DomainTable(Table):
    length: list[PositiveFloat]


class MeshTable(Table):
    number_of_cells: Count | list[Count] = 128
    shape: Literal["nearest", "tent", "quadratic"] = "tent"


class PoissonTable(MeshTable):
    kind: Literal["poisson"]
    laplacian: Literal["spectral", "discrete"] = "spectral"


class AmpereTable(MeshTable):
    kind: Literal["ampere"]
    uniform_field: float = 0.0


class ProblemTable(Table):
    """One of `potential` and `force`; `velocity_dimension` is `dimension` if not given."""

    dimension: Count
    velocity_dimension: Count | None = None
    collision_rate: Annotated[float, Field(ge=0)] = 1.0
    temperature: PositiveFloat = 1.0
    mass: PositiveFloat = 1.0
    potential: (
        Annotated[
            QuadraticTable | MultiwellTable | DoubleWellTable | WaveTable,
            Field(discriminator="kind"),
        ]
        | None
    ) = None
    force: Annotated[PoissonTable | AmpereTable, Field(discriminator="kind")] | None = None
    law: Annotated[GaussianLawTable | ProductLawTable, Field(discriminator="kind")]
    domain: DomainTable | None = None


class ParticlesTable(Table):
    number: Annotated[int, Field(ge=2, lt=2**31)] = 10_000
    sampling: Literal["random", "low-discrepancy", "lattice", "cell-jitter"] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class PlainIntegratorTable(Table):
    kind: Literal["strang-midpoint", "symplectic-euler"] = "strang-midpoint"


class MappedIntegratorTable(Table):
    kind: Literal["lie", "unsplit"]
    map: Literal["stormer-verlet", "symplectic-euler"] = "stormer-verlet"


class JKOTable(Table):
    kind: Literal["jko"] = "jko"
    log_det: Literal["exact", "linear"] = "exact"


class PlainMethodTable(Table):
    kind: Literal["score", "langevin"]


class EndToEndTable(Table):
    kind: Literal["score-end-to-end", "velocity-matching"]
    gradient_steps: Count = 10  # before the particles are pushed anew


class AffineTable(Table):
    kind: Literal["affine"]


class MLPTable(Table):
    kind: Literal["mlp"] = "mlp"
    widths: list[Count] = [16, 16]
    activation: Literal["tanh", "leaky-relu"] = "tanh"


class SplinesTable(Table):
    kind: Literal["splines"] = "splines"
    cells: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None


class FourierHermiteTable(Table):
    kind: Literal["fourier-hermite"]
    size: Count = 480


class RandomTanhTable(Table):
    kind: Literal["random-tanh"]
    size: Count = 300


class QuadraticControlTable(Table):
    kind: Literal["quadratic"]


class NewtonTable(Table):
    kind: Literal["newton"] = "newton"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    particles: Annotated[int, Field(ge=10)] = 50_000
    tolerance: PositiveFloat = 1e-2
    iterations: Count = 20


class AdamTable(Table):
    kind: Literal["adam"] = "adam"
    steps: Count = 100
    learning_rate: PositiveFloat = 0.02
    schedule: Literal["constant", "cosine"] = "cosine"
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.5
    tolerance: Annotated[float, Field(ge=0)] = 1e-3
    warm_start: bool = False


class GaussNewtonTable(Table):
    kind: Literal["gauss-newton"]
    steps: Count = 30
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.5
    tolerance: Annotated[float, Field(ge=0)] = 1e-3
    particles: Annotated[int, Field(ge=10)] = 4096
    layers: Literal["all", "last"] = "all"
    adam_steps: Annotated[int, Field(ge=0, lt=2**31)] = 0


class SolverTable(Table):
    time_step: PositiveFloat
    end_time: PositiveFloat
    precision: Literal["single", "double"] = "single"
    integrator: Annotated[
        PlainIntegratorTable | MappedIntegratorTable, Field(discriminator="kind")
    ] = PlainIntegratorTable()
    method: Annotated[JKOTable | PlainMethodTable | EndToEndTable, Field(discriminator="kind")] = (
        JKOTable()
    )
    control: Annotated[
        AffineTable
        | MLPTable
        | SplinesTable
        | FourierHermiteTable
        | RandomTanhTable
        | QuadraticControlTable,
        Field(discriminator="kind"),
    ] = SplinesTable()
    fit: Annotated[AdamTable | GaussNewtonTable | NewtonTable, Field(discriminator="kind")] = (
        NewtonTable()
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_method(cls, table: Any) -> Any:
        """What is learned by Adam has a network by default, since no other fit goes with it."""
        if not isinstance(table, dict) or not isinstance(table.get("method"), dict):
            return table
        if table["method"].get("kind") not in ("score", "score-end-to-end", "velocity-matching"):
            return table
        network = {"control": {"kind": "mlp", "widths": [32, 32]}, "fit": {"kind": "adam"}}
        for key, default in network.items():
            given = table.get(key, default)
            if isinstance(given, dict) and "kind" not in given:
                given = {"kind": default["kind"], **given}
            table = table | {key: given}
        return table

    @field_validator("integrator", "method", "control", "fit", mode="before")
    @classmethod
    def _of_the_default_kind(cls, table: Any, info: ValidationInfo) -> Any:
        """A table that does not say its kind is of the default one."""
        default = cls.model_fields[info.field_name or ""].default
        return {"kind": default.kind, **table} if isinstance(table, dict) else table


class OutputTable(Table):
    snapshot_times: list[Annotated[float, Field(ge=0)]] = [0.0]
    histogram_every: Annotated[int, Field(ge=0, lt=2**31)] = 0  # steps; 0: none
    checkpoint_every: Count = 10


class CaseTable(Table):
    title: str = ""
    problem: ProblemTable
    particles: ParticlesTable = ParticlesTable()
    solver: SolverTable
    output: OutputTable = OutputTable()
