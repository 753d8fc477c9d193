"""From particles to the stage of a step."""

import equinox as eqx
from jaxtyping import Array, Float

from kjko.core import Particles, Stage
from kjko.core.rows import each_row
from kjko.interfaces import FieldState
from kjko.problem import Problem


def stage_at(
    problem: Problem,
    field: FieldState,
    particles: Particles,
    free: Particles | None = None,
    response: Float[Array, "n d d"] | None = None,
    shear: Float[Array, " n"] | None = None,
    drift: Float[Array, " n"] | None = None,
) -> Stage:
    """The stage of a control that is taken at `particles` and would leave them at `free`, there
    without one.
    """
    x, v = particles.x, particles.v
    arrival = particles if free is None else free
    potential = each_row(eqx.Partial(problem.flow.potential_energy, field), x)
    bath = problem.collisions.freeze(x, v)
    return Stage(
        x=x,
        v=v,
        x_free=arrival.x,
        v_free=arrival.v,
        log_f=particles.log_f,
        potential=potential,
        bath=bath,  # pyright: ignore[reportArgumentType]  None without collisions
        response=response,
        shear=shear,
        drift=drift,
    )
