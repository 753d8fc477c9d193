"""The equation on a grid in phase space: two x and two v, float64. Where it can be afforded."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import fft
from scipy.interpolate import make_interp_spline
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import xlogy

from kjko.collisions import FokkerPlanck, NoCollisions
from kjko.core.low_discrepancy import sobol
from kjko.core.precision import in_double
from kjko.interfaces import Potential
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.grid_collision import relaxation
from kjko.reference.grid_density import log_with_tails
from kjko.reference.grid_splitting import Unresolved, wave_numbers

CELLS = (56, 60)  # a side, in x and in v
FAR = 12.0  # f is cut where log f is this far below its maximum
DRAWS = 2**15  # of the law, for how far it reaches
AT_THE_EDGE = 1e-4  # of the largest f: more of it there is leaving the grid
MASS_ERROR = 1e-3  # of the law on the grid
RESOLVED = 30.0  # f this many times the most negative one has a logarithm good to some per cent
ORDER = 3  # of the splines between nodes

Density = Float[np.ndarray, "n_1 n_2 m_1 m_2"]


class PlaneGrid(NamedTuple):
    """Nodes of x₁, x₂, v₁, v₂: equal cells, those of v symmetric about zero."""

    nodes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(float(node[1] - node[0]) for node in self.nodes)

    @property
    def cell(self) -> float:
        """The volume of a cell."""
        return math.prod(self.spacing)

    def along(self, values: np.ndarray, *axes: int) -> np.ndarray:
        """An array over some of the axes, to go with one over all four."""
        return np.expand_dims(values, tuple(i for i in range(4) if i not in axes))


class PlaneLaw(KnownLaw):
    """f at the asked `times` on a `grid`, by Strang splitting as in one dimension.

    Between the nodes log f and its score are splines of degree three; the score at the nodes is
    that of the trigonometric interpolant. Where f is rounding or ringing, as `GridDensity`.
    """

    def __init__(
        self,
        grid: PlaneGrid,
        energy: Density,
        temperature: float,
        kept: dict[float, Density],
        mass: float,
    ):
        self.grid: PlaneGrid = grid
        self.temperature: float = temperature
        self.mass: float = mass
        self._energy, self._kept = energy / temperature, kept
        self._splines: dict[float, list[np.ndarray]] = {}
        self._log_z = float(np.logaddexp.reduce(-self._energy, axis=None)) + math.log(grid.cell)

    def knows(self, time: float) -> bool:
        return any(abs(time - known) < 1e-6 for known in self._kept)

    def kl(self, time: float) -> float:
        f = np.maximum(self._at(time), 0.0)
        of_energy = self.grid.cell * float(np.vdot(f, self._energy))
        return self.grid.cell * float(xlogy(f, f).sum()) + of_energy + self._log_z

    def free_energy(self, time: float) -> float:
        of_one = self.kl(time) - self._log_z
        return self.mass * self.temperature * (of_one + math.log(self.mass))

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        return self._between(self._spline(time)[0], x, v)

    def score(self, time: float, x: Points, v: Points) -> Points:
        return np.stack([self._between(each, x, v) for each in self._spline(time)[1:]], axis=1)

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        rest = tuple(i for i in range(4) if i != coordinate)
        marginal, nodes = self._at(time).sum(axis=rest), self.grid.nodes[coordinate]
        below = make_interp_spline(nodes, marginal).antiderivative()
        return below(np.clip(values, nodes[0], nodes[-1])) / below(nodes[-1])

    def _at(self, time: float) -> Density:
        return self._kept[min(self._kept, key=lambda known: abs(known - time))]

    def _spline(self, time: float) -> list[np.ndarray]:
        """Coefficients of log f and of the components of its score."""
        if time not in self._splines:
            f = self._at(time)
            log_f, floor = log_with_tails(f, self._energy, self.grid.spacing, RESOLVED)
            fields = [log_f]
            for axis in (2, 3):
                along = self.grid.along(self.grid.nodes[axis], axis)
                tail = np.broadcast_to(-along / self.temperature, f.shape)
                fields.append(
                    np.where(f > floor, self._slope(f, axis) / np.maximum(f, floor), tail)
                )
            self._splines[time] = [spline_filter(each, ORDER) for each in fields]
        return self._splines[time]

    def _slope(self, f: Density, axis: int) -> Density:
        k = 1j * wave_numbers(f.shape[axis], self.grid.spacing[axis])
        modes = fft.rfft(f, axis=axis, workers=-1) * self.grid.along(k, axis)
        return np.asarray(fft.irfft(modes, n=f.shape[axis], axis=axis, workers=-1))

    def _between(self, spline: np.ndarray, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        z = np.concatenate([x, v], axis=1).astype(float)
        start = np.array([node[0] for node in self.grid.nodes])
        at = ((z - start) / self.grid.spacing).T
        return map_coordinates(spline, at, order=ORDER, mode="nearest", prefilter=False)


def plane_law(
    problem: Problem,
    times: Sequence[float],
    *,
    cells: tuple[int, int] = CELLS,
    time_step: float = 0.025,
) -> PlaneLaw:
    """The law of a problem with two positions and two velocities in a given potential.

    `cells`: a side, in x and in v. A step takes a few seconds for each ten millions of them; errors
    are of second order in `time_step` and else spectrally small, down to where f is cut, at six
    millionths of its largest value.

    Raises ValueError for another flow, dimension or collision operator, for a box, for a potential
    that does not confine, and for a grid that does not resolve the law or does not hold it.
    """
    law, potential, collisions = problem.law, problem.flow.given_potential, problem.collisions
    if law is None or law.dimensions != (2, 2) or problem.box is not None or potential is None:
        raise ValueError("problem: expected one in a given potential of two coordinates, no box")
    if not isinstance(collisions, FokkerPlanck | NoCollisions):
        raise ValueError("collisions: must be FokkerPlanck or NoCollisions")
    temperature = float(collisions.temperature)
    rate = float(collisions.rate) if isinstance(collisions, FokkerPlanck) else 0.0
    grid = _grid(problem, potential, temperature if rate > 0 else 0.0, cells)
    phi, slope = _potential_at(potential, grid)
    kinetic = [0.5 * grid.along(grid.nodes[axis], axis) ** 2 for axis in (2, 3)]
    energy = grid.along(phi, 0, 1) + kinetic[0] + kinetic[1]
    f = _law_at(law, grid)
    kept, now, step = {}, 0.0, None
    for end in sorted(times):
        number = math.ceil((end - now) / time_step - 1e-9)
        for _ in range(number):
            dt = (end - now) / number
            if step is None or abs(step.dt - dt) > 1e-12:
                step = _Step(grid, slope, temperature, rate, dt)
            f = step(f)
        now, kept[float(end)] = float(end), f
    _check_edges(f)
    return PlaneLaw(grid, energy, temperature, kept, float(problem.mass))


class _Step:
    """drift(Δt/2), kick(Δt/2), collide(Δt), kick(Δt/2), drift(Δt/2)."""

    def __init__(
        self,
        grid: PlaneGrid,
        slope: Float[np.ndarray, "n_1 n_2 2"],
        temperature: float,
        rate: float,
        dt: float,
    ):
        self.dt, half = dt, -0.5j * dt
        waves = [wave_numbers(len(a), h) for a, h in zip(grid.nodes, grid.spacing, strict=True)]
        self.shifts: list[tuple[int, np.ndarray]] = []
        for i in range(2):
            phases = np.exp(half * np.multiply.outer(waves[i], grid.nodes[2 + i]))
            self.shifts.append((i, grid.along(phases, i, 2 + i)))
        for i in range(2):
            phases = np.exp(-half * np.multiply.outer(slope[..., i], waves[2 + i]))
            self.shifts.append((2 + i, grid.along(phases, 0, 1, 2 + i)))
        self.relax = (
            [] if rate == 0 else [relaxation(v, temperature, rate * dt) for v in grid.nodes[2:]]
        )

    def __call__(self, f: Density) -> Density:
        for axis, phases in self.shifts:
            f = _shifted(f, axis, phases)
        if self.relax:
            first, second = self.relax
            f = first @ f @ second.T
        for axis, phases in reversed(self.shifts):
            f = _shifted(f, axis, phases)
        return f


def _shifted(f: Density, axis: int, phases: np.ndarray) -> Density:
    modes = fft.rfft(f, axis=axis, workers=-1)
    modes *= phases
    moved = fft.irfft(modes, n=f.shape[axis], axis=axis, workers=-1, overwrite_x=True)
    return np.asarray(moved)


def _grid(
    problem: Problem, potential: Potential, temperature: float, cells: tuple[int, int]
) -> PlaneGrid:
    """As far as the energy of the law reaches, or of the law at rest."""
    assert problem.law is not None
    uniforms = sobol(DRAWS, 4, np.random.default_rng(0))
    x, v = problem.law.points(np.clip(uniforms, 1 / DRAWS, 1 - 1 / DRAWS))
    with jax.enable_x64(True):
        value = jax.jit(jax.vmap(in_double(potential)))
        top = float(np.max(0.5 * np.sum(v**2, axis=1) + np.asarray(value(jnp.asarray(x)))))
        center, radius = x.mean(axis=0), float(np.ptp(x, axis=0).max())
        for _ in range(20):
            sides = [np.linspace(c - radius, c + radius, 401) for c in center]
            mesh = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
            phi = np.asarray(value(jnp.asarray(mesh.reshape(-1, 2)))).reshape(401, 401)
            most = max(top, float(phi.min()) + FAR * temperature)
            inside = mesh[phi <= most]
            if np.abs(inside - center).max() < 0.9 * radius:
                break
            radius *= 1.5
        else:
            raise ValueError("potential: it does not confine; a grid solution needs that")
    n_x, n_v = cells
    ends = zip(inside.min(axis=0), inside.max(axis=0), strict=True)
    in_x = [np.linspace(low, high, n_x, endpoint=False) for low, high in ends]
    fastest = math.sqrt(2 * (most - float(phi.min())))
    in_v = 2 * fastest / n_v * (np.arange(n_v) - 0.5 * (n_v - 1))
    return PlaneGrid((in_x[0], in_x[1], in_v, in_v))


def _potential_at(potential: Potential, grid: PlaneGrid) -> tuple[np.ndarray, np.ndarray]:
    """φ and ∇φ at the nodes in x."""
    mesh = np.stack(np.meshgrid(*grid.nodes[:2], indexing="ij"), axis=-1)
    with jax.enable_x64(True):
        both = jax.vmap(jax.vmap(jax.value_and_grad(in_double(potential))))(jnp.asarray(mesh))
        return np.asarray(both[0]), np.asarray(both[1])


def _law_at(law, grid: PlaneGrid) -> Density:
    """f at the nodes, of mass one."""
    with jax.enable_x64(True):
        log_density: Callable = in_double(law).log_density
        in_v = jnp.asarray(np.stack(np.meshgrid(*grid.nodes[2:], indexing="ij"), axis=-1))
        at = jax.jit(jax.vmap(jax.vmap(log_density, (None, 0)), (None, 0)))
        rows = [
            [np.exp(np.asarray(at(jnp.asarray([x1, x2]), in_v))) for x2 in grid.nodes[1]]
            for x1 in grid.nodes[0]
        ]
    f = np.array(rows)
    mass = grid.cell * float(f.sum())
    if abs(mass - 1) > MASS_ERROR:
        raise Unresolved(f"law: its mass on the grid is {mass:.6g}, not 1; take more cells")
    return f / mass


def _check_edges(f: Density) -> None:
    most = AT_THE_EDGE * f.max()
    for axis in range(4):
        if np.abs(np.take(f, [0, -1], axis=axis)).max() > most:
            raise Unresolved("problem: the density has reached the ends of the grid")
