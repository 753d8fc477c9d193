"""Lie splitting."""

import math
from typing import ClassVar

from kjko.splitting.maps import AbstractMap, StormerVerlet
from kjko.splitting.split import AbstractSplit


class Lie(AbstractSplit):
    """A symplectic map, then the control: equations (26)-(27). First order.

        (x*, v*) = S(x, v),    x' = x*,    v' = v* + Δt u(x*, v*)

    The paper prints u(x*, v); the control acts after S.
    """

    map: AbstractMap = StormerVerlet()
    share: ClassVar[float] = 1.0
    fraction: ClassVar[float] = 1.0
    largest: ClassVar[float] = math.inf
