"""Reading a run folder back: the one place that does. Files alone are read without jax."""

import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kjko.run.damaged import Damaged
from kjko.run.formats import FORMATS, HDF5
from kjko.run.manifest import changed_key, read_manifest
from kjko.run.npz import read_npz
from kjko.run.sealed import unseal
from kjko.run.series import read_series

if TYPE_CHECKING:
    import xarray

    from kjko.case import Experiment
    from kjko.core import Particles, State
    from kjko.history import History
    from kjko.interfaces import Control

Arrays = dict[str, np.ndarray]
PER_COORDINATE = {  # columns of the series that hold a number for each coordinate
    "momentum": "velocity",
    "marginal_kl_x": "position",
    "marginal_kl_v": "velocity",
    "position_mean": "position",
    "position_variance": "position",
}


def open_run(folder: str | Path) -> "Run":
    """A run folder, finished or not.

        run = kjko.open_run("runs/gaussian-1d")
        run.series.to_dataframe()           # a row a step
        run.particles(2.0)["log_f"]         # of the snapshot nearest to t = 2

    Raises FileNotFoundError if it is none, OSError if a file is damaged, ValueError if case.toml is
    not the one that the run was begun with.
    """
    return Run(Path(folder))


class Run:
    """What a run has left in its `folder`.

    `case`: case.toml as nested dictionaries. `columns`: the series as arrays by key, nan for null,
    without what is null throughout.
    """

    def __init__(self, folder: Path):
        for name in ("case.toml", "series.jsonl"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder}: not a run folder, it has no {name}")
        self.folder = folder
        try:
            self.case = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
            problem = self.case["problem"]
            self.title: str = self.case["title"]
            self.dimension: int = problem["dimension"]
            self.velocity_dimension: int = problem.get("velocity_dimension", self.dimension)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise Damaged(folder / "case.toml", repr(error)) from None
        begun = _without_null(self.manifest.get("case", self.case))
        self.case: dict[str, Any] = _filled(self.case, begun)
        changed = changed_key(begun, self.case)
        if changed:
            raise ValueError(f"{folder / 'case.toml'}: {changed}; change it back")
        self.periodic: bool = "domain" in problem
        self.has_bath: bool = problem.get("collisions", {}).get("kind") != "dougherty"
        self.temperature: float = problem.get("temperature", 1.0)

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The lines of the series, as they are."""
        return read_series(self.folder)

    @cached_property
    def columns(self) -> Arrays:
        keys = dict.fromkeys(key for record in self.records for key in record)
        columns = {key: [record.get(key) for record in self.records] for key in keys}
        kept = {k: c for k, c in columns.items() if any(value is not None for value in c)}
        return {key: _column(column) for key, column in kept.items()}

    @cached_property
    def series(self) -> "xarray.Dataset":
        """The series as a labelled data set over "time"; `.to_dataframe()` makes a table of it."""
        import xarray

        columns = dict(self.columns)
        time = columns.pop("time")
        variables = {
            key: (("time", PER_COORDINATE.get(key, key))[: values.ndim], values)
            for key, values in columns.items()
        }
        return xarray.Dataset(variables, coords={"time": time}, attrs={"title": self.title})

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, device, threads, precision, seed, commit and the case as it was begun."""
        return read_manifest(self.folder)

    @cached_property
    def snapshot_files(self) -> list[Path]:
        """In order of time."""
        suffixes = {format.suffix for format in FORMATS.values()}
        found = _files(self.folder / "snapshots")
        return [path for path in found if path.name[:5] == "step_" and path.suffix in suffixes]

    def snapshot(self, path: Path) -> Arrays:
        """All of a snapshot: `x`, `v`, `log_f`, fields, histograms and attributes."""
        format = next(f for f in FORMATS.values() if f.suffix == path.suffix)
        arrays, attributes = format.read(path)
        missing = {"x", "v", "log_f"} - set(arrays) or {"time"} - set(attributes)
        if missing:
            raise Damaged(path, f"it has no {', '.join(sorted(missing))}")
        return arrays | {name: np.asarray(value) for name, value in attributes.items()}

    def snapshots(self) -> Iterator[Arrays]:
        """One after the other."""
        return map(self.snapshot, self.snapshot_files)

    @cached_property
    def times(self) -> np.ndarray:
        """Of the snapshots."""
        return np.array([float(snapshot["time"]) for snapshot in self.snapshots()])

    def particles(self, time: float) -> Arrays:
        """`x`, `v`, `log_f`, `time` and what else the snapshot nearest to a time has.

        Raises ValueError if there is no snapshot.
        """
        if not self.snapshot_files:
            raise ValueError(f"{self.folder}: no snapshots; set output.snapshot_times")
        return self.snapshot(self.snapshot_files[int(np.argmin(np.abs(self.times - time)))])

    def fields(self, time: float) -> Arrays:
        """`density` ρ, `electric` E and `potential` φ at the cell centres, of the snapshot nearest
        to a time; empty without a self-consistent field.
        """
        snapshot, start = self.particles(time), "field_"
        return {k[len(start) :]: a for k, a in snapshot.items() if k.startswith(start)}

    @cached_property
    def stationary(self) -> Arrays | None:
        """`x`, `density`: nodes and marginals of the stationary law, and its `log_normaliser`; None
        if it is not known."""
        path = self.folder / "snapshots" / "stationary.h5"
        if not path.exists():
            return None
        arrays, attributes = HDF5().read(path)
        return arrays | {name: np.asarray(value) for name, value in attributes.items()}

    @cached_property
    def frames(self) -> list[Arrays]:
        """The histograms of (x₁, v₁): `counts`, and in 1D1V the mean `log_f` in each cell, between
        `x_ends` and `v_ends` at the `time`.
        """
        return list(map(read_frame, self.frame_files))

    @property
    def frame_files(self) -> list[Path]:
        """In order of time."""
        return _files(self.folder / "histograms")

    @cached_property
    def wave(self) -> dict[str, Any] | None:
        """The wave of linear theory and the measured one; None if the run has none."""
        path = self.folder / "wave.json"
        try:
            return unseal(path.read_bytes()) if path.exists() else None
        except ValueError as error:
            raise Damaged(path, error) from None

    def experiment(self) -> "Experiment":
        """Problem, method and first particles, made anew from the case. Needs jax."""
        from kjko.case import parse_toml

        text = (self.folder / "case.toml").read_text(encoding="utf-8")
        return parse_toml(text, str(self.folder / "case.toml")).build()

    def state(self) -> "State":
        """That of the newest checkpoint that can be read; `kjko.simulate(…, state=…)` goes on with
        it. Needs jax, in the precision of the run. Raises NoCheckpoint if there is none.
        """
        from kjko.run.checkpoints import read_checkpoint

        state, _ = read_checkpoint(self.folder, like=self.experiment().init())
        return state

    @property
    def has_passages(self) -> bool:
        """Whether it has kept what its steps did to phase space."""
        from kjko.run.passages import PASSAGES

        return (self.folder / PASSAGES).exists()

    @cached_property
    def history(self) -> "History":
        """What its steps did to phase space: log f, its score and new particles at any time.

        Needs jax, in any precision. Raises ValueError where the method has no such map, OSError if
        passages.bin is missing, as by output.passages = false, or damaged.
        """
        import equinox as eqx
        import jax

        from kjko.history import History, law_of_map
        from kjko.run.passages import PASSAGES, read_passages
        from kjko.simulation import take_step

        with jax.enable_x64(self.case["solver"].get("precision") == "double"):
            problem, method, *_ = experiment = self.experiment()
            first = experiment.init()
            law = law_of_map(problem, method, first.particles)
            _, info = eqx.filter_eval_shape(take_step, problem, method, first)
            steps = self.records[-1]["step"] if self.records else 0
            passages = read_passages(self.folder / PASSAGES, info.passage, steps)
            return History(problem, law, first, passages)

    def resample(self, n: int, t: float | None = None, seed: int = 0) -> "Particles":
        """See `kjko.history.History.resample`."""
        return self.history.resample(n, t, seed)

    def slice(self, t: float, **coordinates: ArrayLike) -> "xarray.DataArray":
        """f on a mesh, `run.slice(2.0, x1=np.linspace(-3, 3, 61), v1=[0, 1], x2=0.5)`: see
        `kjko.history.History.slice`.
        """
        return self.history.slice(t, **coordinates)

    def marginal(self, t: float, **coordinates: ArrayLike) -> "xarray.Dataset":
        """∫f over what is not named, `run.marginal(2.0, x1=np.linspace(-3, 3, 61))`: see
        `kjko.history.History.marginal`.
        """
        return self.history.marginal(t, **coordinates)

    def control(self) -> "Control":
        """The control of the newest checkpoint, u(x, v), or u(t, x, v) for all times."""
        return self.state().memory


