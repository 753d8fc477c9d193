"""Particles of a law."""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.core import Particles
from kjko.core.low_discrepancy import sobol
from kjko.initial.laws import TINY, AbstractLaw
from kjko.initial.positions import Uniforms

Sampling = Literal["random", "low-discrepancy", "lattice"]


def _lattice(number: int, d_x: int, d: int, rng: np.random.Generator) -> Uniforms:
    """i g⁻ʲ mod 1 in coordinate j = 1, 2, …, but i/n in coordinate m = 2 d_x, shifted at random.

    gᵐ = g + 1: for m = 2 the golden ratio. The d − d_x velocities that x does not have get i G⁻ʲ,
    j = 1, 2, …, with the G of d_x + d dimensions: (x, v) alone makes the field, and is as quiet as
    without them.
    """

    def columns(m, number_of_columns):
        root = 2.0
        for _ in range(64):
            root = (1 + root) ** (1 / m)
        powers = root ** -np.arange(1.0, number_of_columns + 1)
        return i[:, None] * powers + rng.random(number_of_columns)

    i, m = np.arange(number), 2 * d_x
    first, last = columns(m, m - 1), (i[:, None] + rng.random(1)) / number
    return np.hstack([first, last, columns(d_x + d, d - d_x)]) % 1.0


def sample(
    law: AbstractLaw,
    number: int,
    seed: int = 0,
    sampling: Sampling = "random",
) -> Particles:
    """`number` particles of the law, with log f evaluated at each.

    "random": independent. "low-discrepancy": scrambled Sobol points. "lattice": a shifted lattice,
    the quietest start in few dimensions. Raises ValueError if `number` < 2, or for another name.
    """
    if number < 2:
        raise ValueError(f"number: must be at least 2, got {number}")
    if sampling not in get_args(Sampling):
        names = ", ".join(get_args(Sampling))
        raise ValueError(f"sampling: must be one of {names}, got {sampling!r}")
    rng = np.random.default_rng(seed)
    if sampling == "random":
        uniforms = rng.random((number, sum(law.dimensions)))
    elif sampling == "lattice":
        uniforms = _lattice(number, *law.dimensions, rng)
    else:
        uniforms = sobol(number, sum(law.dimensions), rng)
    x, v = law.points(np.clip(uniforms, TINY, 1 - TINY))
    x, v = jnp.asarray(x), jnp.asarray(v)
    return Particles(x, v, _log_density(law, x, v))


@eqx.filter_jit
def _log_density(
    law: AbstractLaw, x: Float[Array, "n d_x"], v: Float[Array, "n d"]
) -> Float[Array, " n"]:
    return jax.vmap(law.log_density)(x, v)
