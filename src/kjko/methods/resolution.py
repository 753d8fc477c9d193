"""What of the density the particles resolve, and what becomes of the rest.

The control of a step sees no finer detail of f than its functions do, so that the map leaves such
detail alone: it would stay in log f for good, drawn by the flow into ever finer filaments, with
voids between them that no particle enters. The equation damps it at a rate of ε T k² and more, k
the resolution in v, and fills the voids. Both are done here to log f, at the rate ε; the particles
stay where they are. What is carried then is the density as far as it is resolved.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, Key

from kjko.bases import Quadratics
from kjko.bases.dense import Dense
from kjko.bases.scales import standard
from kjko.core import Particles, Stage, sums
from kjko.core.checks import is_traced
from kjko.core.precision import in_double, with_double
from kjko.core.rows import each_row, map_rows
from kjko.devices import alike, everywhere
from kjko.fit.conjugate_gradients import solve
from kjko.fit.held_out import some_rows
from kjko.interfaces import AbstractBasis, AbstractDesign
from kjko.problem import Problem
from kjko.reference.stationary import Stationary, stationary
from kjko.splitting.transport import BLOCK

ITERATIONS, NEWTON = 3, 6  # of the projection, at most, and of what is filled
TOLERANCE = 1e-2  # of the projection: the last change, relative to the first solution
RIDGE = 1e-5  # of functions scaled to unit mean square
LARGEST = 1.0  # of |g − ĝ| that a particle's share is taken of
PARTICLES = 12_000  # on which coefficients are found: more of them make little better
LARGEST_RATIO = math.exp(3.0)  # of f∞/f: a particle whose log f is far too low would be all of it
SLABS = 16  # of x, along each coordinate


class Equilibrium(eqx.Module):
    """f∞ = exp(−(½|v|² + φ(x))/T₀)/Z by its normaliser, its first two moments in x, and the `edges`
    between slabs of x with equal shares of it.
    """

    log_normaliser: Float[Array, ""]
    mean: Float[Array, " d_x"]
    covariance: Float[Array, "d_x d_x"]
    edges: Float[Array, "d_x k"]
    temperature: Float[Array, ""]
    periodic: bool = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Problem, particles: Particles) -> "Equilibrium | None":
        """None where it is not known, or the problem is traced."""
        if any(map(is_traced, jax.tree.leaves(problem))):
            return None
        with jax.ensure_compile_time_eval():  # of numbers, also where a state is only outlined
            law = stationary(problem, particles.x.shape[1], particles.v.shape[1])
        return None if law is None else cls.by(law, problem, particles.v.dtype)

    @classmethod
    def by(cls, law: Stationary, problem: Problem, dtype: Any) -> "Equilibrium":
        """The stationary law of a problem as arrays."""
        edges = law.quantiles(np.arange(1, SLABS) / SLABS)
        numbers = (law.log_normaliser, law.mean, law.covariance, edges, problem.temperature)
        return cls(*(jnp.asarray(n, dtype) for n in numbers), periodic=problem.box is not None)

    def ratios(
        self, x: Float[Array, "n d_x"], g: Float[Array, " n"]
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """f∞/f = e^{−g} at the particles, and how far their mean m tells of voids among them.

        What m lacks to one is the part of f∞ where no particles are: voids that a density carried
        by maps does not know of, or else a well that f has not reached. The weight is the product
        of ((1 − χ²)/(1 + χ²))₊, χ² the mean of (e^{−g} − 1)², which is zero far from f∞, and of
        (1 − 2R)₊. R is how much of what is missing is missing from whole slabs of x: with q_i the
        shares that slabs have of the ratios, and p of f∞, it is Σ (q_i − p)²/p, less twice what
        chance makes of it, over 1/m − 1, of the coordinate where it is largest. By Cauchy's and
        Schwarz' inequality it is at most one, and it is one for a well without particles that is
        made of whole slabs. Less chance once, the weight would go up and down from step to step
        where little is missing, and the free energy with it.
        """
        ratio = jnp.minimum(jnp.exp(-g), LARGEST_RATIO)
        mean, square = sums.mean(ratio), sums.mean((ratio - 1) ** 2)
        near = jnp.clip((1 - square) / (1 + square), 0.0, 1.0)
        slab = jnp.sum(x[:, :, None] > self.edges[None], axis=2)
        is_in = slab[:, :, None] == jnp.arange(SLABS)[None, None]
        shares = sums.mean(jnp.where(is_in, ratio[:, None, None], 0.0)) / mean
        chance = (SLABS - 1) * sums.mean(ratio**2) / mean**2 / g.size
        apart = jnp.max(SLABS * jnp.sum((shares - 1 / SLABS) ** 2, axis=1))
        elsewhere = jnp.maximum(apart - 2 * chance, 0.0) / jnp.abs(1 / mean - 1)
        weight = near * jnp.clip(1 - 2 * elsewhere, 0.0, 1.0)
        return ratio, jnp.where(weight > 0, weight, 0.0)  # no number where all are far off

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


class Resolution(eqx.Module):
    """What is done to log f at a point (x, v), the coefficients once found.

    With g = log f + (½|v − ū|² + φ(x))/T − `offset`, ĝ its projection on the functions of a basis
    and φ, and Φ the quadratics that fill voids,

        log f' = log f + share (Φ·c − clip(g − ĝ)) − lift,    share = 1 − e^(−ε time).
    """

    time: Float[Array, ""]
    offset: Float[Array, ""]
    potential: tuple[Float[Array, ""], Float[Array, ""]]  # mean and deviation of φ
    coefficients: Float[Array, " p"]  # of the basis
    of_potential: Float[Array, ""]
    quadratics: Quadratics
    filling: Float[Array, " q"]
    lift: Float[Array, ""]

    @classmethod
    def none(
        cls, basis: AbstractBasis, stage: Stage, equilibrium: Equilibrium | None
    ) -> "Resolution":
        """The one that leaves log f as it is."""
        zero = jnp.zeros((), stage.v.dtype)
        periodic = equilibrium is None or equilibrium.periodic
        quadratics = Quadratics(stage.x.shape[1], periodic, stage.v.shape[1]).adapt(stage)
        p, q = (jnp.zeros(n, zero.dtype) for n in (basis.size, quadratics.size))
        return cls(zero, zero, (zero, zero + 1), p, zero, quadratics, q, zero)

    def __call__(self, basis: AbstractBasis, stage: Stage) -> Float[Array, " n"]:
        """log f' at the particles of a stage."""
        mean, width = self.potential
        energy = 0.5 * jnp.sum((stage.v - stage.bath.velocity) ** 2, axis=-1) + stage.potential
        g = stage.log_f + energy / stage.bath.temperature - self.offset

        rows = (stage.x, stage.v, g, (stage.potential - mean) / width)
        changes = map_rows(eqx.Partial(self._change, basis), rows, BLOCK)
        return stage.log_f + self.share(stage) * changes - self.lift

    def _change(
        self,
        basis: AbstractBasis,
        x: Float[Array, " d_x"],
        v: Float[Array, " d"],
        g: Float[Array, ""],
        potential: Float[Array, ""],
    ) -> Float[Array, ""]:
        """Φ·c − clip(g − ĝ) at one particle."""
        explained = basis.potential(x, v, self.coefficients) + self.of_potential * potential
        filled = self.filling @ self.quadratics.values(x, v)
        return filled - jnp.clip(g - explained, -LARGEST, LARGEST)

    def share(self, stage: Stage) -> Float[Array, " n"]:
        """How much of it is done, by the rate of the collisions at each particle."""
        return 1 - jnp.exp(-stage.bath.rate * self.time)


