"""Bases Φ(x, v) for potentials ψ = Σ c_k Φ_k, whose gradients are controls linear in c.

The exact control of a JKO step is a gradient in v. Scales are taken from the particles.
"""

import abc
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from kjko.interfaces import Stage


class AbstractBasis(eqx.Module):
    """Functions of one particle, with scales that `adapt` takes from the particles."""

    @abc.abstractmethod
    def adapt(self, stage: Stage) -> "AbstractBasis":
        """The basis on the scales of these particles."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        """Φ(x, v)."""

    @abc.abstractmethod
    def potential(
        self, x: Float[Array, " d"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """Φ(x, v) · c."""

    @abc.abstractmethod
    def implicit(
        self, x: Float[Array, " d"], v: Float[Array, " d"], rate: float, temperature: float
    ) -> Float[Array, " p"]:
        """Φ + rate (v·∇ᵥ − T₀Δᵥ)Φ."""

    @property
    @abc.abstractmethod
    def roughness(self) -> Float[np.ndarray, " p"]:
        """What the ridge weighs each function with."""


def _implicit(function, v: Float[Array, " d"], rate: float, temperature: float):
    """(1 + rate (v·∇ − T₀Δ)) of a function of v, by forward mode."""

    def slope(direction):
        return lambda v: jax.jvp(function, (v,), (direction,))[1]

    values, along_v = jax.jvp(function, (v,), (v,))
    laplacian = sum(jax.jvp(slope(e), (v,), (e,))[1] for e in jnp.eye(v.size, dtype=v.dtype))
    return values + rate * (along_v - temperature * laplacian)


class Scales(eqx.Module):
    """Mean and standard deviation of each coordinate."""

    x_mean: Float[Array, " d"]
    x_width: Float[Array, " d"]
    v_mean: Float[Array, " d"]
    v_width: Float[Array, " d"]

    @classmethod
    def unit(cls, dimension: int) -> "Scales":
        zero, one = jnp.zeros(dimension), jnp.ones(dimension)
        return cls(zero, one, zero, one)

    @classmethod
    def of(cls, stage: Stage) -> "Scales":
        x, v = stage.x, stage.v
        # Narrower than this is a point: keeps the division finite.
        widths = (jnp.maximum(jnp.std(z, axis=0), 1e-6) for z in (x, v))
        x_width, v_width = widths
        return cls(jnp.mean(x, axis=0), x_width, jnp.mean(v, axis=0), v_width)


class Quadratics(AbstractBasis):
    """1, the scaled coordinates and their products: the potentials of affine controls.

    In a periodic box x is left out.
    """

    scales: Scales
    periodic: bool = eqx.field(static=True)

    def __init__(self, dimension: int, periodic: bool = False):
        self.scales = Scales.unit(dimension)
        self.periodic = periodic

    def adapt(self, stage: Stage) -> "Quadratics":
        return eqx.tree_at(lambda basis: basis.scales, self, Scales.of(stage))

    def _coordinates(self, x, v):
        s = self.scales
        z = (v - s.v_mean) / s.v_width
        return z if self.periodic else jnp.concatenate([(x - s.x_mean) / s.x_width, z])

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        m = self.scales.v_mean.size * (1 if self.periodic else 2)
        return np.full(1 + m + m * (m + 1) // 2, 1e-6)

    def __call__(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        z = self._coordinates(x, v)
        first, second = np.triu_indices(z.size)
        return jnp.concatenate([jnp.ones(1, z.dtype), z, z[first] * z[second]])

    def potential(
        self, x: Float[Array, " d"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        return self(x, v) @ c

    def implicit(
        self, x: Float[Array, " d"], v: Float[Array, " d"], rate: float, temperature: float
    ) -> Float[Array, " p"]:
        return _implicit(lambda v: self(x, v), v, rate, temperature)


class FourierHermite(AbstractBasis):
    """Sum over the coordinates i of products X_j(xᵢ) V_k(vᵢ), and all quadratics.

    X: cosines on ±4 standard deviations, or the Fourier modes of the periodic box. V: 1, z, z² and
    Hermite functions of z/0.9, z the velocity in standard deviations. Of all pairs the `size`/d
    with the smallest wave number, on an ellipse, are kept; those of large wave number are the
    rougher ones.
    """

    quadratics: Quadratics
    length: tuple[float, ...] | None = eqx.field(static=True)
    blocks: tuple[tuple[int, int, int], ...] = eqx.field(static=True)  # X[a:b] with V[:m]

    REACH = 4.0  # standard deviations that the cosines span on either side
    WIDTH = 0.9  # of the Hermite functions
    ELLIPSE = (17.0, 5.0)  # proportions of the wave numbers kept in x and v
    SMOOTH = (10.0, 3.0)  # wave numbers from which on the ridge grows

    def __init__(self, dimension: int, size: int = 480, length: Any = None):
        """`length`: of the periodic box, if there is one."""
        self.quadratics = Quadratics(dimension, periodic=length is not None)
        self.length = None if length is None else tuple(float(side) for side in length)
        k_x, k_v = self._wave_numbers()
        radius = np.hypot(k_x[:, None] / self.ELLIPSE[0], k_v[None] / self.ELLIPSE[1])
        kept = radius <= np.sort(radius, axis=None)[size // dimension - 1]
        counts = np.sum(kept, axis=1)  # of functions of v with each function of x: falls with j
        counts = counts[counts > 0]
        edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), counts.size]
        self.blocks = tuple((a, b, int(counts[a])) for a, b in pairwise(edges))

    def _wave_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Per standard deviation, of as many functions as could be wanted."""
        if self.length is None:
            k_x = np.arange(80) * np.pi / (2 * self.REACH)
        else:
            k_x = 2.0 * np.repeat(np.arange(40), 2)[1:]
        k_v = np.concatenate([[0.0, 0.5, 1.0], np.sqrt(2 * np.arange(20) + 1) / self.WIDTH])
        return k_x, k_v

    def adapt(self, stage: Stage) -> "FourierHermite":
        return eqx.tree_at(lambda b: b.quadratics, self, self.quadratics.adapt(stage))

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        k_x, k_v = self._wave_numbers()
        rough = 1 + ((k_x / self.SMOOTH[0]) ** 2)[:, None] + ((k_v / self.SMOOTH[1]) ** 2)[None]
        pairs = np.concatenate([rough[a:b, :m].ravel() for a, b, m in self.blocks])
        dimension = self.quadratics.scales.v_mean.size
        return np.concatenate([self.quadratics.roughness, np.tile(pairs, dimension)])

    def _functions_of_x(self, x: Float[Array, " d"]) -> Float[Array, "d j"]:
        count = self.blocks[-1][1]
        if self.length is None:
            s = self.quadratics.scales
            y = jnp.clip((x - s.x_mean) / s.x_width, -self.REACH, self.REACH)
            phase = (y + self.REACH) * (np.pi / (2 * self.REACH))
            return jnp.cos(phase[:, None] * jnp.arange(count, dtype=x.dtype)[None])
        phase = 2 * np.pi * x / jnp.asarray(self.length, dtype=x.dtype)
        waves = phase[:, None] * jnp.arange(1, count // 2 + 1, dtype=x.dtype)[None]
        both = jnp.stack([jnp.cos(waves), jnp.sin(waves)], axis=-1).reshape(x.size, -1)
        return jnp.concatenate([jnp.ones((x.size, 1), x.dtype), both], axis=1)[:, :count]

    def _functions_of_v(self, v: Float[Array, " d"]) -> Float[Array, "d k"]:
        count = self.blocks[0][2]
        s = self.quadratics.scales
        z = (v - s.v_mean) / s.v_width
        y = z / self.WIDTH
        hermite = [jnp.exp(-0.5 * y**2)]
        hermite.append(np.sqrt(2.0) * y * hermite[0])
        for n in range(2, count):
            hermite.append(
                float(np.sqrt(2 / n)) * y * hermite[-1] - float(np.sqrt((n - 1) / n)) * hermite[-2]
            )
        return jnp.stack([jnp.ones_like(z), z, z**2, *hermite], axis=1)[:, :count]

    def __call__(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        products = self._products(self._functions_of_x(x), self._functions_of_v(v))
        return jnp.concatenate([self.quadratics(x, v), products])

    def _products(self, of_x: Float[Array, "d j"], of_v: Float[Array, "d k"]) -> Float[Array, " p"]:
        parts = [
            (of_x[:, a:b, None] * of_v[:, None, :m]).reshape(of_x.shape[0], -1)
            for a, b, m in self.blocks
        ]
        return jnp.concatenate(parts, axis=1).ravel()

    def potential(
        self, x: Float[Array, " d"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """Contracted coordinate by coordinate, X C Vᵀ, without the products."""
        of_x, of_v = self._functions_of_x(x), self._functions_of_v(v)
        sizes = [(b - a) * m for a, b, m in self.blocks]
        smooth, rough = jnp.split(c, [c.size - x.size * sum(sizes)])
        parts = jnp.split(rough.reshape(x.size, -1), np.cumsum(sizes)[:-1].tolist(), axis=1)
        dense = jnp.zeros((x.size, of_x.shape[1], of_v.shape[1]), c.dtype)
        for (a, b, m), part in zip(self.blocks, parts, strict=True):
            dense = dense.at[:, a:b, :m].set(part.reshape(x.size, b - a, m))
        rows = jnp.einsum("dj,djk->dk", of_x, dense)
        return self.quadratics.potential(x, v, smooth) + jnp.sum(rows * of_v)

    def implicit(
        self, x: Float[Array, " d"], v: Float[Array, " d"], rate: float, temperature: float
    ) -> Float[Array, " p"]:
        """Each V_k depends on one coordinate, so one derivative does for all of them."""

        def slope(v):
            return jax.jvp(self._functions_of_v, (v,), (jnp.ones_like(v),))[1]

        of_v = self._functions_of_v(v)
        first, second = jax.jvp(slope, (v,), (jnp.ones_like(v),))
        of_v = of_v + rate * (v[:, None] * first - temperature * second)
        products = self._products(self._functions_of_x(x), of_v)
        return jnp.concatenate([self.quadratics.implicit(x, v, rate, temperature), products])


class RandomTanh(AbstractBasis):
    """All quadratics, and log cosh(w·(y, z) + b) with random w and b: its gradients are tanh.

    y, z: the coordinates in standard deviations. `size` functions; w, b normal of deviation 1.5.
    """

    quadratics: Quadratics
    weight: Float[Array, "p inputs"]
    bias: Float[Array, " p"]
    length: tuple[float, ...] | None = eqx.field(static=True)

    def __init__(self, dimension: int, size: int = 300, length: Any = None, *, key: Key):
        """`length`: of the periodic box, if there is one; x then enters by sine and cosine."""
        self.quadratics = Quadratics(dimension, periodic=length is not None)
        self.length = None if length is None else tuple(float(side) for side in length)
        inputs = dimension * (2 if length is None else 3)
        weight_key, bias_key = jax.random.split(key)
        self.weight = 1.5 * jax.random.normal(weight_key, (size, inputs))
        self.bias = 1.5 * jax.random.normal(bias_key, (size,))

    def adapt(self, stage: Stage) -> "RandomTanh":
        return eqx.tree_at(lambda b: b.quadratics, self, self.quadratics.adapt(stage))

    @property
    def roughness(self) -> Float[np.ndarray, " p"]:
        return np.concatenate([self.quadratics.roughness, np.ones(self.bias.size)])

    def __call__(self, x: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " p"]:
        s = self.quadratics.scales
        if self.length is None:
            y = (x - s.x_mean) / s.x_width
        else:
            phase = 2 * np.pi * x / jnp.asarray(self.length, dtype=x.dtype)
            y = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])
        inputs = jnp.concatenate([y, (v - s.v_mean) / s.v_width])
        phase = self.weight @ inputs + self.bias
        log_cosh = jnp.logaddexp(phase, -phase)
        return jnp.concatenate([self.quadratics(x, v), log_cosh])

    def potential(
        self, x: Float[Array, " d"], v: Float[Array, " d"], c: Float[Array, " p"]
    ) -> Float[Array, ""]:
        return self(x, v) @ c

    def implicit(
        self, x: Float[Array, " d"], v: Float[Array, " d"], rate: float, temperature: float
    ) -> Float[Array, " p"]:
        return _implicit(lambda v: self(x, v), v, rate, temperature)
