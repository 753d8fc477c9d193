"""An observable of your own: how far f is from a Maxwellian."""

from typing import ClassVar

import jax.numpy as jnp

from kjko.interfaces import AbstractObservable


class Kurtosis(AbstractObservable):
    """`kurtosis`: of each velocity; zero for a Maxwellian."""

    keys: ClassVar[tuple[str, ...]] = ("kurtosis",)

    def measure(self, problem, state, info):
        v = state.particles.v
        z = (v - jnp.mean(v, axis=0)[None]) / jnp.std(v, axis=0)[None]
        return {"kurtosis": jnp.mean(z**4, axis=0) - 3}
