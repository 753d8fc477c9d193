"""Slices and marginals of the density of a run, from its values at any point."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import ndtri

from kjko.core.low_discrepancy import sobol
from kjko.reference.gibbs import GibbsLaw
from kjko.reference.stationary import stationary

if TYPE_CHECKING:
    import xarray

    from kjko.history import History

DRAWS = 256  # of the other coordinates, for an integral over them
SETS = 8  # of them, scrambled independently: their means tell the error
FEWEST = 10  # of them that the integral may rest on
AT_ONCE = 256  # nodes at which it is done together
PARTICLES = 4096  # that tell where the other coordinates are
TINY = np.finfo(float).tiny
WIDER = 1.3  # than those they are drawn, so that tails are not missed


def slice_of(
    history: "History", t: float, coordinates: Mapping[str, ArrayLike]
) -> "xarray.DataArray":
    """See `kjko.history.History.slice`."""
    import xarray

    along, fixed, points = _mesh(history, coordinates)
    shape = tuple(len(values) for values in along.values())
    density = np.exp(_log_density(history, t, points)).reshape(shape)
    return xarray.DataArray(
        density,
        {**along, **fixed, "time": t},
        tuple(along),
        "density",
        {"long_name": "f(t, x, v), of mass one"},
    )


def stationary_slice(
    history: "History", coordinates: Mapping[str, ArrayLike]
) -> "xarray.DataArray | None":
    """f∞ likewise; None where it is not known."""
    import xarray

    problem, like = history.problem, history.first.particles
    along, fixed, points = _mesh(history, coordinates)
    x, v = np.split(points, [like.x.shape[1]], axis=1)
    with jax.enable_x64(True):
        at_rest = stationary(problem, x.shape[1], v.shape[1])
    potential, temperature = problem.flow.given_potential, problem.temperature
    if at_rest is None or potential is None or temperature is None:
        return None
    log_f = GibbsLaw(at_rest, potential, float(temperature)).log_f(0.0, x, v)
    shape = tuple(len(values) for values in along.values())
    return xarray.DataArray(np.exp(log_f).reshape(shape), {**along, **fixed}, tuple(along))


def marginal_of(
    history: "History", t: float, coordinates: Mapping[str, ArrayLike]
) -> "xarray.Dataset":
    """See `kjko.history.History.marginal`."""
    import xarray

    along, fixed, names = _sorted_out(history, coordinates)
    if fixed:
        raise ValueError(f"{next(iter(fixed))}: expected an array to have the marginal on")
    if len(along) == len(names):
        raise ValueError("expected a coordinate to be left to integrate over; a slice is f itself")
    given = [names.index(name) for name in along]
    draws = _Draws.of(history, t, given)
    nodes = np.stack([a.ravel() for a in np.meshgrid(*along.values(), indexing="ij")], axis=1)
    found = [
        _integral(history, t, draws, nodes[start : start + AT_ONCE])
        for start in range(0, len(nodes), AT_ONCE)
    ]
    shape = tuple(len(values) for values in along.values())
    density, error = (np.concatenate(parts).reshape(shape) for parts in zip(*found, strict=True))
    dims = tuple(along)
    variables = {"density": (dims, density), "error": (dims, error)}
    return xarray.Dataset(variables, {**along, "time": t})


class _Draws(NamedTuple):
    """Where the coordinates that are integrated over are drawn, given those that are not.

    Of the `given` ones z: mean + slope (z − mean_given) + normal · root, and uniforms · length.
    """

    given: list[int]
    others: list[int]  # normal
    uniform: list[int]
    mean: Float[np.ndarray, " m"]
    slope: Float[np.ndarray, "m k"]
    mean_given: Float[np.ndarray, " k"]
    root: Float[np.ndarray, "m m"]
    length: Float[np.ndarray, " l"]
    normal: Float[np.ndarray, "draws m"]
    uniforms: Float[np.ndarray, "draws l"]

    @classmethod
    def of(cls, history: "History", t: float, given: list[int]) -> "_Draws":
        new = history.resample(PARTICLES, t)
        z = np.concatenate([new.x, new.v], axis=1).astype(float)
        box, d_x = history.problem.box, new.x.shape[1]
        in_box = [] if box is None else list(range(d_x))
        rest = [i for i in range(z.shape[1]) if i not in given]
        others, uniform = ([i for i in rest if (i in in_box) == inside] for inside in (False, True))
        known = [i for i in given if i not in in_box]
        mean, covariance = z.mean(axis=0), np.cov(z, rowvar=False).reshape(2 * (z.shape[1],))
        slope = np.zeros((len(others), len(given)))
        within = covariance[np.ix_(others, others)]
        if known and others:
            to_known = covariance[np.ix_(others, known)]
            of_known = np.linalg.solve(covariance[np.ix_(known, known)], to_known.T).T
            slope[:, [given.index(i) for i in known]] = of_known
            within = within - of_known @ to_known.T
        seeds = (np.random.default_rng(k) for k in range(SETS))
        draw = np.concatenate([sobol(DRAWS // SETS, len(rest), rng) for rng in seeds])
        normal = ndtri(np.clip(draw[:, : len(others)], 2.0**-40, 1 - 2.0**-40))
        length = np.empty(0) if box is None else np.asarray(box.length, dtype=float)[uniform]
        return cls(
            given=given,
            others=others,
            uniform=uniform,
            mean=mean[others],
            slope=slope,
            mean_given=mean[given],
            root=WIDER * np.linalg.cholesky(within) if others else within,
            length=length,
            normal=normal,
            uniforms=draw[:, len(others) :],
        )

    @property
    def log_density(self) -> Float[np.ndarray, " draws"]:
        """log q of each draw."""
        of_normal = -0.5 * np.sum(self.normal**2 + math.log(2 * math.pi), axis=1)
        return of_normal - np.log(np.diagonal(self.root)).sum() - np.log(self.length).sum()


def _integral(
    history: "History", t: float, draws: _Draws, nodes: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The mean of f/q at some nodes, and its standard error; nan where too few draws carry it."""
    middle = draws.mean + (nodes - draws.mean_given) @ draws.slope.T
    dimension = nodes.shape[1] + len(draws.others) + len(draws.uniform)
    points = np.empty((len(nodes), DRAWS, dimension))
    points[..., draws.given] = nodes[:, None]
    points[..., draws.others] = middle[:, None] + draws.normal @ draws.root.T
    points[..., draws.uniform] = draws.uniforms * draws.length
    log_f = _log_density(history, t, points.reshape(-1, dimension)).reshape(len(nodes), DRAWS)
    ratio = np.exp(np.nan_to_num(log_f, nan=-np.inf) - draws.log_density)
    means = ratio.reshape(len(nodes), SETS, -1).mean(axis=2)
    resting_on = ratio.sum(axis=1) ** 2 / np.maximum(np.sum(ratio**2, axis=1), TINY)
    lost = (resting_on < FEWEST) & (ratio.max(axis=1) > 0)
    error = means.std(axis=1, ddof=1) / math.sqrt(SETS)
    return np.where(lost, np.nan, means.mean(axis=1)), np.where(lost, np.nan, error)


