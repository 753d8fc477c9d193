"""Strang splitting on a phase-space grid: the kinetic Fokker-Planck equation in one dimension.

    ∂ₜf + v ∂ₓf + a ∂ᵥf = ε ∂ᵥ((v−ū) f + T ∂ᵥf),    a given, or with E of −φ'' = ρ − mean(ρ)

A step is drift(Δt/2), kick(Δt/2), collide(Δt), kick(Δt/2), drift(Δt/2). Kick and collision leave
the density in x as it is, so one field serves both kicks. All is numpy in float64.

f is never clipped: the shifts keep the sum of f to rounding, and where a shifted f rings it may be
negative by that much.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.special import xlogy

FEWEST_CELLS = 8


class Unresolved(ValueError):
    """The grid's cells are too wide for the law or for the stationary one."""


Density = Float[np.ndarray, "n_x n_v"]
Profile = Float[np.ndarray, " n_x"]
Series = Float[np.ndarray, " steps"]
Phases = Complex[np.ndarray, "rows columns"]


class PhaseGrid(NamedTuple):
    """Cells of a periodic interval in x and of [−V, V] in v.

    `x`: left ends of n_x equal cells. `v`: centres of n_v equal cells, symmetric about 0.
    """

    x: Profile
    v: Float[np.ndarray, " n_v"]

    @property
    def dx(self) -> float:
        return float(self.x[1] - self.x[0])

    @property
    def dv(self) -> float:
        return float(self.v[1] - self.v[0])

    @property
    def length(self) -> float:
        """Of the periodic interval in x."""
        return self.dx * len(self.x)

    @property
    def cell(self) -> float:
        """dx dv: the area of a cell."""
        return self.dx * self.dv


def phase_grid(
    start: float, length: float, velocity_end: float, cells: tuple[int, int]
) -> PhaseGrid:
    """`cells` = (n_x, n_v) on [start, start + length) × [−velocity_end, velocity_end].

    Raises ValueError for fewer than eight cells in a direction or velocity_end ≤ 0.
    """
    n_x, n_v = cells
    if min(cells) < FEWEST_CELLS:
        raise ValueError(f"cells: need at least {FEWEST_CELLS} in x and in v, got {cells}")
    if not velocity_end > 0:
        raise ValueError(f"velocity_end: must be > 0, got {velocity_end}")
    dv = 2 * velocity_end / n_v
    x = start + length / n_x * np.arange(n_x)
    return PhaseGrid(x, dv * (np.arange(n_v) - 0.5 * (n_v - 1)))


def wave_numbers(number: int, spacing: float) -> Float[np.ndarray, " m"]:
    """Those of `np.fft.rfft` of `number` points."""
    return 2 * np.pi * np.fft.rfftfreq(number, spacing)


def drift(f: Density, phases: Phases) -> Density:
    """f(x − v Δt, v), exact for the trigonometric interpolant; phases = exp(−i k v Δt)."""
    return np.fft.irfft(np.fft.rfft(f, axis=0) * phases, n=f.shape[0], axis=0)


def kick(f: Density, phases: Phases) -> Density:
    """f(x, v − a Δt), exact for the trigonometric interpolant; phases = exp(−i k a Δt)."""
    return np.fft.irfft(np.fft.rfft(f, axis=1) * phases, n=f.shape[1], axis=1)


def electric_field(density: Profile, length: float) -> Profile:
    """E = −φ' of −φ'' = ρ − mean(ρ) on a periodic interval, by FFT; the mean of E is zero."""
    k = wave_numbers(len(density), length / len(density))
    modes = np.fft.rfft(density)
    modes[0] = 0.0
    modes[1:] /= 1j * k[1:]
    return np.fft.irfft(modes, n=len(density))


class GridFlow(NamedTuple):
    """What accelerates, at the nodes in x: `given` a, of which −φ' is a part, what is `driven`
    (t -> a), and the field of the density itself if it is `own`.
    """

    grid: PhaseGrid
    potential: Profile
    given: Profile
    driven: Callable[[float], Profile] | None = None
    own: bool = False

    def acceleration(self, density: Profile, time: float) -> Profile:
        total = self.given
        if self.driven is not None:
            total = total + self.driven(time)
        return total + electric_field(density, self.grid.length) if self.own else total

    def energies(self, density: Profile) -> tuple[float, float]:
        """∫φ ρ dx and ½ ∫E² dx."""
        external = self.grid.dx * float(self.potential @ density)
        if not self.own:
            return external, 0.0
        field = electric_field(density, self.grid.length)
        return external, 0.5 * self.grid.dx * float(np.sum(field**2))


