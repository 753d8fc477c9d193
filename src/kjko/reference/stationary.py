"""The stationary law f∞ = exp(−(½|v|² + φ(x))/T₀)/Z, equation (37)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kjko.forces import External
from kjko.potentials import AbstractSeparable
from kjko.problem import Problem

FAR = 40.0  # φ/T₀ above its minimum where exp(−φ/T₀) is as good as zero
POINTS = {1: 4001, 2: 801, 3: 161}  # of the tensor grid, a side


class Stationary(NamedTuple):
    """The normaliser of f∞ and its marginals in x.

    `log_normaliser`: log Z. `nodes`: d × m points in each coordinate. `marginals`: the density of
    xᵢ there. Each vᵢ is normal with mean 0 and variance T₀.
    """

    log_normaliser: float
    nodes: Float[np.ndarray, "d m"]
    marginals: Float[np.ndarray, "d m"]


def stationary(problem: Problem, dimension: int) -> Stationary | None:
    """The stationary law of a problem with an external potential, by the trapezoidal rule.

    The rule converges spectrally for smooth φ that confines or is periodic. A separable potential
    is taken coordinate by coordinate in any dimension, another one on a tensor grid for d ≤ 3.
    None if there is no stationary law or it is not within reach.
    """
    if not isinstance(problem.force, External):
        return None
    potential = problem.force.potential
    if isinstance(potential, AbstractSeparable):

        def terms(x):  # (m, d) -> (m, d)
            return np.asarray(jax.vmap(potential.terms)(jnp.asarray(x)), dtype=float)

        ends = _ends(problem, lambda line: terms(np.repeat(line[:, None], dimension, axis=1)))
        if ends is None:
            return None
        nodes = np.linspace(*ends, POINTS[1], axis=1)
        energy = terms(nodes.T).T / problem.temperature
        log_z, marginals = _normalise(energy, nodes)
        log_x = float(np.sum(log_z))
    elif dimension in POINTS:

        def values(x):  # (m, d) -> (m)
            return np.asarray(jax.vmap(potential)(jnp.asarray(x)), dtype=float)

        ends = _ends(problem, lambda line: _faces(values, line, dimension))
        if ends is None:
            return None
        nodes = np.linspace(*ends, POINTS[dimension], axis=1)
        mesh = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
        energy = values(mesh.reshape(-1, dimension)) / problem.temperature
        least = energy.min()
        weight = np.exp(least - energy).reshape(mesh.shape[:-1])
        others = [tuple(j for j in range(dimension) if j != i) for i in range(dimension)]
        spacing = nodes[:, 1] - nodes[:, 0]
        for i in range(dimension):  # trapezoidal ends
            index = np.moveaxis(weight, i, 0)
            index[[0, -1]] *= 0.5
        total = weight.sum()
        marginals = np.stack([weight.sum(axis=others[i]) for i in range(dimension)])
        marginals[:, [0, -1]] *= 2.0
        marginals /= total * spacing[:, None]
        log_x = float(np.log(total * spacing.prod()) - least)
    else:
        return None
    log_v = 0.5 * dimension * math.log(2 * math.pi * problem.temperature)
    return Stationary(log_x + log_v, nodes, marginals)


def _normalise(energy: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log ∫exp(−energy) and the normalised density of every row."""
    least = energy.min(axis=1, keepdims=True)
    weight = np.exp(least - energy)
    total = np.trapezoid(weight, nodes, axis=1)
    return np.log(total) - least[:, 0], weight / total[:, None]


def _ends(problem: Problem, energy_on_line) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the grid in every coordinate: the box, or where exp(−φ/T₀) has vanished.

    `energy_on_line(line)`: (m, d) energies at the points of a symmetric line, one column for each
    coordinate. None if the potential does not confine within |x| < 10⁴.
    """
    if problem.box is not None:
        length = np.asarray(problem.box.length, dtype=float)
        return np.zeros_like(length), length
    radius = 1.0
    while radius < 1e4:
        line = np.linspace(-radius, radius, 65)
        energy = energy_on_line(line) / problem.temperature
        energy = energy - energy.min(axis=0)
        if np.all(energy[[0, -1]] > FAR):
            return np.full(energy.shape[1], -radius), np.full(energy.shape[1], radius)
        radius *= 1.25
    return None


def _faces(values, line: np.ndarray, dimension: int) -> np.ndarray:
    """For every coordinate, the least energy over the planes across the points of the line."""
    line = line[:: max(1, 2 ** (dimension - 1))]
    mesh = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), axis=-1)
    energy = values(mesh.reshape(-1, dimension)).reshape(mesh.shape[:-1])
    others = [tuple(j for j in range(dimension) if j != i) for i in range(dimension)]
    return np.stack([energy.min(axis=axes) for axes in others], axis=1)