def _mesh(
    history: "History", coordinates: Mapping[str, ArrayLike]
) -> tuple[dict[str, np.ndarray], dict[str, float], Float[np.ndarray, "n dimension"]]:
    """The coordinates given as arrays, those held fixed, and the points of their mesh."""
    along, fixed, names = _sorted_out(history, coordinates)
    fixed = {name: fixed.get(name, 0.0) for name in names if name not in along}
    mesh = np.meshgrid(*along.values(), indexing="ij")
    points = np.zeros((mesh[0].size, len(names)))
    for name, values in (*zip(along, mesh, strict=True), *fixed.items()):
        points[:, names.index(name)] = np.ravel(values)
    return along, fixed, points


def _sorted_out(
    history: "History", coordinates: Mapping[str, ArrayLike]
) -> tuple[dict[str, np.ndarray], dict[str, float], list[str]]:
    """What is given as an array, what as a number, and the names of all coordinates."""
    particles = history.first.particles
    names = [
        f"{kind}{i + 1}" for kind in ("x", "v") for i in range(getattr(particles, kind).shape[1])
    ]
    for name in coordinates:
        if name not in names:
            raise ValueError(f"{name}: expected one of the coordinates {', '.join(names)}")
    arrays = {name: np.asarray(values, dtype=float) for name, values in coordinates.items()}
    along = {name: values for name, values in arrays.items() if values.ndim == 1}
    fixed = {name: float(values) for name, values in arrays.items() if values.ndim == 0}
    for name, values in arrays.items():
        if values.ndim > 1 or values.size == 0:
            raise ValueError(
                f"{name}: expected a number or an array of one axis, not empty, got the shape"
                f" {values.shape}"
            )
    if not along:
        got = ", ".join(fixed) or "none"
        raise ValueError(
            f"expected at least one coordinate as an array, as x1=[0, 1]; got as numbers: {got}"
        )
    return along, fixed, names


def _log_density(
    history: "History", t: float, points: Float[np.ndarray, "n dimension"]
) -> Float[np.ndarray, " n"]:
    d_x = history.first.particles.x.shape[1]
    return history.log_density(t, points[:, :d_x], points[:, d_x:])
