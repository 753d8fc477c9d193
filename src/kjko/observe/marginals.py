"""Marginals against those of the stationary law."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.core import State
from kjko.interfaces import AbstractObservable, AbstractStepInfo
from kjko.observe.bins import Bins, histogram
from kjko.observe.start import Start
from kjko.problem import Problem


class Marginals(AbstractObservable):
    """`marginal_kl_x` and `marginal_kl_v`: the relative entropy of each coordinate's histogram to
    the stationary law's; null where that is not known.
    """

    bins: Bins | None = None
    keys: ClassVar[tuple[str, ...]] = ("marginal_kl_x", "marginal_kl_v")

    def prepare(self, start: Start) -> "Marginals":
        return Marginals(start.bins)

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        bins, particles = self.bins, state.particles
        if bins is None:
            return {}
        coordinates = {
            "marginal_kl_x": (particles.x, bins.x_edges, bins.x_mass),
            "marginal_kl_v": (particles.v, bins.v_edges, bins.v_mass),
        }
        return {
            key: marginal_kl(histogram(values, edges), mass)
            for key, (values, edges, mass) in coordinates.items()
            if mass is not None
        }


def marginal_kl(
    fraction: Float[Array, "d bins"], mass: Float[np.ndarray, "d bins"]
) -> Float[Array, " d"]:
    """Σ p log(p/q) over the bins. With n exact samples its mean is about (bins − 1)/(2n)."""
    log_mass = jnp.log(jnp.maximum(jnp.asarray(mass, dtype=fraction.dtype), 1e-30))
    ratio = jnp.log(jnp.where(fraction > 0, fraction, 1.0)) - log_mass
    return jnp.sum(jnp.where(fraction > 0, fraction * ratio, 0.0), axis=1)
