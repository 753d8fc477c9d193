"""What of the density the particles resolve, and what becomes of the rest.

The control of a step sees no finer detail of f than its functions do, so that the map leaves such
detail alone: it would stay in log f for good, drawn by the flow into ever finer filaments, with
voids between them that no particle enters. The equation damps it at a rate of ε T k² and more, k
the resolution in v, and fills the voids. Both are done here to log f, at the rate ε; the particles
stay where they are. What is carried then is the density as far as it is resolved.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Key

from kjko.bases import Quadratics
from kjko.bases.scales import standardised
from kjko.core import Particles, Stage
from kjko.core.checks import is_traced
from kjko.fit.held_out import random_rows
from kjko.interfaces import AbstractTrainableBasis
from kjko.problem import Problem
from kjko.reference import stationary
from kjko.splitting.transport import BLOCK

LEAST_SQUARES, NEWTON = 4, 6  # iterations
RIDGE = 1e-5  # of functions scaled to unit mean square
TYPICAL = 4.5  # medians of |g − ĝ| from which on a particle counts less
LARGEST = 1.0  # of |g − ĝ| that a particle's share is taken of
PARTICLES = 50_000  # on which coefficients are found
TINY = 1e-9


class Equilibrium(eqx.Module):
    """f∞ = exp(−(½|v|² + φ(x))/T₀)/Z by its normaliser and its first two moments in x."""

    log_normaliser: Float[Array, ""]
    mean: Float[Array, " d_x"]
    covariance: Float[Array, "d_x d_x"]
    temperature: Float[Array, ""]
    periodic: bool = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Problem, particles: Particles) -> "Equilibrium | None":
        """None where it is not known, or the problem is traced."""
        if any(map(is_traced, jax.tree.leaves(problem))):
            return None
        with jax.ensure_compile_time_eval():  # of numbers, also where a state is only outlined
            law = stationary(problem, particles.x.shape[1], particles.v.shape[1])
        if law is None:
            return None
        numbers = (law.log_normaliser, law.mean, law.covariance, problem.temperature)
        dtype = particles.v.dtype
        return cls(*(jnp.asarray(n, dtype) for n in numbers), periodic=problem.box is not None)

    def means(self, functions: Quadratics) -> Float[Array, " p"]:
        """∫ Φ f∞."""
        s = functions.scales
        mean, covariance = -s.v_mean, self.temperature * jnp.eye(s.v_mean.size)
        width = s.v_width
        if not functions.periodic:
            mean = jnp.concatenate([self.mean - s.x_mean, mean])
            covariance = jax.scipy.linalg.block_diag(self.covariance, covariance)
            width = jnp.concatenate([s.x_width, width])
        mean = mean / width
        second = covariance / jnp.outer(width, width) + jnp.outer(mean, mean)
        rows = np.triu_indices(mean.size)
        return jnp.concatenate([jnp.ones(1, mean.dtype), mean, second[rows]])


def resolved(
    stage: Stage,
    basis: AbstractTrainableBasis,
    equilibrium: Equilibrium | None,
    collisions: Float[Array, ""],
    key: Key[Array, ""],
) -> Float[Array, " n"]:
    """log f at the particles of a stage after `collisions`, a time in units of 1/ε.

    g = log f + (½|v − ū|² + φ(x))/T goes towards its projection on the span of `basis` and φ; where
    the equilibrium is known, voids are filled. Coefficients are found on 50,000 particles at most.
    """
    share = 1 - jnp.exp(-collisions)
    bath = stage.bath
    energy = 0.5 * jnp.sum((stage.v - bath.velocity) ** 2, axis=-1) + stage.potential
    rows = random_rows(stage.v.shape[0], PARTICLES, key)
    potential = standardised(stage.potential)

    def functions(x, v, potential):
        return jnp.append(basis.values(x, v), potential)

    def expanded(values, c, *coordinates):
        """Σ c Φ at all particles."""
        return jax.lax.map(lambda at: values(*at) @ c, coordinates, batch_size=BLOCK)

    g = stage.log_f + energy / bath.temperature
    g -= jnp.mean(g)
    all_of_them = (stage.x, stage.v, potential)
    c = projection(jax.vmap(functions)(*(a[rows] for a in all_of_them)), g[rows])
    excess = g - expanded(functions, c, *all_of_them)
    log_f = stage.log_f - share * jnp.clip(excess, -LARGEST, LARGEST)
    if equilibrium is None:
        return log_f
    d_x, d = stage.x.shape[1], stage.v.shape[1]
    quadratics = Quadratics(d_x, equilibrium.periodic, d).adapt(stage)
    g = log_f + energy / bath.temperature + equilibrium.log_normaliser
    values = jax.vmap(quadratics.values)(stage.x[rows], stage.v[rows])
    c = filling(values, g[rows], equilibrium.means(quadratics))
    return log_f + share * expanded(quadratics.values, c, stage.x, stage.v)


def projection(functions: Float[Array, "n p"], g: Float[Array, " n"]) -> Float[Array, " p"]:
    """c with E_f[(e^{ĝ − g} − 1) Φ] = 0, ĝ = Φ·c: it keeps the particles' moments of Φ.

    e^ĝ f∞ is the density in exp(span Φ) with these moments. A convex problem, by Newton's iteration
    from the robust least-squares fit.
    """
    size = jnp.sqrt(jnp.mean(functions**2, axis=0))
    size = jnp.maximum(size, RIDGE * jnp.max(size))
    functions = functions / size[None]
    n = g.size
    c, weights = jnp.zeros_like(size), jnp.ones_like(g)
    for _ in range(LEAST_SQUARES):
        right = functions.T @ (weights * (g - functions @ c)) / n
        c = c + _solve(_normal(functions, weights), right)
        rest = jnp.abs(g - functions @ c)
        weights = 1 / jnp.maximum(1.0, rest / (TYPICAL * jnp.median(rest) + TINY))
    for _ in range(NEWTON):
        log_ratio = functions @ c - g
        ratio = jnp.exp(jnp.clip(log_ratio, -5.0, LARGEST))
        weights = jnp.where(log_ratio < LARGEST, ratio, 0.0)
        step = _solve(_normal(functions, weights), functions.T @ (ratio - 1) / n)
        c = c - step / jnp.maximum(1.0, jnp.max(jnp.abs(functions @ step)) / 2)
    return c / size


def filling(
    functions: Float[Array, "n p"], g: Float[Array, " n"], means: Float[Array, " p"]
) -> Float[Array, " p"]:
    """c with E_f[e^{−g − Φ·c} Φ] = ∫ Φ f∞ = `means`, g = log f − log f∞; as far as it is certain.

    For the true density both are the same with c = 0. What is missing in the mean is what the
    equation has filled and the particles have not: the density of the particles, as a sample, is
    lower there. James' and Stein's factor (1 − p/W)₊, W the χ² of what is missing, leaves noise
    alone, and nothing is done where e^{−g} is carried by less than half of the particles.
    """
    n, p = functions.shape
    ratio = jnp.exp(jnp.clip(-g, -20.0, 3.0))
    terms = functions * ratio[:, None]
    missing = jnp.mean(terms, axis=0) - means
    deviations = terms - jnp.mean(terms, axis=0)[None]
    spread = deviations.T @ deviations / n
    chi_square = n * missing @ _solve(spread, missing)
    carried = jnp.mean(ratio) ** 2 / jnp.mean(ratio**2)
    certain = jnp.maximum(0.0, 1 - p / chi_square) * jnp.clip(2 * carried - 1, 0.0, 1.0)
    c = jnp.zeros_like(means)
    for _ in range(NEWTON):
        now = ratio * jnp.exp(jnp.clip(-functions @ c, -2.0, 2.0))
        step = _solve(_normal(functions, now), functions.T @ now / n - means)
        c = c + step / jnp.maximum(1.0, jnp.max(jnp.abs(functions @ step)))
    return jnp.where(certain > 0, certain * c, 0.0)


def _normal(functions: Float[Array, "n p"], weights: Float[Array, " n"]) -> Float[Array, "p p"]:
    """Φᵀ w Φ/n."""
    return (functions * weights[:, None]).T @ functions / weights.size


def _solve(matrix: Float[Array, "p p"], right: Float[Array, " p"]) -> Float[Array, " p"]:
    """c with (matrix + ridge) c = right; zero where rounding has left it indefinite."""
    ridge = RIDGE * jnp.trace(matrix) / right.size * jnp.eye(right.size, dtype=right.dtype)
    c = cho_solve(cho_factor(matrix + ridge), right)
    return jnp.where(jnp.all(jnp.isfinite(c)), c, 0.0)
