"""Where particles are, however often they have gone round a box: drift and diffusion."""

from typing import ClassVar

from jaxtyping import Array, Float

from kjko.core import State, sums
from kjko.interfaces import AbstractObservable, AbstractStepInfo
from kjko.problem import Problem


class Positions(AbstractObservable):
    """Of positions that are not wrapped into the box, a number for each coordinate.

    `position_mean`: its slope is the mean velocity (over a force: the mobility).
    `position_variance`: its slope for long times is twice the effective diffusion. Both are
    averages over the law, and so the same for every method; the paths of particles that are moved
    by a control are not those of stochastic ones.
    """

    keys: ClassVar[tuple[str, ...]] = ("position_mean", "position_variance")

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        x = unwrapped(problem, state)
        return {"position_mean": sums.mean(x), "position_variance": sums.variance(x)}


def unwrapped(problem: Problem, state: State) -> Float[Array, "n d_x"]:
    """x + turns · L: positions as they would be without the box."""
    x = state.particles.x
    if problem.box is None or state.turns is None:
        return x
    return x + state.turns.astype(x.dtype) * problem.box.length.astype(x.dtype)[None]
