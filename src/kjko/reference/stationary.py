"""The stationary law f∞ = exp(−(½|v|² + φ(x))/T₀)/Z, equation (37)."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.flow.potentials import AbstractSeparable, Quadratic
from kjko.problem import Problem

FAR = 40.0  # φ/T₀ above its minimum where exp(−φ/T₀) is as good as zero
LIMIT = 1e5  # of |x|: a potential that does not confine within it has no stationary law
RESOLVED = 1e-4  # the change of log Z, with half of the nodes, that is too much
POINTS = {1: 4001, 2: 801, 3: 161}  # of the tensor grid, a side
POINTS_SEARCH = {1: 4001, 2: 129, 3: 33}  # of the grids on which its ends are sought

Ends = tuple[np.ndarray, np.ndarray]  # the lower and the upper ends, one for each coordinate


class Stationary(NamedTuple):
    """The normaliser of f∞, its marginals and its first two moments in x.

    `log_normaliser`: log Z. `nodes`: d × m points in each coordinate. `marginals`: the density of
    xᵢ there. `mean` and `covariance`: of x. Each vᵢ is normal with mean 0 and variance T₀.
    """

    log_normaliser: float
    nodes: Float[np.ndarray, "d m"]
    marginals: Float[np.ndarray, "d m"]
    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]

    def distribution(self, x: Float[np.ndarray, "d k"]) -> Float[np.ndarray, "d k"]:
        """The share of the law below these values of each coordinate."""
        rows = zip(x, self.nodes, self._below_nodes, strict=True)
        return np.stack([np.interp(*row) for row in rows])

    def quantiles(self, shares: Float[np.ndarray, " k"]) -> Float[np.ndarray, "d k"]:
        """The values of each coordinate with these shares of the law below them."""
        rows = zip(self._below_nodes, self.nodes, strict=True)
        return np.stack([np.interp(shares, *row) for row in rows])

    @property
    def _below_nodes(self) -> Float[np.ndarray, "d m"]:
        means = 0.5 * (self.marginals[:, 1:] + self.marginals[:, :-1])
        below = np.cumsum(means * np.diff(self.nodes, axis=1), axis=1)
        return np.pad(below, ((0, 0), (1, 0)))


def stationary(
    problem: Problem, dimension: int, velocity_dimension: int | None = None
) -> Stationary | None:
    """The stationary law in a given potential, in a magnetic field or not; d = d_x if not given.

    In closed form for a quadratic; otherwise by the trapezoidal rule, which converges spectrally
    for smooth φ that confines or is periodic: coordinate by coordinate in any dimension if φ is
    separable, else on a tensor grid for d ≤ 3. None if there is no stationary law, or if the grid
    does not resolve it.
    """
    potential, temperature = problem.flow.given_potential, problem.temperature
    if potential is None or temperature is None:
        return None
    temperature = float(temperature)
    if isinstance(potential, Quadratic) and problem.box is None:
        in_x = _normal(potential, temperature)
    elif isinstance(potential, AbstractSeparable):
        in_x = _by_coordinate(potential, problem, dimension)
    elif dimension in POINTS:
        in_x = _on_grid(potential, problem, dimension)
    else:
        in_x = None
    if in_x is None:
        return None
    log_v = 0.5 * (velocity_dimension or dimension) * math.log(2 * math.pi * temperature)
    return in_x._replace(log_normaliser=in_x.log_normaliser + log_v)


def _normal(potential: Quadratic, temperature: float) -> Stationary | None:
    """The normal law of mean c and covariance T₀ K⁻¹, without its factor in v."""
    stiffness = np.asarray(potential.stiffness, dtype=float)
    if np.linalg.eigvalsh(stiffness).min() <= 0:
        return None
    covariance = temperature * np.linalg.inv(stiffness)
    center, width = np.asarray(potential.center, dtype=float), np.sqrt(np.diag(covariance))
    z = np.linspace(-9, 9, POINTS[1])
    marginals = np.exp(-0.5 * z**2) / (math.sqrt(2 * math.pi) * width[:, None])
    log_x = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    nodes = center[:, None] + width[:, None] * z
    return Stationary(float(log_x), nodes, marginals, center, covariance)


def _by_coordinate(
    potential: AbstractSeparable, problem: Problem, dimension: int
) -> Stationary | None:
    """The product of one-dimensional laws, without the factor in v."""

    def energies(x):  # (m, d) -> (m, d)
        return np.asarray(_terms(potential, x), dtype=float) / float(
            jnp.asarray(problem.temperature)
        )

    ends = _ends(problem, energies, dimension, POINTS[1])
    if ends is None:
        return None
    nodes = np.linspace(*ends, POINTS[1], axis=1)
    energy = energies(nodes.T).T
    least = energy.min(axis=1, keepdims=True)
    weight = np.exp(least - energy)
    total = np.trapezoid(weight, nodes, axis=1)
    coarse = np.trapezoid(weight[:, ::2], nodes[:, ::2], axis=1)
    if np.any(np.abs(coarse - total) > RESOLVED / dimension * total):
        return None
    log_x = np.sum(np.log(total) - least[:, 0])
    marginals = weight / total[:, None]
    mean = _means(marginals, nodes)
    deviations = [node - m for node, m in zip(nodes, mean, strict=True)]
    variance = [np.trapezoid(p * y**2, y) for p, y in zip(marginals, deviations, strict=True)]
    return Stationary(float(log_x), nodes, marginals, mean, np.diag(variance))


def _on_grid(potential: Any, problem: Problem, dimension: int) -> Stationary | None:
    """The law on a tensor grid, without the factor in v."""

    def energies(x):  # (m, d), the nodes of each coordinate -> (m, …, m), at all nodes
        mesh = np.stack(np.meshgrid(*x.T, indexing="ij"), axis=-1)
        values = _values(potential, mesh.reshape(-1, dimension))
        return np.asarray(values, dtype=float).reshape(mesh.shape[:-1]) / float(
            jnp.asarray(problem.temperature)
        )

    ends = _ends(problem, lambda x: _least(energies(x)), dimension, POINTS_SEARCH[dimension])
    if ends is None:
        return None
    nodes = np.linspace(*ends, POINTS[dimension], axis=1)
    energy = energies(nodes.T)
    least = energy.min()
    if problem.box is None and _least(energy)[[0, -1]].min() < least + 0.5 * FAR:
        return None  # cut off: the search has missed a part of it
    weight = np.exp(least - energy)
    total = _integral(weight, nodes)
    coarse = _integral(weight[(slice(None, None, 2),) * dimension], nodes[:, ::2])
    if abs(coarse - total) > RESOLVED * total:
        return None
    density = weight / total
    marginals = np.stack([_integral(density, nodes, keep=i) for i in range(dimension)])
    mean = _means(marginals, nodes)
    deviations = np.meshgrid(*(nodes - mean[:, None]), indexing="ij", sparse=True)
    products = [[_integral(density * a * b, nodes) for a in deviations] for b in deviations]
    log_x = float(np.log(total) - least)
    return Stationary(log_x, nodes, marginals, mean, np.asarray(products))


@eqx.filter_jit
def _terms(potential: AbstractSeparable, x: Float[np.ndarray, "m d"]) -> Float[Array, "m d"]:
    return jax.vmap(potential.terms)(jnp.asarray(x))


@eqx.filter_jit
def _values(potential: Any, x: Float[np.ndarray, "m d"]) -> Float[Array, " m"]:
    return jax.vmap(potential)(jnp.asarray(x))


def _means(
    marginals: Float[np.ndarray, "d m"], nodes: Float[np.ndarray, "d m"]
) -> Float[np.ndarray, " d"]:
    return np.asarray([np.trapezoid(p * x, x) for p, x in zip(marginals, nodes, strict=True)])


def _least(energy: np.ndarray) -> Float[np.ndarray, "m d"]:
    """For every coordinate, the least energy over the planes across its nodes."""
    axes = range(energy.ndim)
    return np.stack([energy.min(axis=tuple(j for j in axes if j != i)) for i in axes], axis=1)


def _integral(weight: np.ndarray, nodes: Float[np.ndarray, "d m"], keep: int | None = None) -> Any:
    """The integral over all coordinates but one."""
    for i in reversed(range(len(nodes))):
        if i != keep:
            weight = np.trapezoid(weight, nodes[i], axis=i)
    return weight


def _ends(problem: Problem, energies: Callable, dimension: int, points: int) -> Ends | None:
    """The ends of the grid in every coordinate: the box, or where exp(−φ/T₀) has vanished.

    `energies`: the nodes of each coordinate (m × d) -> the least φ/T₀ at each of them (m × d).
    None if the potential does not confine.
    """
    if problem.box is not None:
        length = np.broadcast_to(np.asarray(problem.box.length, dtype=float), (dimension,))
        return np.zeros_like(length), length
    radius = np.full(dimension, 8.0)
    while True:  # until the outer half of every coordinate is empty
        bulk = _bulk(energies, (-radius, radius), points)
        wide = np.maximum(-bulk[0], bulk[1]) > 0.5 * radius
        if not wide.any():
            break
        radius = np.where(wide, 2 * radius, radius)
        if radius.max() > LIMIT:
            return None
    width = 2 * radius
    while np.any(bulk[1] - bulk[0] < 0.9 * width):  # shrinks to what the law fills
        width = bulk[1] - bulk[0]
        bulk = _bulk(energies, bulk, points)
    return bulk


def _bulk(energies: Callable, ends: Ends, points: int) -> Ends:
    """The part of a range where exp(−φ/T₀) has not vanished, with a node more on either side."""
    x = np.linspace(*ends, points)
    energy = energies(x)
    filled = energy <= energy.min(axis=0) + FAR
    first = np.maximum(filled.argmax(axis=0) - 1, 0)
    last = np.minimum(points - filled[::-1].argmax(axis=0), points - 1)
    columns = np.arange(x.shape[1])
    return x[first, columns], x[last, columns]
