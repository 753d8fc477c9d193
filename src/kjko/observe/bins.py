"""Histograms of single coordinates, and the stationary mass in their bins."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from kjko.core import Particles, sums
from kjko.problem import Problem
from kjko.reference.stationary import Stationary

NUMBER = 160  # of the marginals, as in Figure 7


class Bins(NamedTuple):
    """Bins of every coordinate and the stationary mass in each, None where it is not known; the end
    bins reach to infinity.
    """

    x_edges: Float[np.ndarray, "d_x edges"]
    v_edges: Float[np.ndarray, "d edges"]
    x_mass: Float[np.ndarray, "d_x bins"] | None
    v_mass: Float[np.ndarray, "d bins"] | None


def bins_of(problem: Problem, particles: Particles, law: Stationary | None) -> Bins:
    """Bins that span the particles, the box and the stationary law."""
    x, v = np.asarray(particles.x, dtype=float), np.asarray(particles.v, dtype=float)
    v_edges, v_mass = _of_velocities(problem, v)
    low, high = x.min(axis=0), x.max(axis=0)
    if problem.box is not None:
        low, high = np.zeros_like(low), np.asarray(problem.box.length, dtype=float)
    if law is None:
        return Bins(np.linspace(low, high, NUMBER + 1, axis=1), v_edges, None, v_mass)
    if problem.box is None:
        bulk = law.quantiles(np.array([1e-5, 1 - 1e-5]))
        low, high = np.minimum(low, bulk[:, 0]), np.maximum(high, bulk[:, 1])
    x_edges = np.linspace(low, high, NUMBER + 1, axis=1)
    at_edges = law.distribution(x_edges[:, 1:-1])
    return Bins(x_edges, v_edges, np.diff(at_edges, prepend=0.0, append=1.0), v_mass)


def _of_velocities(problem: Problem, v: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Edges in v, and the mass of the bath's Maxwellian, or of none."""
    known = problem.temperature is not None
    width = np.sqrt(np.asarray(problem.temperature if known else np.mean(np.var(v, axis=0)), float))
    v_end = np.maximum(4.5 * width, np.abs(v).max(axis=0))
    edges = np.linspace(-v_end, v_end, NUMBER + 1, axis=1)
    if not known:
        return edges, None
    return edges, np.diff(ndtr(edges[:, 1:-1] / width), prepend=0.0, append=1.0)


@jax.jit
def histogram(
    values: Float[Array, "n d"], edges: Float[np.ndarray, "d edges"]
) -> Float[Array, "d bins"]:
    """Fraction of the particles in each bin of each coordinate."""
    bins = edges.shape[1] - 1
    low, high = (jnp.asarray(e, dtype=values.dtype)[None] for e in (edges[:, 0], edges[:, -1]))
    index = jnp.clip(jnp.floor((values - low) / (high - low) * bins), 0, bins - 1)

    def count(index):
        return jax.vmap(lambda i: jnp.bincount(i, length=bins), in_axes=1)(index)

    counts = sums.of_blocks(count, index.astype(jnp.int32))
    return counts / values.shape[0]
