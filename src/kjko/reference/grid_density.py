"""A density known on the nodes of a phase-space grid, between the nodes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import distance_transform_edt

from kjko.reference.grid_splitting import Density, PhaseGrid, Profile

ROUNDING = 1e-16  # of the largest f: what is lost at least
RESOLVED = 1e3  # f this many times its rounding error has a logarithm good to three digits
PERIODIC_NODES = 12  # beyond each end of a periodic interval, for the spline
ORDER = 5  # of the spline

Coordinates = Float[np.ndarray, "n 1"]


class GridDensity(NamedTuple):
    """f at one time: log f and ∂ᵥ log f at particles, and the marginals.

    log f is interpolated by a spline of degree five. The most negative f tells how large the
    rounding and the ringing of f are; where f is not above a thousand times that, `floor`, its
    logarithm means nothing: log(f/f∞) of the nearest node that is above is taken, so that the
    tails are those of f∞ (of a Maxwellian where the field is self-consistent), held to the floor.
    A sample of f has about mass `mass_below` of its particles there. Outside the grid log f is that
    of its edge.
    """

    f: Density
    grid: PhaseGrid
    floor: float
    mass_below: float
    log_spline: Any  # a RectBivariateSpline: scipy has no types
    periodic: bool

    def log_f(self, x: Coordinates, v: Coordinates) -> Float[np.ndarray, " n"]:
        """log f at the particles."""
        return self.log_spline.ev(self._wrap(x), np.asarray(v, dtype=float)[:, 0])

    def score(self, x: Coordinates, v: Coordinates) -> Coordinates:
        """∂ᵥ log f at the particles."""
        return self.log_spline.ev(self._wrap(x), np.asarray(v, dtype=float)[:, 0], dy=1)[:, None]

    def marginal_x(self) -> Profile:
        """∫f dv at the nodes `grid.x`."""
        return self.grid.dv * self.f.sum(axis=1)

    def marginal_v(self) -> Float[np.ndarray, " n_v"]:
        """∫f dx at the nodes `grid.v`."""
        return self.grid.dx * self.f.sum(axis=0)

    def _wrap(self, x: Coordinates) -> Float[np.ndarray, " n"]:
        positions = np.asarray(x, dtype=float)[:, 0]
        if not self.periodic:
            return positions
        return self.grid.x[0] + np.mod(positions - self.grid.x[0], self.grid.length)


def grid_density(f: Density, grid: PhaseGrid, energy: Density, periodic: bool) -> GridDensity:
    """f between its nodes. `energy`: −log f∞ at the nodes, up to a constant."""
    log_f, floor = log_with_tails(f, energy, (grid.dx, grid.dv))
    x = grid.x
    if periodic:
        wide = np.arange(-PERIODIC_NODES, len(x) + PERIODIC_NODES)
        log_f, x = log_f[wide % len(x)], x[0] + grid.dx * wide
    spline = RectBivariateSpline(x, grid.v, log_f, kx=ORDER, ky=ORDER)
    mass_below = grid.cell * float(np.abs(f[f <= floor]).sum())
    return GridDensity(f, grid, floor, mass_below, spline, periodic)


def log_with_tails(
    f: np.ndarray, energy: np.ndarray, spacing: Sequence[float], resolved: float = RESOLVED
) -> tuple[np.ndarray, float]:
    """log f at the nodes of a grid, and the floor below which it is that of f∞ times f/f∞ of the
    nearest node above, or the floor's. `energy`: −log f∞ up to a constant; `resolved`: the floor,
    times the most negative f.
    """
    floor = resolved * max(float(-f.min()), ROUNDING * float(f.max()))
    below = f <= floor
    nearest = distance_transform_edt(below, spacing, return_distances=False, return_indices=True)
    log_ratio = (np.log(np.maximum(f, floor)) + energy)[tuple(np.asarray(nearest))]
    log_f = log_ratio - energy
    log_f[below] = np.minimum(log_f[below], np.log(floor))
    return log_f, floor
