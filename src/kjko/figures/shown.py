"""A run as its figures show it: some of its snapshots, and what axes are called and reach over."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kjko.run.reader import Arrays, Run, open_run

SHOWN = 6  # snapshots at most, evenly spread
UNITY = 1e-3  # by which ω_p may be off one
TAIL = 2e-3  # of the mass, left out of view at each end of an axis
NEEDED = ("edges_x", "edges_v", "histogram_x", "histogram_v", "histogram_x1_v1")


class Shown:
    """What the figures need of a run. Raises as `kjko.run.open_run`."""

    def __init__(self, folder: Path):
        self.run: Run = open_run(folder)
        self.series: Arrays = self.run.columns
        self.wave: dict[str, Any] | None = self.run.wave
        self.periodic: bool = self.run.periodic
        self.temperature: float = self.run.temperature
        self.dimension: int = self.run.dimension
        self.mass: float = self.run.case["problem"].get("mass", 1.0)
        self.stationary: Arrays | None = self.run.stationary
        self.frames: list[Arrays] = self.run.frames
        self.snapshots: list[Arrays] = self._snapshots()
        self.title: str = f"{self.run.title}\n{self._numbers()}"

    def _numbers(self) -> str:
        """Those that a picture is looked at with, of the case as run."""
        problem, time_step = self.run.case["problem"], self.run.case["solver"]["time_step"]
        rate = problem.get("collision_rate", 1.0)
        told = [f"ε = {rate:g}"]
        if self.run.has_bath and rate > 0:
            told.append(f"T₀ = {self.temperature:g}")
        law = problem.get("law", {})
        waves = law.get("position", {}).get("wave_number") or []
        told += [f"k = {', '.join(f'{wave:g}' for wave in waves)}"] if waves else []
        drifts = [mean[0] for mean in law.get("velocity", {}).get("means", [])]
        told += [f"drifts {', '.join(f'{v:g}' for v in drifts)}"] if any(drifts) else []
        told += [f"{self.particles:,} particles"] if self.snapshots else []
        return ", ".join([*told, f"Δt = {time_step:g}"])

    def _snapshots(self) -> list[Arrays]:
        files = self.run.snapshot_files
        spread = np.linspace(0, len(files) - 1, min(len(files), SHOWN)).round().astype(int)
        return [self._snapshot(files[i]) for i in spread]

    def _snapshot(self, path: Path) -> Arrays:
        """Its histograms, and x₁ and v₁ of its particles."""
        arrays = self.run.snapshot(path)
        missing = [name for name in NEEDED if name not in arrays]
        if missing:
            raise OSError(f"{path}: cannot be read: it has no {missing[0]}")
        return arrays | {f"{kind}1": arrays[kind][:, 0].astype(float) for kind in "xv"}

    @cached_property
    def particles(self) -> int:
        """How many there are, in snapshots or not."""
        kept = len(self.snapshots[0]["log_f"]) if self.snapshots else 0
        return int(self.snapshots[0].get("particles", kept)) if self.snapshots else kept

    @property
    def has_density(self) -> bool:
        """Whether its particles carry log f."""
        return bool(np.isfinite(self.snapshots[-1]["log_f"]).all())

    @cached_property
    def noise(self) -> float | None:
        """∫|E|² dx of as many random particles in a uniform plasma, M² L/12N; None where it is not
        known: in more dimensions, or from a quiet start.
        """
        if not self.is_random or self.sides.size != 1:
            return None
        return float(self.mass**2 * self.sides[0] / (12 * self.particles))

    def number(self, kind: str) -> int:
        """Of coordinates; `kind` is x or v."""
        return self.dimension if kind == "x" else self.run.velocity_dimension

    def name(self, kind: str, i: int) -> str:
        """The symbol of a coordinate, in a plasma with its unit; `kind` is x or v."""
        symbol = kind if self.number(kind) == 1 else f"{kind}_{{{i + 1}}}"
        unit = {"x": r"\lambda_D", "v": r"v_\mathrm{th}"}[kind]
        return f"${symbol} / {unit}$" if self.is_in_plasma_units else f"${symbol}$"

    @property
    def time_name(self) -> str:
        """What axes of time are called: of a plasma in other units than its own, with ω_p."""
        frequency = self.plasma_frequency
        if frequency is None:
            return "$t$"
        in_its_own = r"$\omega_p t$"
        return in_its_own if self.is_in_plasma_units else rf"$t$ ($\omega_p = {frequency:.3g}$)"

    def at(self, time: float | np.ndarray) -> str:
        """A time, as a title."""
        symbol = r"\omega_p t" if self.is_in_plasma_units else "t"
        return f"${symbol} = {float(time):.4g}$"

    @property
    def is_in_plasma_units(self) -> bool:
        """Whether times are in 1/ω_p, velocities in the thermal velocity and lengths in λ_D: of the
        bath, or of the law where there is none.
        """
        frequency, problem = self.plasma_frequency, self.run.case["problem"]
        if frequency is None or abs(frequency - 1) >= UNITY:
            return False
        if self.run.has_bath and problem.get("collision_rate", 1.0) > 0:
            return self.temperature == 1
        widths = problem.get("law", {}).get("velocity", {}).get("widths", [])
        return bool(widths) and all(width == 1 for width in widths)

    @cached_property
    def plasma_frequency(self) -> float | None:
        """√(M/|Ω|), of charges and masses one; None without a field of the particles' own."""
        if "field_energy" not in self.series:
            return None
        return float(np.sqrt(self.mass / np.prod(self.sides)))

    @property
    def sides(self) -> np.ndarray:
        """Of the periodic box; none without."""
        domain = self.run.case["problem"].get("domain", {})
        waves = np.asarray(domain.get("wave_number", []), dtype=float)
        return (
            np.asarray(domain.get("length", []), dtype=float)
            if not waves.size
            else 2 * np.pi / waves
        )

    @property
    def is_random(self) -> bool:
        """Whether its first particles are known to be independent."""
        particles = self.run.case["particles"]
        return particles.get("sampling") == "random" and "file" not in particles

    def target(self, kind: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and density of a coordinate's stationary law; no nodes if it is not known."""
        if kind == "x":
            law = self.stationary
            return (law["x"][i], law["density"][i]) if law else (np.empty(0), np.empty(0))
        if not self.run.has_bath:
            return np.empty(0), np.empty(0)
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
