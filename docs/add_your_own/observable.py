"""An observable of your own: how far f is from a Maxwellian."""

from typing import ClassVar

from kjko.core import sums
from kjko.interfaces import AbstractObservable


class Kurtosis(AbstractObservable):
    """`kurtosis`: of each velocity; zero for a Maxwellian."""

    keys: ClassVar[tuple[str, ...]] = ("kurtosis",)

    def measure(self, problem, state, info):
        v = state.particles.v
        z = (v - sums.mean(v)[None]) / sums.deviation(v)[None]
        return {"kurtosis": sums.mean(z**4) - 3}