def _column(values: list[Any]) -> np.ndarray:
    """A column with nan for null, a row of nan where a list is null."""
    width = next((len(value) for value in values if isinstance(value, list)), None)
    if width is not None:
        values = [[np.nan] * width if value is None else value for value in values]
    return np.array(values, dtype=float)


def read_frame(path: Path) -> Arrays:
    """A histogram of (x₁, v₁)."""
    arrays = read_npz(path)
    missing = {"counts", "x_ends", "v_ends", "time"} - set(arrays)
    if missing:
        raise Damaged(path, f"it has no {', '.join(sorted(missing))}")
    return arrays


def _files(folder: Path) -> list[Path]:
    """What a folder holds, if there is one, in order of steps; not what is being written."""
    if not folder.exists():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _filled(table: dict[str, Any], begun: dict[str, Any]) -> dict[str, Any]:
    """With what a case that was edited does not say: it is as it was."""
    both = {k: _filled(table[k], v) for k, v in begun.items() if isinstance(table.get(k), dict)}
    return begun | table | both


def _without_null(value: Any) -> Any:
    """As in TOML, which has no null."""
    if isinstance(value, dict):
        return {k: _without_null(v) for k, v in value.items() if v is not None}
    return [_without_null(v) for v in value] if isinstance(value, list) else value
