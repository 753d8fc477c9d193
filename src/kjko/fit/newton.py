"""The fit for controls that are gradients of a linear expansion."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Int, Key

from kjko.controls import Gradient
from kjko.features import AbstractBasis
from kjko.interfaces import AbstractFit, Control, FitResult, Stage
from kjko.methods.jko import extended_log
from kjko.subproblem import Subproblem
from kjko.transport import determinant, response

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FLOOR = 2e-6  # added to the normalised Gram matrix: what float32 resolves
SHORTER = (1.0, 0.5, 0.25, 0.125)  # fractions of the control that are tried
DET_MIN = 0.1  # least determinant of the move that is accepted at a fitted particle


class Newton(AbstractFit):
    """The JKO step by its optimality condition, from the density that the particles carry.

    With u = ∇ᵥψ the minimiser of the JKO objective satisfies at every particle, for some a(x),

        ψ + h/2 (1+εh) |∇ᵥψ|² + εh v·∇ᵥψ − εT₀ log det(I + h ∇ᵥ²ψ) + εT₀ g = a(x)
        g = log f + (½|v|² + φ(x))/T₀

    (its gradient in v is u = −ε (v' + T₀ ∇ᵥ log f'), (24) for the implicit step). g is known at
    every particle without noise: values of a function are fitted, not its score, and neither the
    sampling error of the objective's mean nor the optimism of its minimiser arise.

    With ψ = −εT₀ Φ·c the linear part is M c = g, M = Φ + εh (v·∇ᵥ − T₀Δᵥ)Φ. It is solved as a
    least-squares problem with a ridge, the one of five that does best on the `held_out` part of the
    particles; if none does better there than c = 0, the control is zero. The rest of the condition
    follows by Newton's iteration with that one factor, on all. No more than `particles` particles
    are used. Both choices are drawn anew at every step. A control that would nearly fold the map is
    shortened.

    Raises ValueError for a control that is not a `Gradient`, or an integrator that is no splitting.
    """

    held_out: float = 0.2
    particles: int = 10_000
    iterations: int = 3

    def __call__(
        self, subproblem: Subproblem, control: Control, previous: Control, stage: Stage, key: Key
    ) -> FitResult:
        if not isinstance(control, Gradient):
            raise ValueError("Newton fits a Gradient control; use Adam for any other")
        if stage.shear or stage.drift:
            raise ValueError("Newton needs a splitting integrator: StrangMidpoint or Lie")
        basis = control.basis.adapt(stage)
        rows = _random_rows(stage.v.shape[0], self.particles, key)
        stage = stage.take(rows)
        fitted = rows.size - round(self.held_out * rows.size)

        g = log_ratio(subproblem, stage)
        matrix = linear_part(basis, subproblem, stage)
        scale = jnp.sqrt(jnp.mean(matrix**2, axis=0)) + 1e-3
        matrix = matrix / scale[None]
        roughness = jnp.asarray(basis.roughness, dtype=g.dtype)

        gram = matrix[:fitted].T @ matrix[:fitted] / fitted
        right = matrix[:fitted].T @ g[:fitted] / fitted

        def candidate(ridge):
            c = cho_solve(_factor(gram, ridge * roughness), right)
            error = jnp.mean((matrix[fitted:] @ c - g[fitted:]) ** 2)
            return c, jnp.where(jnp.isfinite(error), error, jnp.inf)

        ridges = jnp.asarray(RIDGES, dtype=g.dtype)
        candidates, errors = jax.lax.map(candidate, ridges)
        best = jnp.argmin(errors)
        useful = errors[best] < jnp.mean(g[fitted:] ** 2)

        held_gram = matrix[fitted:].T @ matrix[fitted:] / rows.size
        factor = _factor(gram * (fitted / rows.size) + held_gram, ridges[best] * roughness)

        def to_control(c):
            return _with_coefficients(
                control,
                basis,
                -subproblem.problem.collision_rate * subproblem.problem.temperature * c / scale,
            )

        def iterate(c, _):
            r = residual(subproblem, to_control(c), stage, g)
            right = matrix.T @ r / rows.size - ridges[best] * roughness * c
            return c + cho_solve(factor, right), None

        c, _ = jax.lax.scan(iterate, jnp.zeros_like(right), length=self.iterations)
        c = jnp.where(useful & jnp.all(jnp.isfinite(c)), c, 0.0)
        c = c * _shortening(subproblem, to_control(c), stage)
        chosen = to_control(jnp.where(useful, candidates[best], 0.0))
        loss, _ = subproblem(chosen, jax.tree.map(lambda leaf: leaf[:fitted], stage))
        loss_heldout, _ = subproblem(chosen, jax.tree.map(lambda leaf: leaf[fitted:], stage))
        return FitResult(to_control(c), loss, loss_heldout, self.iterations)


def _random_rows(n: int, number: int, key: Key) -> Int[Array, " m"]:
    """At most `number` of n rows in random order: one of each of as many equal stretches."""
    place_key, order_key = jax.random.split(key)
    number = min(n, number)
    if number == n:
        return jax.random.permutation(order_key, n)
    edges = jnp.asarray(np.linspace(0, n, number + 1).astype(np.int32))
    rows = jax.random.randint(place_key, (number,), edges[:-1], edges[1:])
    return jax.random.permutation(order_key, rows)


def _factor(gram: Float[Array, "p p"], ridge: Float[Array, " p"]):
    return cho_factor(gram + jnp.diag(ridge + FLOOR))


def _with_coefficients(control: Gradient, basis: AbstractBasis, c: Float[Array, " p"]) -> Gradient:
    return eqx.tree_at(lambda u: (u.basis, u.coefficients), control, (basis, c))


def log_ratio(subproblem: Subproblem, stage: Stage) -> Float[Array, " n"]:
    """g = log f + (½|v|² + φ(x))/T₀ at the particles, minus its mean."""
    problem = subproblem.problem
    potential = jax.vmap(lambda x: problem.force.potential_energy(subproblem.force, x))(stage.x)
    energy = 0.5 * jnp.sum(stage.v**2, axis=-1) + potential
    g = stage.log_f + energy / problem.temperature
    return g - jnp.mean(g)


def linear_part(basis: AbstractBasis, subproblem: Subproblem, stage: Stage) -> Float[Array, "n p"]:
    """M = Φ + εh (v·∇ᵥ − T₀Δᵥ)Φ."""
    rate = subproblem.problem.collision_rate * subproblem.h
    temperature = subproblem.problem.temperature
    return jax.vmap(lambda x, v: basis.implicit(x, v, rate, temperature))(stage.x, stage.v)


def residual(
    subproblem: Subproblem, control: Gradient, stage: Stage, g: Float[Array, " n"]
) -> Float[Array, " n"]:
    """The optimality condition's left side, over −εT₀, but for the sign: zero at the solution."""
    problem, h = subproblem.problem, subproblem.h
    rate = problem.collision_rate
    psi = jax.vmap(control.potential)(stage.x, stage.v)
    by = response(control, stage)
    u = by.u
    quadratic = 0.5 * h * (1 + rate * h) * jnp.sum(u**2, axis=-1)
    linear = psi + quadratic + rate * h * jnp.sum(u * stage.v, axis=-1)
    return linear / (rate * problem.temperature) - extended_log(determinant(by.matrix, h)) + g


def _shortening(subproblem: Subproblem, control: Gradient, stage: Stage) -> Float[Array, ""]:
    """The largest of the fractions of a control up to which the map folds at no particle."""
    matrix = response(control, stage).matrix
    lowest = jnp.stack([jnp.min(determinant(s * matrix, subproblem.dt)) for s in SHORTER])
    safe = jnp.flip(jnp.cumprod(jnp.flip(lowest > DET_MIN)))  # and so for all smaller ones
    return jnp.max(jnp.asarray(SHORTER, dtype=stage.v.dtype) * safe)
