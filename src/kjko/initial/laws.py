"""Initial laws: f at t = 0, to be sampled and evaluated.

A law is sampled by a map from the unit cube, so that random and low-discrepancy points go the same
way. Sampling is done by numpy in float64; `log_density` is a function of one particle in jax.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.initial.positions import (
    CellJitter,
    CosinePosition,
    GaussianPosition,
    Points,
    Uniforms,
    check_covariance,
    log_normal,
    normal_points,
)
from kjko.initial.waves import Waves

TINY = 2.0**-53  # from the ends of the unit interval, where a normal law is at infinity


class AbstractLaw(eqx.Module):
    """A law of one particle (x, v)."""

    dimensions: eqx.AbstractVar[tuple[int, int]]  # d_x and d; a sample takes a number for each

    @property
    def length(self) -> Float[Array, " d_x"] | None:
        """The sides of the box that it is periodic in, if it asks for certain ones."""
        return None

    @property
    def periodic(self) -> bool:
        """Whether it is periodic in x; it then needs a box."""
        return self.length is not None

    @property
    def modes(self) -> Float[np.ndarray, " d_x"]:
        """How many waves it has along each side of the box, at most."""
        return np.zeros(self.dimensions[0])

    @abc.abstractmethod
    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        """The map from the unit cube to (x, v) under which uniform points have this law."""

    @abc.abstractmethod
    def log_density(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """log f(x, v). It is traced, with the arrays that the law has."""


class Gaussian(AbstractLaw):
    """The normal law of z = (x, v), with any `mean` (2d) and `covariance` (2d × 2d).

    Raises ValueError if the covariance is not positive definite or does not fit the mean.
    """

    mean: Float[Array, " two_d"] = eqx.field(converter=jnp.asarray)
    covariance: Float[Array, "two_d two_d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        check_covariance("covariance", self.covariance)
        if self.covariance.shape != (self.mean.size, self.mean.size) or self.mean.size % 2:
            raise ValueError("mean, covariance: need shapes (2d) and (2d, 2d)")

    @property
    def dimensions(self) -> tuple[int, int]:
        return self.mean.size // 2, self.mean.size // 2

    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        z = normal_points(uniforms, self.mean, self.covariance)
        x, v = np.split(z, 2, axis=1)
        return x, v

    def log_density(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        return log_normal(jnp.concatenate([x, v]) - self.mean, self.covariance)


class GaussianMixture(AbstractLaw):
    """A mixture of K normal laws of z = (x, v).

    `means` (K × 2d), `covariances` (K × 2d × 2d), `weights` (K, sum 1; equal if not given). Raises
    ValueError if the shapes do not fit or a covariance is not positive definite.
    """

    means: Float[Array, "k two_d"]
    covariances: Float[Array, "k two_d two_d"]
    weights: Float[Array, " k"]

    def __init__(self, means: Any, covariances: Any, weights: Any = None):
        self.means, self.covariances = jnp.asarray(means), jnp.asarray(covariances)
        k = len(self.means)
        self.weights = jnp.asarray(np.full(k, 1 / k) if weights is None else weights)
        _check_mixture(self.means, self.covariances, self.weights)
        if self.means.shape[1] % 2:
            raise ValueError("means: expected 2d numbers in each, as many positions as velocities")

    @property
    def dimensions(self) -> tuple[int, int]:
        return self.means.shape[1] // 2, self.means.shape[1] // 2

    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        z = _mixture_points(uniforms, self.means, self.covariances, self.weights)
        x, v = np.split(z, 2, axis=1)
        return x, v

    def log_density(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        z = jnp.concatenate([x, v])
        return _log_mixture(z, self.means, self.covariances, self.weights)


class Product(AbstractLaw):
    """A law in x times a mixture of K normal laws in v.

    `position`: the law in x. `means` (K × d), `covariances` (K × d × d), `weights` (K, sum 1).
    There may be more velocities than positions. Raises ValueError if the shapes do not fit or a
    covariance is not positive definite.
    """

    position: GaussianPosition | CosinePosition | CellJitter | Waves
    means: Float[Array, "k d"] = eqx.field(converter=jnp.asarray)
    covariances: Float[Array, "k d d"] = eqx.field(converter=jnp.asarray)
    weights: Float[Array, " k"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        _check_mixture(self.means, self.covariances, self.weights)
        if self.means.shape[1] < self.position.dimension:
            raise ValueError("means: need as many velocities as positions, or more")

    @property
    def dimensions(self) -> tuple[int, int]:
        return self.position.dimension, self.means.shape[1]

    @property
    def length(self) -> Float[Array, " d_x"] | None:
        return self.position.length

    @property
    def modes(self) -> Float[np.ndarray, " d_x"]:
        return self.position.modes

    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        d_x = self.position.dimension
        v = _mixture_points(uniforms[:, d_x:], self.means, self.covariances, self.weights)
        return self.position.points(uniforms[:, :d_x]), v

    def log_density(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        in_v = _log_mixture(v, self.means, self.covariances, self.weights)
        return self.position.log_density(x) + in_v


def _check_mixture(
    means: Float[Array, "k m"], covariances: Float[Array, "k m m"], weights: Float[Array, " k"]
) -> None:
    k, m = means.shape
    if covariances.shape != (k, m, m) or weights.shape != (k,):
        raise ValueError("means, covariances, weights: need (K, d), (K, d, d) and (K) numbers")
    for covariance in covariances:
        check_covariance("covariances", covariance)
    numbers = np.asarray(weights, dtype=float)
    if numbers.min() <= 0 or abs(numbers.sum() - 1) > 1e-6:
        raise ValueError("weights: must be positive and sum to 1")


def _mixture_points(
    uniforms: Uniforms,
    means: Float[Array, "k m"],
    covariances: Float[Array, "k m m"],
    weights: Float[Array, " k"],
) -> Points:
    """The first uniform number chooses the normal law, and what is left of it is uniform again."""
    shares, left = np.asarray(weights, dtype=float), uniforms.copy()
    edges = np.concatenate([[0.0], np.cumsum(shares)[:-1]])
    chosen = np.searchsorted(edges, left[:, 0], side="right") - 1
    left[:, 0] = ((left[:, 0] - edges[chosen]) / shares[chosen]).clip(TINY, 1 - TINY)
    points = np.empty_like(left)
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        points[chosen == k] = normal_points(left[chosen == k], mean, covariance)
    return points


def _log_mixture(
    z: Float[Array, " m"],
    means: Float[Array, "k m"],
    covariances: Float[Array, "k m m"],
    weights: Float[Array, " k"],
) -> Float[Array, ""]:
    parts = jax.vmap(lambda mean, covariance: log_normal(z - mean, covariance))(means, covariances)
    return jax.nn.logsumexp(parts + jnp.log(weights))
