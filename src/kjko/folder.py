"""Reading a run folder back without jax: its series, and all that the figures need."""

import contextlib
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

SHOWN = 6  # snapshots at most, evenly spread
TAIL = 2e-3  # of the mass, left out of view at each end of an axis
HISTOGRAMS = ("edges_x", "edges_v", "histogram_x", "histogram_v", "histogram_x1_v1")

Arrays = dict[str, np.ndarray]


class Run(NamedTuple):
    """What the figures need: columns of the series, histograms of the snapshots, f∞ if known.

    `frames`: the histograms of (x₁, v₁). `wave`: what wave.json says, see `kjko.linear_theory`.
    """

    title: str
    dimension: int
    velocity_dimension: int
    temperature: float
    periodic: bool
    particles: int
    series: Arrays
    snapshots: list[Arrays]
    stationary: Arrays | None
    frames: list[Arrays]
    wave: dict[str, Any] | None

    def number(self, kind: str) -> int:
        """Of coordinates; `kind` is x or v."""
        return self.dimension if kind == "x" else self.velocity_dimension

    def name(self, kind: str, i: int) -> str:
        """The symbol of a coordinate; `kind` is x or v."""
        return f"${kind}$" if self.number(kind) == 1 else f"${kind}_{{{i + 1}}}$"

    def target(self, kind: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and density of a coordinate's stationary law; no nodes if it is not known."""
        if kind == "x":
            law = self.stationary
            return (law["x"][i], law["density"][i]) if law else (np.empty(0), np.empty(0))
        v, scale = np.linspace(-6, 6, 601), np.sqrt(self.temperature)
        return v * scale, np.exp(-0.5 * v**2) / (np.sqrt(2 * np.pi) * scale)

    def view(self, kind: str, i: int) -> tuple[float, float]:
        """The ends of an axis: where the mass is, in all snapshots and in the stationary law."""
        laws = [(s[f"edges_{kind}"][i], s[f"histogram_{kind}"][i]) for s in self.snapshots]
        if kind == "x" and self.periodic:
            return laws[0][0][0], laws[0][0][-1]
        nodes, density = self.target(kind, i)
        if nodes.size:
            laws.append((nodes, density[1:] * np.diff(nodes)))
        tails = [np.interp([TAIL, 1 - TAIL], np.cumsum([0, *mass]), edge) for edge, mass in laws]
        low, high = np.min(tails, axis=0)[0], np.max(tails, axis=0)[1]
        return low - 0.05 * (high - low), high + 0.05 * (high - low)


def read(folder: Path) -> Run:
    """What the figures need of a run folder.

    Raises FileNotFoundError if it is none, OSError if a file cannot be read, ValueError if
    case.toml or series.jsonl is not what a run writes.
    """
    for name in ("case.toml", "series.jsonl"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder}: not a run folder, it has no {name}")
    files = sorted((folder / "snapshots").glob("step_*.h5"))
    spread = np.linspace(0, len(files) - 1, min(len(files), SHOWN)).round().astype(int)
    frames = sorted((folder / "histograms").glob("step_*.npz"))
    law = folder / "snapshots" / "stationary.h5"
    try:
        case = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
        problem = case["problem"]
        return Run(
            title=case["title"],
            dimension=problem["dimension"],
            velocity_dimension=problem.get("velocity_dimension", problem["dimension"]),
            temperature=problem["temperature"],
            periodic="domain" in problem,
            particles=case["particles"]["number"],
            series=_columns(read_series(folder)),
            snapshots=[_read_snapshot(files[i]) for i in spread],
            stationary=_read_hdf5(law, "x", "density") if law.exists() else None,
            frames=[_read_frame(frame) for frame in frames],
            wave=read_wave(folder),
        )
    except (KeyError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{folder}: case.toml is not that of a run: {error!r}") from None


def read_wave(folder: Path) -> dict[str, Any] | None:
    """The wave of linear theory and the measured one; None if the run has none."""
    path = folder / "wave.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read_series(folder: Path) -> list[dict[str, Any]]:
    """The records, without lines that a crash has cut or that are damaged otherwise."""
    records = []
    path = folder / "series.jsonl"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records


def _columns(records: list[dict[str, Any]]) -> Arrays:
    """The columns of the series with nan for null, but none that is null throughout."""
    columns = {key: [record.get(key) for record in records] for key in (records or [{}])[0]}
    kept = {key: c for key, c in columns.items() if any(value is not None for value in c)}
    return {key: np.array(column, dtype=float) for key, column in kept.items()}


def _read_snapshot(path: Path) -> Arrays:
    """Its histograms, and x₁ and v₁ of its particles."""
    arrays = _read_hdf5(path, *HISTOGRAMS, "x", "v")
    return arrays | {f"{kind}1": arrays.pop(kind)[:, 0] for kind in "xv"}


def _read_frame(path: Path) -> Arrays:
    """A histogram of (x₁, v₁)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("counts", "x_ends", "v_ends", "time")}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise OSError(f"{path}: cannot be read: {error}") from None


def _read_hdf5(path: Path, *names: str) -> Arrays:
    """Some of a file's datasets, and its attributes."""
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: np.asarray(file[name], dtype=float) for name in names}
            return arrays | {name: np.asarray(value) for name, value in file.attrs.items()}
    except (OSError, KeyError) as error:
        raise OSError(f"{path}: cannot be read: {error}") from None
