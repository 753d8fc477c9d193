"""The optimality condition of a JKO step, for a control that is a gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.controls import Gradient
from kjko.features.basis import AbstractDesign
from kjko.interfaces import Response, Stage
from kjko.methods.jko import extended_log
from kjko.subproblem import Subproblem
from kjko.transport import determinant, response


class Optimality(eqx.Module):
    """What u = ∇ᵥψ, the minimiser of the JKO objective, satisfies at every particle.

        ψ + h/2 (1+εh) |∇ᵥψ|² + εh v·∇ᵥψ − εT₀ log det(I + h ∇ᵥ²ψ) + εT₀ g = a(x)
        g = log f + (½|v|² + φ(x))/T₀

    for some a(x): its gradient in v is u = −ε (v' + T₀ ∇ᵥ log f'), (24) for the implicit step. g is
    known at every particle without noise: values of a function are fitted, not its score, and
    neither the sampling error of the objective's mean nor the optimism of its minimiser arise.

    ψ = −εT₀ Φ·c; `residual` is the left side over εT₀, minus the mean of g, and to first order in h
    g − (1 + εh (v·∇ᵥ − T₀Δᵥ)) Φ·c.
    """

    subproblem: Subproblem
    control: Gradient
    stage: Stage
    g: Float[Array, " n"]  # minus its mean

    @classmethod
    def at(cls, subproblem: Subproblem, control: Gradient, stage: Stage) -> "Optimality":
        problem, force = subproblem.problem, subproblem.force
        potential = jax.vmap(lambda x: problem.force.potential_energy(force, x))(stage.x)
        energy = 0.5 * jnp.sum(stage.v**2, axis=-1) + potential
        g = stage.log_f + energy / problem.temperature
        return cls(subproblem, control, stage, g - jnp.mean(g))

    @property
    def _strength(self) -> float:
        """εT₀."""
        return self.subproblem.problem.collision_rate * self.subproblem.problem.temperature

    @property
    def _rate(self) -> float:
        """εh."""
        return self.subproblem.problem.collision_rate * self.subproblem.h

    def control_of(self, c: Float[Array, " p"]) -> Gradient:
        return eqx.tree_at(lambda u: u.coefficients, self.control, -self._strength * c)

    def response(self, c: Float[Array, " p"]) -> Response:
        """u and ∇ᵥu at the particles."""
        return response(self.control_of(c), self.stage)

    def residual(self, c: Float[Array, " p"]) -> Float[Array, " n"]:
        by, h = self.response(c), self.subproblem.h
        psi = jax.vmap(self.control_of(c).potential)(self.stage.x, self.stage.v)
        quadratic = 0.5 * h * (1 + self._rate) * jnp.sum(by.u**2, axis=-1)
        left = psi + quadratic + self._rate * jnp.sum(by.u * self.stage.v, axis=-1)
        return left / self._strength - extended_log(determinant(by.matrix, h)) + self.g

    def linearise(self, by: Response) -> AbstractDesign:
        """The matrix with which a change of c lowers the residual, at a control."""
        slope = self.subproblem.h * (1 + self._rate) * by.u + self._rate * self.stage.v

        def log_det(matrix):
            return jnp.sum(extended_log(determinant(matrix, self.subproblem.h)))

        curvature = self._strength * jax.grad(log_det)(by.matrix)
        return self.control.basis.design(self.stage, slope, curvature)
