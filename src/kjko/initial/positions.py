"""Laws in x alone, parts of an initial law, and what they share with it."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtri

Uniforms = Float[np.ndarray, "n m"]
Points = Float[np.ndarray, "n d"]


def log_normal(z: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Float[Array, ""]:
    """log of the normal density of mean 0, by the Cholesky factor L of the covariance: a column of
    it at a time, and with it an entry of L⁻¹ z.

    Not by LAPACK: where jax gives it many small matrices it may wait for ever (jaxlib 0.10: each
    call waits for threads that wait in another one).
    """
    square = log_det = jnp.zeros((), z.dtype)
    for i in range(z.size):
        root = jnp.sqrt(covariance[i, i])
        column, entry = covariance[:, i] / root, z[i] / root
        covariance, z = covariance - jnp.outer(column, column), z - column * entry
        square, log_det = square + entry**2, log_det + jnp.log(root)
    return -0.5 * square - log_det - 0.5 * z.size * math.log(2 * math.pi)


def check_covariance(name: str, covariance: Float[Array, "d d"]) -> None:
    c = np.asarray(covariance, dtype=float)
    symmetric = c.ndim == 2 and c.shape[0] == c.shape[1] and np.allclose(c, c.T)
    if not (symmetric and np.linalg.eigvalsh(c).min() > 0):  # nan is refused too
        raise ValueError(f"{name}: must be symmetric and positive definite")


def normal_points(
    uniforms: Uniforms, mean: Float[Array, " d"], covariance: Float[Array, "d d"]
) -> Points:
    cholesky = np.linalg.cholesky(np.asarray(covariance, dtype=float))
    return np.asarray(mean, dtype=float) + ndtri(uniforms) @ cholesky.T


class GaussianPosition(eqx.Module):
    """The normal law in x. Raises ValueError if the covariance is not positive definite."""

    mean: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    covariance: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        check_covariance("covariance", self.covariance)

    @property
    def length(self) -> None:
        """It needs no box."""
        return None

    @property
    def dimension(self) -> int:
        return self.mean.size

    @property
    def modes(self) -> Float[np.ndarray, " d"]:
        return np.zeros(self.mean.size)

    def points(self, uniforms: Uniforms) -> Points:
        return normal_points(uniforms, self.mean, self.covariance)

    def log_density(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        return log_normal(x - self.mean, self.covariance)


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

    def __check_init__(self) -> None:
        if not self.length.shape == self.amplitude.shape == self.mode.shape:
            raise ValueError("amplitude, mode: need one number for each side of the box")
        if not np.all(np.abs(np.asarray(self.amplitude)) <= 1):
            raise ValueError("amplitude: must be between -1 and 1")
        if not np.all(np.asarray(self.mode) >= 0):
            raise ValueError("mode: must not be negative")
        whole = np.all(np.asarray(self.mode) == np.round(np.asarray(self.mode)))
        if not (whole or self.literal):
            raise ValueError("mode: must be a whole number of waves in the box")

    @property
    def dimension(self) -> int:
        return self.length.size

    @property
    def modes(self) -> Float[np.ndarray, " d"]:
        return np.where(np.asarray(self.amplitude) != 0, np.asarray(self.mode), 0.0)

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
    def length(self) -> Float[Array, " d"]:
        return self.position.length

    @property
    def dimension(self) -> int:
        return self.position.dimension

    @property
    def modes(self) -> Float[np.ndarray, " d"]:
        return self.position.modes

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
