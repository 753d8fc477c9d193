"""Controls u(x, v) and u(t, x, v): functions of one particle.

Any pytree that is such a callable may be used.
"""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.features import AbstractBasis
from kjko.interfaces import Control


class Affine(eqx.Module):
    """u(x, v) = W (x, v) + b, with W (d × (d_x + d)) and b (d). Starts at zero."""

    weight: Float[Array, "d inputs"]
    bias: Float[Array, " d"]

    def __init__(self, dimension: int, inputs: int | None = None):
        """`dimension`: d. `inputs`: numbers that x takes; d if not given."""
        self.weight = jnp.zeros((dimension, dimension + (inputs or dimension)))
        self.bias = jnp.zeros(dimension)

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.weight @ jnp.concatenate([x, v]) + self.bias


@jax.custom_jvp
def tanh(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """tanh, whose derivative 1 − tanh² costs less than the library's to differentiate again."""
    return jnp.tanh(a)


@tanh.defjvp
def _tanh_jvp(primals, tangents):
    y = tanh(primals[0])
    return y, (1 - y * y) * tangents[0]


@jax.custom_jvp
def leaky_relu(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """a, or 0.01 a where a is not positive; its slope is computed once."""
    return a * _leaky_slope(a)


@leaky_relu.defjvp
def _leaky_relu_jvp(primals, tangents):
    slope = _leaky_slope(primals[0])
    return primals[0] * slope, slope * tangents[0]


def _leaky_slope(a):
    return jnp.where(a > 0, 1.0, 0.01).astype(a.dtype)


class MLP(eqx.Module):
    """A fully connected network, u = W_L σ(… σ(W₁ (x, v) + b₁) …) + b_L, with hidden `widths`.

    The last layer starts at zero, so that u starts at zero, the best control at equilibrium.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Literal["tanh", "leaky-relu"] = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        widths: Sequence[int],
        activation: Literal["tanh", "leaky-relu"] = "tanh",
        inputs: int | None = None,
        outputs: int | None = None,
        *,
        key: Key,
    ):
        """`dimension`: d. `inputs`: numbers that x takes; `outputs`: of u. Both d if not given."""
        sizes = (dimension + (inputs or dimension), *widths, outputs or dimension)
        keys = jax.random.split(key, len(sizes) - 1)
        layers = [
            eqx.nn.Linear(fan_in, fan_out, key=k)
            for fan_in, fan_out, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        ]
        last = jax.tree.map(jnp.zeros_like, layers[-1])
        self.layers = (*layers[:-1], last)
        self.activation = activation

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        activation = tanh if self.activation == "tanh" else leaky_relu
        y = jnp.concatenate([x, v])
        for layer in self.layers[:-1]:
            y = activation(layer(y))
        return self.layers[-1](y)

    def value_and_jacobian(
        self, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m d n"]]:
        """u and ∇ᵥu = W_L D_{L−1} W_{L−1} … D₁ W₁ᵥ, D_l the slopes σ′ of layer l, at n particles.

        Every layer is a product of two matrices with a particle in each column; `jax.vmap` of one
        particle transposes them at every bias. W₁ᵥ is the same at all particles, so column k of
        W₂ D₁ W₁ᵥ is one constant matrix times the slopes D₁.
        """
        first, *others = self.layers
        y = _affine(first, jnp.concatenate([x, v]))
        along = first.weight[:, x.shape[0] :].T  # row k: the derivative along v_k
        columns = [jnp.broadcast_to(w[:, None], y.shape) for w in along]
        for number, layer in enumerate(others):
            y, slope = self._activate(y)
            if number == 0:
                columns = [(layer.weight * w[None]) @ slope for w in along]
            else:
                columns = [layer.weight @ (slope * column) for column in columns]
            y = _affine(layer, y)
        return y, jnp.stack(columns, axis=1)

    def _activate(self, a):
        """σ(a) and σ′(a)."""
        if self.activation == "tanh":
            y = tanh(a)
            return y, 1 - y * y
        slope = _leaky_slope(a)
        return a * slope, slope


def _affine(layer: eqx.nn.Linear, y: Float[Array, "k n"]) -> Float[Array, "m n"]:
    """A layer at n particles."""
    bias = jnp.asarray(layer.bias)  # for the type checker: a layer may be made without
    return layer.weight @ y + bias[:, None]


class Periodic(eqx.Module):
    """u(sin(2πx/L), cos(2πx/L), v): a control made periodic in a box of `length` L.

    The wrapped control takes 2 d_x numbers for x: give it `inputs` = 2 d_x.
    """

    control: Control
    length: tuple[float, ...] = eqx.field(
        static=True, converter=lambda length: tuple(float(side) for side in length)
    )

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.control(_on_circle(x, self.length), v)


def _on_circle(x: Float[Array, " d_x"], length: tuple[float, ...]) -> Float[Array, " two_d_x"]:
    """(sin(2πx/L), cos(2πx/L))."""
    phase = 2 * jnp.pi * x / jnp.asarray(length, dtype=x.dtype)
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])


def value_and_jacobian(
    control: Control, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
) -> tuple[Float[Array, "m n"], Float[Array, "m d n"]]:
    """u and ∇ᵥu at n particles, which come last. Networks have a faster way than linearisation."""
    if isinstance(control, Periodic):
        on_circle = jax.vmap(lambda one: _on_circle(one, control.length), in_axes=-1, out_axes=-1)
        return value_and_jacobian(control.control, on_circle(x), v)
    if isinstance(control, MLP):
        return control.value_and_jacobian(x, v)

    def at_one(x, v):
        u, along = jax.linearize(lambda v: control(x, v), v)
        return u, jnp.stack([along(e) for e in jnp.eye(v.size, dtype=v.dtype)], axis=-1)

    return jax.vmap(at_one, in_axes=-1, out_axes=-1)(x, v)


class InTime(eqx.Module):
    """u(t, x, v) from a control that takes time as one more number for x: `inputs` = d_x + 1.

    t is scaled to [−1, 1] over [0, `end_time`]. `length`: the sides of a periodic box, where x is
    replaced by its sine and cosine; then `inputs` = 2 d_x + 1.
    """

    control: Control
    end_time: float = eqx.field(static=True)
    length: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def __call__(
        self, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " m"]:
        place = x if self.length is None else _on_circle(x, self.length)
        scaled = 2 * t / self.end_time - 1
        return self.control(jnp.append(place, scaled), v)


class AffineInTime(eqx.Module):
    """u(t, x, v) = Σ_k T_k(2t/T − 1) (W_k (x, v) + b_k), T_k the Chebyshev polynomials.

    `end_time`: T. `weight`: K × m × (inputs + d), `bias`: K × m. Starts at zero. `length` as in
    `InTime`.
    """

    weight: Float[Array, "k m inputs"]
    bias: Float[Array, "k m"]
    end_time: float = eqx.field(static=True)
    length: tuple[float, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        end_time: float,
        inputs: int | None = None,
        outputs: int | None = None,
        polynomials: int = 8,
        length: tuple[float, ...] | None = None,
    ):
        """`dimension`: d. `inputs`: numbers that x takes, without time; `outputs`: m. Both d if not
        given. `polynomials`: K.
        """
        self.bias = jnp.zeros((polynomials, outputs or dimension))
        self.weight = jnp.zeros((*self.bias.shape, (inputs or dimension) + dimension))
        self.end_time, self.length = end_time, length

    def __call__(
        self, t: Float[Array, ""], x: Float[Array, " d_x"], v: Float[Array, " d"]
    ) -> Float[Array, " m"]:
        place = x if self.length is None else _on_circle(x, self.length)
        angle = jnp.arccos(jnp.clip(2 * t / self.end_time - 1, -1, 1))
        polynomials = jnp.cos(jnp.arange(len(self.bias)) * angle).astype(v.dtype)
        affine = self.weight @ jnp.concatenate([place, v]) + self.bias
        return polynomials @ affine


class Gradient(eqx.Module):
    """u = ∇ᵥψ with ψ = Σ c_k Φ_k: linear in its coefficients, symmetric in its Jacobian.

    Starts at zero. `basis`: Φ.
    """

    basis: AbstractBasis
    coefficients: Float[Array, " p"]

    def __init__(self, basis: AbstractBasis):
        self.basis = basis
        self.coefficients = jnp.zeros(basis.size)

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return jax.grad(self.potential, argnums=1)(x, v)

    def potential(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """ψ(x, v)."""
        return self.basis.potential(x, v, self.coefficients)
