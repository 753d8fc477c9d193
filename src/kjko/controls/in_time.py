"""Controls for all times."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core.box import on_circle
from kjko.interfaces import Control


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
        place = x if self.length is None else on_circle(x, self.length)
        scaled = 2 * t / self.end_time - 1
        return self.control(jnp.append(place, scaled), v)