def resolution(
    stage: Stage,
    basis: AbstractBasis,
    ridge: Float[Array, ""],
    equilibrium: Equilibrium | None,
    time: Float[Array, ""],
    key: Key[Array, ""],
) -> tuple[Resolution, Float[Array, " n"]]:
    """What collisions over a `time` do to log f at the particles of a stage; and log f after it.

    Functions are fitted with a `ridge`. Where the equilibrium is known, voids are filled.
    Coefficients are found on 12,000 particles at most. The mean of log f, and with it the free
    energy, is not raised.
    """
    bath, potential = stage.bath, stage.potential
    mean, width = standard(potential)
    energy = 0.5 * jnp.sum((stage.v - bath.velocity) ** 2, axis=-1) + potential
    g = stage.log_f + energy / bath.temperature
    offset = sums.mean(g)
    rows = some_rows(g.size, PARTICLES, key)
    some, g_some = stage.take(rows), everywhere(g[rows])
    standardised = (some.potential - mean) / width
    c = alike(_explained, basis, some, standardised, g_some - offset, ridge)
    solved = jnp.all(jnp.isfinite(c))  # else rounding has left the equations indefinite
    c = jnp.where(solved, c, 0.0)
    time = jnp.where(solved, time, 0.0)
    of_basis, of_potential = c[: basis.size], jnp.sum(c[basis.size :])
    found = eqx.tree_at(
        lambda r: (r.time, r.offset, r.potential, r.coefficients, r.of_potential),
        Resolution.none(basis, stage, equilibrium),
        (time, offset, (mean, width), of_basis, of_potential),
    )
    log_f = found(basis, stage)
    if equilibrium is not None:
        g = log_f + energy / bath.temperature + equilibrium.log_normaliser
        c = alike(_filling, equilibrium, found.quadratics, some, everywhere(g[rows]))
        found = eqx.tree_at(lambda r: r.filling, found, c)
        filled = each_row(eqx.Partial(_filled, found.quadratics, c), stage.x, stage.v)
        log_f += found.share(stage) * filled
    lift = jnp.maximum(sums.mean(log_f - stage.log_f), 0.0)
    return eqx.tree_at(lambda r: r.lift, found, lift), log_f - lift


