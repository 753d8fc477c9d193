"""The optimality condition of a JKO step, for a control that is a gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Stage, sums
from kjko.interfaces import AbstractCondition, AbstractLinearControl
from kjko.methods.barrier import extended_log
from kjko.splitting.transport import determinant, response


class Optimality(AbstractCondition):
    """What u = ∇ᵥψ, the minimiser of the JKO objective, satisfies at every particle.

        ψ + h/2 (1+εh) |∇ᵥψ|² + εh (v−ū)·∇ᵥψ − εT log det(I + h ∇ᵥ²ψ) + εT g = a(x)
        g = log f + (½|v−ū|² + φ(x))/T

    for some a(x): its gradient in v is u = −ε (v' − ū + T ∇ᵥ log f'), (24) for the implicit step. g
    is known at every particle without noise: values of a function are fitted, not its score, and
    neither the sampling error of the objective's mean nor the optimism of its minimiser arise.

    ψ = −σ Φ·c, σ the largest εT; `residual` is the left side over σ, minus the mean of εT g/σ, and
    to first order in h (εT/σ) g − (1 + εh ((v−ū)·∇ᵥ − T Δᵥ)) Φ·c.
    """

    control: AbstractLinearControl
    stage: Stage
    h: Float[Array, ""]
    strength: Float[Array, ""]  # σ
    share: Float[Array, " n"]  # εT/σ
    right: Float[Array, " n"]  # εT g/σ minus its mean

    @classmethod
    def at(cls, control: AbstractLinearControl, stage: Stage, h: Float[Array, ""]) -> "Optimality":
        bath = stage.bath
        energy = 0.5 * jnp.sum((stage.v - bath.velocity) ** 2, axis=-1) + stage.potential
        strengths = bath.rate * bath.temperature
        strength = jnp.max(strengths)
        share = strengths / strength
        g = share * (stage.log_f + energy / bath.temperature)
        return cls(control, stage, h, strength, share, g - sums.mean(g))

    @property
    def _rate(self) -> Float[Array, " n"]:
        """εh."""
        return self.stage.bath.rate * self.h

    def residual(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        control = self.control_of(c)
        by = response(control, self.stage)
        psi = jax.vmap(control.potential)(self.stage.x, self.stage.v)
        quadratic = 0.5 * self.h * (1 + self._rate) * jnp.sum(by.u**2, axis=-1)
        relative = self.stage.v - self.stage.bath.velocity
        left = psi + quadratic + self._rate * jnp.sum(by.u * relative, axis=-1)
        log_det = extended_log(determinant(by.matrix, self.h))
        return left / self.strength - self.share * log_det + self.right

    def directions(
        self, c: Float[Array, " p"]
    ) -> tuple[Float[Array, "n d"], Float[Array, "n d d"]]:
        by, rate = response(self.control_of(c), self.stage), self._rate[:, None]
        relative = self.stage.v - self.stage.bath.velocity
        slope = self.h * (1 + rate) * by.u + rate * relative

        def log_det(matrix):
            return jnp.sum(extended_log(determinant(matrix, self.h)))

        return slope, (self.strength * self.share)[:, None, None] * jax.grad(log_det)(by.matrix)
