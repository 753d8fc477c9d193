"""What a run leaves on disk: the one place that writes into its folder."""

from pathlib import Path
from typing import Any

import numpy as np

from kjko.core import State
from kjko.core.rows import spread_rows
from kjko.interfaces import Record, SnapshotFormat
from kjko.observe import Start
from kjko.observe.start import time_of
from kjko.problem import Problem
from kjko.reference.linear_theory import LinearWave, linear_wave, measured_wave
from kjko.run.atomic import append, sync, write_atomically
from kjko.run.checkpoints import write_checkpoint
from kjko.run.damaged import Damaged
from kjko.run.formats import HDF5
from kjko.run.manifest import manifest, read_manifest
from kjko.run.npz import to_npz
from kjko.run.passages import PASSAGES, append_passage, forget_passages
from kjko.run.sealed import seal
from kjko.run.series import read_series

STATIONARY = "snapshots/stationary.h5"
KEPT_PARTICLES = 100_000  # in a snapshot; its histograms are of all
PHASE_BINS = 128  # of x₁ and of v₁ in the histograms of phase space


class Writer:
    """The folder of a run of a problem from a `start`, with snapshots in a `format`; its `case` as
    nested dictionaries.
    """

    def __init__(self, folder: Path, start: Start, format: SnapshotFormat, case: dict[str, Any]):
        self.folder: Path = folder
        self.start: Start = start
        self.format: SnapshotFormat = format
        self.case: dict[str, Any] = case
        self.wave: LinearWave | None = linear_wave(start.problem)

    def begin(self, case_toml: str) -> None:
        """A new folder: an empty series, case, manifest and the stationary law's marginals. A
        folder with a case is a run that every command can read.
        """
        write_atomically(self.folder / "series.jsonl", b"")
        write_atomically(self.folder / "case.toml", case_toml.encode())
        self._manifest()
        self._stationary()

    def mend(self) -> list[str]:
        """Write anew what the run was begun with, where it is damaged; the names of such files."""
        damaged = []
        try:
            read_manifest(self.folder)
        except Damaged:
            self._manifest()
            damaged.append("manifest.json")
        try:
            if self.start.stationary is not None:
                HDF5().read(self.folder / STATIONARY)
        except (Damaged, FileNotFoundError):
            self._stationary()
            damaged.append(STATIONARY)
        return damaged

    def _manifest(self) -> None:
        made_by = seal(manifest(self.case), indent=2)
        write_atomically(self.folder / "manifest.json", made_by.encode())

    def _stationary(self) -> None:
        law = self.start.stationary
        if law is not None:
            arrays = {"x": law.nodes, "density": law.marginals}
            attributes = {"log_normaliser": law.log_normaliser}
            HDF5().write(self.folder / STATIONARY, arrays, attributes)

    def record(self, record: Record) -> None:
        """One more line of the series, all of it or nothing."""
        append(self.folder / "series.jsonl", (seal(record) + "\n").encode())

    def forget_after(self, step: int) -> list[int]:
        """Forget the records after a step: they are about to be made again.

        Returns the steps until then that have no record.
        """
        records = read_series(self.folder)
        kept = {r["step"]: seal(r) for r in records if r["step"] <= step}
        lines = [kept[s] + "\n" for s in sorted(kept)]
        write_atomically(self.folder / "series.jsonl", "".join(lines).encode())
        return [s for s in range(step + 1) if s not in kept]

    def forget_passages_after(self, step: int) -> bool:
        """The same of what steps did to phase space; whether some of it is lost."""
        path = self.folder / PASSAGES
        return path.exists() and forget_passages(path, step) < step

    def passage(self, step: int, passage: Any) -> None:
        """What a step did to phase space, for methods that tell: a `Passage`, or None."""
        if passage is not None:
            append_passage(self.folder / PASSAGES, step, passage)

    def snapshot(self, state: State) -> None:
        """The particles (at most 100,000, the same at all times), the fields, and the histograms of
        all.

        They are spread over all: the first ones of a lattice are the slowest.
        """
        particles, bins, problem = state.particles, self.start.bins, self.start.problem
        x, v = np.asarray(particles.x), np.asarray(particles.v)
        kept = spread_rows(len(x), KEPT_PARTICLES)
        x1_edges, v1_edges = bins.x_edges[0], bins.v_edges[0]  # the end bins reach to infinity
        x1, v1 = x[:, 0].clip(*x1_edges[[0, -1]]), v[:, 0].clip(*v1_edges[[0, -1]])
        plane, _, _ = np.histogram2d(x1, v1, bins=[x1_edges, v1_edges])
        arrays = {
            "x": x[kept],
            "v": v[kept],
            "log_f": np.asarray(particles.log_f)[kept],
            "histogram_x": _fractions(x, bins.x_edges),
            "histogram_v": _fractions(v, bins.v_edges),
            "edges_x": bins.x_edges,
            "edges_v": bins.v_edges,
            "histogram_x1_v1": plane / len(x),
        }
        if state.turns is not None:
            arrays["turns"] = np.asarray(state.turns)[kept]
        fields = problem.flow.fields(state.field)
        arrays |= {f"field_{name}": np.asarray(array) for name, array in fields.items()}
        name = f"step_{int(state.step):06d}{self.format.suffix}"
        attributes = _attributes(problem, state, len(kept))
        self.format.write(self.folder / "snapshots" / name, arrays, attributes)

    def histogram(self, state: State) -> None:
        """Counts of (x₁, v₁), a frame of the animation; over the box or the range of x₁. In 1D1V
        with the mean log f of the particles in each cell, zero in one without.
        """
        particles, box = state.particles, self.start.problem.box
        x, v = (np.asarray(z[:, 0], dtype=float) for z in (particles.x, particles.v))
        ends = (x.min(), x.max()) if box is None else (0.0, float(box.length[0]))
        view = [ends, (v.min(), v.max())]
        counts, x_edges, v_edges = np.histogram2d(x, v, bins=PHASE_BINS, range=view)
        frame = {
            "counts": counts.astype(np.uint32),
            "x_ends": x_edges[[0, -1]],
            "v_ends": v_edges[[0, -1]],
            "time": time_of(state),
        }
        log_f = np.asarray(particles.log_f, dtype=float)
        if particles.x.shape[1] == particles.v.shape[1] == 1 and np.isfinite(log_f).all():
            total, *_ = np.histogram2d(x, v, bins=(x_edges, v_edges), weights=log_f)
            frame["log_f"] = (total / np.maximum(counts, 1)).astype(np.float32)
        path = self.folder / "histograms" / f"step_{int(state.step):06d}.npz"
        write_atomically(path, to_npz(frame))

    def checkpoint(self, state: State) -> None:
        """The whole state. It is never ahead of the series and the passages on the disk."""
        for name in ("series.jsonl", PASSAGES):
            sync(self.folder / name)
        write_checkpoint(self.folder, state, self.case)

    def finish(self) -> None:
        """The wave of linear theory beside the one that the series shows, if it shows any."""
        if self.wave is None:
            return
        measured = measured_wave(read_series(self.folder), self.wave)
        wave: dict[str, Any] = {"theory": self.wave._asdict()}
        if measured is not None:
            wave |= {"measured": measured[0]._asdict(), "window": measured[1]}
        write_atomically(self.folder / "wave.json", seal(wave, indent=2).encode())


def _fractions(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of the particles in each bin of each coordinate; the end bins reach to infinity. By numpy:
    the process that writes has them to itself; `kjko.observe.bins.histogram` is of all devices.
    """
    ends = edges[:, [0, -1]]
    counts = [
        np.histogram(z.clip(*end), bins=bins)[0]
        for z, end, bins in zip(values.T, ends, edges, strict=True)
    ]
    return np.array(counts) / len(values)


def _attributes(problem: Problem, state: State, kept: int) -> dict[str, Any]:
    """What the arrays of a snapshot mean."""
    number = len(state.particles.log_f)
    attributes: dict[str, Any] = {
        "time": time_of(state),
        "step": int(state.step),
        "mass": float(problem.mass),
        "particles": number,
        "particles_kept": kept,
        "weight": float(problem.mass) / number,  # of each of all particles
        "units": "x, v and time in the units of case.toml; charge and mass of a particle are one",
        "density": "log_f is of mass one; that of the problem is log_f + log(mass)",
    }
    if problem.temperature is not None:
        attributes["temperature"] = float(problem.temperature)
    if problem.box is not None:
        attributes["length"] = np.asarray(problem.box.length, dtype=float)
    return attributes