def _explained(
    basis: AbstractBasis,
    stage: Stage,
    potential: Float[Array, " n"],
    g: Float[Array, " n"],
    ridge: Float[Array, ""],
) -> Float[Array, " p"]:
    """The coefficients of ĝ: of the basis, and then of φ, in its units, where it is a function of
    its own.
    """

    def found(*given):
        basis, stage, potential, values, ridge = in_double(given)
        flat = jnp.zeros_like(stage.v)
        design = basis.design(stage, flat, jnp.zeros((*flat.shape, flat.shape[1]), flat.dtype))
        if isinstance(design, Dense):  # where there are few functions of x
            design = design.with_column(potential)
        return projection(design, values, ridge).astype(g.dtype)

    return with_double(found, basis, stage, potential, g, ridge)


def projection(
    design: AbstractDesign, g: Float[Array, " n"], ridge: Float[Array, ""]
) -> Float[Array, " p"]:
    """c with E_f[(e^{ĝ − g} − 1) Φ] = 0, ĝ = Φ·c, but for the ridge: it keeps the particles'
    moments of Φ.

    e^ĝ f∞ is the density in exp(span Φ) with these moments. A convex problem, by Newton's iteration
    with the matrix of the least-squares fit, from which it starts.
    """
    gram = design.gram()
    factor = design.factor(gram, ridge)

    def better(carry):
        c, explained, _, most, count = carry
        missing = 1 - jnp.exp(jnp.clip(explained - g, -5.0, LARGEST))
        missing = jnp.where(count == 0, g, missing)
        right = design.transpose(missing) / g.size - design.penalty(c, ridge)
        change = solve(design, gram, ridge, factor, right)
        of_change = design.apply(change)
        square = sums.mean(of_change**2)
        most = jnp.where(count == 0, square, most)
        return c + change, explained + of_change, square, most, count + 1

    def is_rough(carry):
        *_, square, most, count = carry
        return (count == 0) | ((square > TOLERANCE**2 * most) & (count <= ITERATIONS))

    zero, none = jnp.zeros(design.transpose(g).shape, g.dtype), jnp.zeros((), g.dtype)
    state = (zero, jnp.zeros_like(g), none, none, jnp.asarray(0))
    return jax.lax.while_loop(is_rough, better, state)[0]


def _filled(
    quadratics: Quadratics, c: Float[Array, " q"], x: Float[Array, " d_x"], v: Float[Array, " d"]
) -> Float[Array, ""]:
    return quadratics.values(x, v) @ c


def _filling(
    equilibrium: Equilibrium, quadratics: Quadratics, stage: Stage, g: Float[Array, " n"]
) -> Float[Array, " q"]:
    """The coefficients of what is filled."""
    values = jax.vmap(quadratics.values)(stage.x, stage.v)
    ratio, weight = equilibrium.ratios(stage.x, g)
    return filling(values, ratio, equilibrium.means(quadratics), weight)


def filling(
    functions: Float[Array, "n p"],
    ratio: Float[Array, " n"],
    means: Float[Array, " p"],
    weight: Float[Array, ""] | float,
) -> Float[Array, " p"]:
    """c with E_f[(f∞/f) e^{−Φ·c} Φ] = ∫ Φ f∞ = `means`, as far as it is certain, times a `weight`.

    For the true density both are the same with c = 0. What is missing in the mean is what the
    equation has filled and the particles have not: the density of the particles, as a sample, is
    lower there. James' and Stein's factor (1 − p/W)₊, W the χ² of what is missing, leaves noise
    alone.
    """
    n, p = functions.shape
    terms = functions * ratio[:, None]
    missing = sums.mean(terms) - means
    deviations = terms - sums.mean(terms)[None]
    spread = deviations.T @ deviations / n
    chi_square = n * missing @ _solve(spread, missing)
    certain = jnp.maximum(0.0, 1 - p / chi_square) * weight

    def better(_, c):
        now = ratio * jnp.exp(jnp.clip(-functions @ c, -2.0, 2.0))
        step = _solve(_normal(functions, now), now @ functions / n - means)
        return c + step / jnp.maximum(1.0, jnp.max(jnp.abs(functions @ step)))

    c = jax.lax.fori_loop(0, NEWTON, better, jnp.zeros_like(means))
    return jnp.where(certain > 0, certain * c, 0.0)


def _normal(functions: Float[Array, "n p"], weights: Float[Array, " n"]) -> Float[Array, "p p"]:
    """Φᵀ w Φ/n."""
    return (functions * weights[:, None]).T @ functions / weights.size


def _solve(matrix: Float[Array, "p p"], right: Float[Array, " p"]) -> Float[Array, " p"]:
    """c with (matrix + ridge) c = right; zero where rounding has left it indefinite."""
    ridge = RIDGE * jnp.trace(matrix) / right.size * jnp.eye(right.size, dtype=right.dtype)
    c = cho_solve(cho_factor(matrix + ridge), right)
    return jnp.where(jnp.all(jnp.isfinite(c)), c, 0.0)
