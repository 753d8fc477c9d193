"""A step before its control is known, and a control at its particles."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int

from kjko.devices import everywhere


class Bath(eqx.Module):
    """What the collisions of a step relax to, frozen for the step; one row a particle.

        Q[f] = ∇ᵥ·( ε ((v − ū) f + T ∇ᵥf) )

    `rate` ε, `velocity` ū and `temperature` T may depend on x, and on the law as it is when the
    step begins, but not on v.
    """

    rate: Float[Array, " n"]
    velocity: Float[Array, "n d"]
    temperature: Float[Array, " n"]

    def score_of(self, u: Float[Array, "n d"], v: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """s = −(u/ε + v − ū)/T: ∇ᵥ log f of the law whose control is u."""
        return -(u / self.rate[:, None] + v - self.velocity) / self.temperature[:, None]


class Stage(eqx.Module):
    """A step before its control is known: all that does not depend on u, one row a particle.

    The step of size h with the control u is

        v' = v_free + h u(x, v),    x' = x_free + drift h u(x, v),
        log f' = log_f − log det(I + h M),    M = ∇ᵥu R − shear ∇ₓu,

    and it is exact: `response` R and −shear I are the blocks ∂v/∂v* and ∂x/∂v* of the inverse of
    the map S(x, v) = (x*, v*) over which u is carried. None is R = I and shear = 0, where u is
    taken after S. `drift` is None where the control moves no positions. `potential`: φ(x) of the
    flow, up to a function of x. `bath`: what the collisions relax to.
    """

    x: Float[Array, "n d_x"]  # where the control is evaluated
    v: Float[Array, "n d"]
    x_free: Float[Array, "n d_x"]  # where the particle arrives with u = 0
    v_free: Float[Array, "n d"]
    log_f: Float[Array, " n"]
    potential: Float[Array, " n"]
    bath: Bath  # None without collisions, where no control is asked for
    response: Float[Array, "n d d"] | None = None
    shear: Float[Array, " n"] | None = None
    drift: Float[Array, " n"] | None = None

    def take(self, rows: Int[Array, " m"] | slice) -> "Stage":
        """The stage of some of the particles, on every device."""
        return everywhere(jax.tree.map(lambda leaf: leaf[rows], self))


class Response(eqx.Module):
    """A control at the particles of a stage: u, M (see `Stage`) and the divergence ∇ᵥ·u."""

    u: Float[Array, "n d"]
    matrix: Float[Array, "n d d"]
    divergence: Float[Array, " n"]
