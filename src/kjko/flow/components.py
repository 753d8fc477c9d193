"""What flows share: accelerations as long as v, and means over particles."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import sums
from kjko.core.rows import each_row


def along_velocities(
    acceleration: Float[Array, " d_x"], v: Float[Array, " d"]
) -> Float[Array, " d"]:
    """As many components as v has: nothing accelerates those that x does not have."""
    return jnp.pad(acceleration, (0, v.size - acceleration.size))


def mean_over(function: Callable, x: Float[Array, "n d_x"]) -> Float[Array, ""]:
    """The mean of a function of one particle."""
    return sums.mean(each_row(function, x))
