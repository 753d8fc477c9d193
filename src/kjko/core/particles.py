"""Particles, and the state of a run."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt

from kjko.core.sums import check_devices
from kjko.devices import everywhere, shared_out


class Particles(eqx.Module):
    """Samples of f of equal weight, each with the density at its own position.

    `x`: positions, `v`: velocities, `log_f`: log f(x, v), f with respect to dx dv and of mass one,
    whatever the mass of the problem is: its own log f is log_f + log M. Arrays of numpy will do.

    Raises ValueError if the shapes are not (n, d_x), (n, d) and (n) with n ≥ 1 and d_x ≤ d, or for
    whole numbers.
    """

    x: Float[Array, "n d_x"] = eqx.field(converter=jnp.asarray)
    v: Float[Array, "n d"] = eqx.field(converter=jnp.asarray)
    log_f: Float[Array, " n"] = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        x, v, log_f = self.x.shape, self.v.shape, self.log_f.shape
        fits = len(x) == len(v) == 2 and log_f == x[:1] == v[:1] and 1 <= x[1] <= v[1]
        if not fits or x[0] == 0:
            raise ValueError(
                "particles: expected x (n, d_x), v (n, d) and log_f (n) with n >= 1 and d_x <= d,"
                f" got the shapes {x}, {v} and {log_f}; one coordinate is x[:, None]"
            )
        for each in (self.x, self.v, self.log_f):
            if not jnp.issubdtype(each.dtype, jnp.floating):
                raise ValueError(f"particles: expected real numbers, got {each.dtype}")


class State(eqx.Module):
    """All that a run carries from step to step.

    `step`: how many were taken. `time_step`: Δt. `seed`: every draw is folded from it and the step.
    `turns`: how often each particle has left the periodic box, at its upper end less at its lower
    one; x + turns L is where it would be without the box. `field`: what the flow carries, the
    fields of self-consistent ones. `memory`: what the method carries, the control of the last step.
    """

    step: Int[Array, ""]
    time_step: Float[Array, ""]
    seed: UInt[Array, ""]
    particles: Particles
    turns: Int[Array, "n d_x"] | None
    field: Any
    memory: Any

    @property
    def time(self) -> Float[Array, ""]:
        """t = step · Δt."""
        return self.step.astype(self.time_step.dtype) * self.time_step

    @property
    def key(self) -> Key[Array, ""]:
        """The run's own key."""
        return jax.random.key(self.seed)

    def shared_out(self) -> "State":
        """With its particles shared out among the devices in use, and the rest on each of them.

        Raises ValueError if they cannot be, see `kjko.core.sums.check_devices`.
        """
        check_devices(len(self.particles.v))
        numbers = everywhere((self.step, self.time_step, self.seed))
        of_particles = shared_out((self.particles, self.turns))
        return State(*numbers, *of_particles, *everywhere((self.field, self.memory)))
