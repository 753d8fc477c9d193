"""Strang splitting with the implicit midpoint rule: the default."""

from typing import ClassVar

from kjko.splitting.maps import AbstractMap, StormerVerlet
from kjko.splitting.split import AbstractSplit


class StrangMidpoint(AbstractSplit):
    """Half a Störmer-Verlet step, the control over Δt, half a Störmer-Verlet step. Second order.

    The control is the minimiser for *half* a step, u = −ε (v + T₀ ∇ᵥ log f) at the midpoint of the
    collision, and then moves the particles a *whole* step: the implicit midpoint rule at the cost
    of implicit Euler.
    """

    map: ClassVar[AbstractMap] = StormerVerlet()
    share: ClassVar[float] = 0.5
    fraction: ClassVar[float] = 0.5
    largest: ClassVar[float] = 0.3  # where it is larger the midpoint rule can fold the map
