"""Controls in a periodic box."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from kjko.controls.base import AbstractFastControl, AbstractLayeredControl, value_and_jacobian
from kjko.core.box import on_circle
from kjko.interfaces import Control


class Periodic(AbstractFastControl, AbstractLayeredControl):
    """u(sin(2πx/L), cos(2πx/L), v): a control made periodic in a box of `length` L.

    The wrapped control takes 2 d_x numbers for x: give it `inputs` = 2 d_x.
    """

    control: Control
    length: tuple[float, ...] = eqx.field(
        static=True, converter=lambda length: tuple(float(side) for side in length)
    )

    def __call__(self, x: Float[Array, " d_x"], v: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.control(on_circle(x, self.length), v)

    def value_and_jacobian(
        self, x: Float[Array, "d_x n"], v: Float[Array, "d n"]
    ) -> tuple[Float[Array, "m n"], Float[Array, "m d n"]]:
        circle = jax.vmap(lambda one: on_circle(one, self.length), in_axes=-1, out_axes=-1)
        return value_and_jacobian(self.control, circle(x), v)

    def last_layer(self) -> "Periodic":
        if not isinstance(self.control, AbstractLayeredControl):
            raise ValueError("control: has no last layer; a network (MLP) has")
        return eqx.tree_at(lambda wrapped: wrapped.control, self, self.control.last_layer())
