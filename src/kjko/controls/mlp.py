"""Fully connected networks."""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from kjko.controls.base import AbstractFastControl, AbstractLayeredControl
from kjko.core.checks import expect_one_of

Activation = Literal["tanh", "leaky-relu"]


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


class MLP(AbstractFastControl, AbstractLayeredControl):
    """A fully connected network, u = W_L σ(… σ(W₁ (x, v) + b₁) …) + b_L, with hidden `widths`.

    The last layer starts at zero, so that u starts at zero, the best control at equilibrium.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        dimension: int,
        widths: Sequence[int],
        activation: Activation = "tanh",
        inputs: int | None = None,
        outputs: int | None = None,
        *,
        key: Key,
    ):
        """`dimension`: d. `inputs`: numbers that x takes; `outputs`: of u. Both d if not given."""
        expect_one_of("activation", activation, Activation)
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

    def last_layer(self) -> "MLP":
        nothing = jax.tree.map(lambda _: False, self)
        last = jax.tree.map(eqx.is_inexact_array, self.layers[-1])
        return eqx.tree_at(lambda network: network.layers[-1], nothing, last)


def _affine(layer: eqx.nn.Linear, y: Float[Array, "k n"]) -> Float[Array, "m n"]:
    """A layer at n particles."""
    bias = jnp.asarray(layer.bias)  # for the type checker: a layer may be made without
    return layer.weight @ y + bias[:, None]
