"""Initial laws: f at t = 0, to be sampled and evaluated.

A law is sampled by a map from the unit cube, so that random and low-discrepancy points go the same
way. Sampling is done by numpy in float64; `log_density` is a function of one particle in jax.
"""

import abc
import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtri
from scipy.stats import qmc

from kjko.interfaces import Particles

TINY = 2.0**-53  # from the ends of the unit interval, where a normal law is at infinity
Uniforms = Float[np.ndarray, "n m"]
Points = Float[np.ndarray, "n d"]


def _log_normal(z: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Float[Array, ""]:
    """log of the normal density of mean 0."""
    cholesky = jnp.linalg.cholesky(covariance)
    whitened = jax.scipy.linalg.solve_triangular(cholesky, z, lower=True)
    log_det = jnp.sum(jnp.log(jnp.diagonal(cholesky)))
    return -0.5 * whitened @ whitened - log_det - 0.5 * z.size * math.log(2 * math.pi)


def _check_covariance(name: str, covariance: Float[Array, "d d"]) -> None:
    c = np.asarray(covariance, dtype=float)
    symmetric = c.ndim == 2 and c.shape[0] == c.shape[1] and np.allclose(c, c.T)
    if not (symmetric and np.linalg.eigvalsh(c).min() > 0):  # nan is refused too
        raise ValueError(f"{name}: must be symmetric and positive definite")


def _normal_points(
    uniforms: Uniforms, mean: Float[Array, " d"], covariance: Float[Array, "d d"]
) -> Points:
    cholesky = np.linalg.cholesky(np.asarray(covariance, dtype=float))
    return np.asarray(mean, dtype=float) + ndtri(uniforms) @ cholesky.T


class AbstractLaw(eqx.Module):
    """A law of one particle (x, v)."""

    periodic: eqx.AbstractVar[bool]  # in x; it then needs a box
    number_of_uniforms: eqx.AbstractVar[int]  # coordinates of the unit cube that a sample takes

    @abc.abstractmethod
    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        """The map from the unit cube to (x, v) under which uniform points have this law."""

    @abc.abstractmethod
    def log_density(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """log f(x, v)."""


class Gaussian(AbstractLaw):
    """The normal law of z = (x, v), with any `mean` (2d) and `covariance` (2d × 2d).

    Raises ValueError if the covariance is not positive definite or does not fit the mean.
    """

    mean: Float[Array, " two_d"] = eqx.field(converter=jnp.asarray)
    covariance: Float[Array, "two_d two_d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        _check_covariance("covariance", self.covariance)
        if self.covariance.shape != (self.mean.size, self.mean.size) or self.mean.size % 2:
            raise ValueError("mean, covariance: need shapes (2d) and (2d, 2d)")

    @property
    def periodic(self) -> bool:
        return False

    @property
    def number_of_uniforms(self) -> int:
        return self.mean.size

    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        z = _normal_points(uniforms, self.mean, self.covariance)
        x, v = np.split(z, 2, axis=1)
        return x, v

    def log_density(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        return _log_normal(jnp.concatenate([x, v]) - self.mean, self.covariance)


class GaussianPosition(eqx.Module):
    """The normal law in x. Raises ValueError if the covariance is not positive definite."""

    mean: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    covariance: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        _check_covariance("covariance", self.covariance)

    @property
    def periodic(self) -> bool:
        return False

    @property
    def dimension(self) -> int:
        return self.mean.size

    def points(self, uniforms: Uniforms) -> Points:
        return _normal_points(uniforms, self.mean, self.covariance)

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return _log_normal(x - self.mean, self.covariance)


class CosinePosition(eqx.Module):
    """ρ(x) = Πᵢ (1 + aᵢ cos(kᵢ xᵢ))/Zᵢ, kᵢ = 2π mᵢ/Lᵢ, in a periodic box of `length` L.

    `amplitude` a, |aᵢ| ≤ 1; `mode` m: waves in the box, whole numbers unless `literal`, which
    keeps a wave that the box cuts: ρ then jumps at its end. Zᵢ = Lᵢ (1 + aᵢ sin(2πmᵢ)/(2πmᵢ)),
    which is Lᵢ for whole mᵢ. Raises ValueError otherwise.
    """

    length: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    amplitude: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    mode: Float[Array, " d"] = eqx.field(converter=lambda m: jnp.asarray(m, dtype=float))
    literal: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not self.length.shape == self.amplitude.shape == self.mode.shape:
            raise ValueError("amplitude, mode: need one number for each side of the box")
        if np.any(np.abs(np.asarray(self.amplitude)) > 1):
            raise ValueError("amplitude: must be between -1 and 1")
        whole = np.all(np.asarray(self.mode) == np.round(np.asarray(self.mode)))
        if not (whole or self.literal):
            raise ValueError("mode: must be a whole number of waves in the box")

    @property
    def periodic(self) -> bool:
        return True

    @property
    def dimension(self) -> int:
        return self.length.size

    def points(self, uniforms: Uniforms) -> Points:
        """Inverse of the distribution function (x + a sin(kx)/k)/Z, to rounding."""
        length, a, mode = (
            np.asarray(p, dtype=float) for p in (self.length, self.amplitude, self.mode)
        )
        a = np.where(mode > 0, a, 0.0)  # mode 0 is no wave
        k = 2 * np.pi * np.where(mode > 0, mode, 1) / length
        total = length * np.asarray(self._excess(), dtype=float)
        low, high = np.zeros_like(uniforms), np.broadcast_to(length, uniforms.shape)
        for _ in range(54):  # bisection gains a bit of the 53 in each
            x = 0.5 * (low + high)
            below = x + a * np.sin(k * x) / k < uniforms * total
            low, high = np.where(below, x, low), np.where(below, high, x)
        return low

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        wave = jnp.where(self.mode > 0, jnp.cos(2 * jnp.pi * self.mode * x / self.length), 0.0)
        return jnp.sum(jnp.log1p(self.amplitude * wave) - jnp.log(self.length * self._excess()))

    def _excess(self) -> Float[Array, " d"]:
        """Z/L: one, but for what a cut wave leaves."""
        if not self.literal:
            return jnp.ones_like(self.length)
        return 1 + jnp.where(self.mode > 0, self.amplitude, 0.0) * jnp.sinc(2 * self.mode)


class CellJitter(eqx.Module):
    """The paper's sampling in x (section 4.2): a cell by its probability, then uniform within it.

    The cells of each coordinate, `number_of_cells`, have the probabilities pᵢ ∝ ρ(xᵢ) of their
    centres. log_density stays that of `position`, the law that is meant.
    """

    position: CosinePosition
    number_of_cells: tuple[int, ...] = eqx.field(static=True)

    @property
    def periodic(self) -> bool:
        return True

    @property
    def dimension(self) -> int:
        return self.position.dimension

    def points(self, uniforms: Uniforms) -> Points:
        """Inverse of the cells' distribution function; what it has left over is the jitter."""
        parameters = (self.position.length, self.position.amplitude, self.position.mode)
        columns = []
        for u, number, *one in zip(uniforms.T, self.number_of_cells, *parameters, strict=True):
            length, amplitude, mode = (float(parameter) for parameter in one)
            edges = np.linspace(0, length, number + 1)
            centres = 0.5 * (edges[1:] + edges[:-1])
            density = 1 + amplitude * (mode > 0) * np.cos(2 * np.pi * mode * centres / length)
            cumulative = np.concatenate([[0.0], np.cumsum(density) / density.sum()])
            columns.append(np.interp(u, cumulative, edges))
        return np.stack(columns, axis=1)

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return self.position.log_density(x)


class Product(AbstractLaw):
    """A law in x times a mixture of K normal laws in v.

    `position`: the law in x. `means` (K × d), `covariances` (K × d × d), `weights` (K, sum 1).
    There may be more velocities than positions. Raises ValueError if the shapes do not fit or a
    covariance is not positive definite.
    """

    position: GaussianPosition | CosinePosition | CellJitter
    means: Float[Array, "k d"] = eqx.field(converter=jnp.asarray)
    covariances: Float[Array, "k d d"] = eqx.field(converter=jnp.asarray)
    weights: Float[Array, " k"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        k, d = self.means.shape
        if self.covariances.shape != (k, d, d) or self.weights.shape != (k,):
            raise ValueError("means, covariances, weights: need (K, d), (K, d, d) and (K) numbers")
        if d < self.position.dimension:
            raise ValueError("means: need as many velocities as positions, or more")
        for covariance in self.covariances:
            _check_covariance("covariances", covariance)
        weights = np.asarray(self.weights, dtype=float)
        if weights.min() <= 0 or abs(weights.sum() - 1) > 1e-6:
            raise ValueError("weights: must be positive and sum to 1")

    @property
    def periodic(self) -> bool:
        return self.position.periodic

    @property
    def number_of_uniforms(self) -> int:
        return self.position.dimension + self.means.shape[1]

    def points(self, uniforms: Uniforms) -> tuple[Points, Points]:
        d_x = self.position.dimension
        weights = np.asarray(self.weights, dtype=float)
        edges = np.concatenate([[0.0], np.cumsum(weights)[:-1]])
        in_v = uniforms[:, d_x:].copy()
        chosen = np.searchsorted(edges, in_v[:, 0], side="right") - 1
        # Its first number chooses the normal law, and what is left of it is uniform again.
        in_v[:, 0] = ((in_v[:, 0] - edges[chosen]) / weights[chosen]).clip(TINY, 1 - TINY)
        v = np.empty_like(in_v)
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            rows = chosen == k
            v[rows] = _normal_points(in_v[rows], mean, covariance)
        return self.position.points(uniforms[:, :d_x]), v

    def log_density(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        parts = jax.vmap(lambda mean, covariance: _log_normal(v - mean, covariance))(
            self.means, self.covariances
        )
        return self.position.log_density(x) + jax.nn.logsumexp(parts + jnp.log(self.weights))


def _lattice(number: int, dimension: int, rng: np.random.Generator) -> Uniforms:
    """i g⁻ʲ mod 1 in coordinate j = 1, 2, …, but i/n in the last of the m, all shifted at random.

    gᵐ = g + 1: for m = 2 the golden ratio.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / dimension)
    i, shift = np.arange(number), rng.random(dimension)
    columns = [i * root**-j + shift[j - 1] for j in range(1, dimension)]
    return np.stack([*columns, (i + shift[-1]) / number], axis=1) % 1.0


def sample(
    law: AbstractLaw,
    number: int,
    seed: int = 0,
    sampling: Literal["random", "low-discrepancy", "lattice"] = "random",
) -> Particles:
    """`number` particles of the law, with log f evaluated at each.

    "random": independent. "low-discrepancy": scrambled Sobol points. "lattice": a shifted lattice,
    the quietest start in few dimensions. Raises ValueError if `number` < 2.
    """
    if number < 2:
        raise ValueError(f"number: must be at least 2, got {number}")
    rng = np.random.default_rng(seed)
    if sampling == "random":
        uniforms = rng.random((number, law.number_of_uniforms))
    elif sampling == "lattice":
        uniforms = _lattice(number, law.number_of_uniforms, rng)
    else:
        sobol = qmc.Sobol(law.number_of_uniforms, rng=rng)
        uniforms = sobol.random_base2(math.ceil(math.log2(number)))[:number]
    x, v = law.points(np.clip(uniforms, TINY, 1 - TINY))
    x, v = jnp.asarray(x), jnp.asarray(v)
    return Particles(x, v, jax.vmap(law.log_density)(x, v))