class Equation(NamedTuple):
    """The discrete equation. `collisions`: what gives the collision step of a length Δt, None if
    there are none. `temperature`: T₀ of the free energy, nan if there is none. `log_stationary`:
    log f∞ at the nodes, which f is compared with.
    """

    grid: PhaseGrid
    flow: GridFlow
    collisions: Callable[[float], Callable[[Density], Density]] | None
    temperature: float
    log_stationary: Density


class History(NamedTuple):
    """Averages after every step, from t = 0 on; integrals of f, which has the problem's mass.

    `energy_potential` is ∫φ f plus `energy_field`, ½ ∫E² of a self-consistent field. `entropy` is
    ∫ f log f (f ≤ 0 counts as zero), `free_energy` the kinetic and the potential energy plus T₀
    times it, (35) and Proposition 2, and `kl_stationary` ∫ f log(f/f∞), where f∞ leaves a
    self-consistent field out: without a given φ it is a Maxwellian of uniform density.
    """

    time: Series
    mass: Series
    momentum: Series
    energy_kinetic: Series
    energy_potential: Series
    energy_field: Series
    entropy: Series
    free_energy: Series
    kl_stationary: Series

    def at(self, times: Series | float) -> "History":
        """The averages after the steps that end nearest to these times."""
        steps = np.argmin(np.abs(self.time - np.asarray(times)[..., None]), axis=-1)
        return History(*(series[steps] for series in self))


def averages(f: Density, time: float, equation: Equation) -> tuple[float, ...]:
    """A row of the history."""
    grid, temperature = equation.grid, equation.temperature
    in_v = grid.cell * f.sum(axis=0)
    kinetic = 0.5 * grid.v**2 @ in_v
    external, field = equation.flow.energies(grid.dv * f.sum(axis=1))
    potential = external + field
    positive = np.maximum(f, 0.0)
    entropy = grid.cell * xlogy(positive, positive).sum()
    free_energy = kinetic + potential + temperature * entropy
    kl = entropy - grid.cell * np.vdot(f, equation.log_stationary)
    mass, momentum = in_v.sum(), grid.v @ in_v
    return time, mass, momentum, kinetic, potential, field, entropy, free_energy, kl


class Step:
    """One step of size Δt, with what depends on Δt alone computed once."""

    def __init__(self, equation: Equation, dt: float):
        grid = equation.grid
        k = wave_numbers(len(grid.x), grid.dx)
        self.dv: float = grid.dv
        self.dt: float = dt
        self.flow: GridFlow = equation.flow
        self.drift_phases: np.ndarray = np.exp(-0.5j * dt * np.outer(k, grid.v))
        self.rates: np.ndarray = -0.5j * dt * wave_numbers(len(grid.v), grid.dv)
        self.collide: Callable[[Density], Density] | None = (
            None if equation.collisions is None else equation.collisions(dt)
        )

    def __call__(self, f: Density, time: float) -> Density:
        f = drift(f, self.drift_phases)  # x at t + dt/2
        density = self.dv * f.sum(axis=1)
        acceleration = self.flow.acceleration(density, time + 0.5 * self.dt)
        kick_phases = np.exp(np.outer(acceleration, self.rates))
        f = kick(f, kick_phases)
        if self.collide is not None:
            f = self.collide(f)
        f = kick(f, kick_phases)  # v at t + dt
        return drift(f, self.drift_phases)  # x at t + dt


def evolve(
    f: Density, times: Float[np.ndarray, " m"], equation: Equation, time_step: float
) -> tuple[Float[np.ndarray, "m n_x n_v"], History]:
    """f, given at t = 0, at the asked times, and its averages after every step.

    Between two times are equal steps, the fewest that are no longer than `time_step`.
    """
    now, step = 0.0, None
    kept, record = [], [averages(f, 0.0, equation)]
    for end in times:
        number = math.ceil((end - now) / time_step - 1e-9)
        for i in range(number):
            dt = (end - now) / number
            if step is None or abs(step.dt - dt) > 1e-12 * dt:
                step = Step(equation, dt)
            f = step(f, now + i * dt)
            record.append(averages(f, now + (i + 1) * dt, equation))
        now = float(end)
        kept.append(f)
    return np.stack(kept), History(*np.transpose(record))
