"""The score of the particles against their own law, by integration by parts."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.bases.scales import Scales
from kjko.core import Bath, Particles, State, sums
from kjko.core.rows import spread_rows
from kjko.devices import alike, everywhere
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Applied
from kjko.problem import Problem

FIELDS, SEED = 16, 0  # ridges in directions that are drawn once and for all
PARTICLES = 50_000  # at most
FEWEST = 100
CHANCE = 3.0  # standard errors


class ScoreCheck(AbstractObservable):
    """`score_check`: a lower bound on the relative error ‖s − ∇ᵥ log f‖/‖s‖ of the control's score
    s = −(u/ε + v − ū)/T, in the norm of L²(f). For every field w

        E_f[∇ᵥ·w + w·∇ᵥ log f] = 0,    so    |E_f[∇ᵥ·w + w·s]| ≤ ‖w‖ ‖s − ∇ᵥ log f‖.

    The fields are tanh(q·(x, v) + b) along each v_k, with fixed q and b, x and v in standard
    deviations, x in a periodic box by its sine and cosine. From each mean over the particles three
    of its standard errors are taken, and the largest of the bounds is the result. Null without a
    control, with fewer than 100 particles, and where u is not meant to be exactly this: for a
    control that acts before the flow, and for the linear log-determinant.
    """

    keys: ClassVar[tuple[str, ...]] = ("score_check",)

    def measure(
        self, problem: Problem, state: State, info: AbstractStepInfo | None
    ) -> dict[str, Array]:
        applied = None if info is None else info.applied
        if applied is None or not applied.exact or len(applied.u) < FEWEST:
            return {}
        return {"score_check": _least_error(problem, applied)}


def _least_error(problem: Problem, applied: Applied) -> Float[Array, ""]:
    everyone = applied.particles
    bath = problem.collisions.freeze(everyone.x, everyone.v)
    rows = spread_rows(len(applied.u), PARTICLES)
    some = jax.tree.map(lambda leaf: leaf[rows], (everyone, applied.u, bath))
    return alike(_of_sample, problem, *everywhere(some))


def _of_sample(
    problem: Problem, particles: Particles, u: Float[Array, "n d"], bath: Bath
) -> Float[Array, ""]:
    score = bath.score_of(u, particles.v)
    fields, slopes = _fields(problem, particles)
    terms = slopes + fields[:, :, None] * score[:, None]
    error = CHANCE * sums.deviation(terms) / math.sqrt(len(u))
    beyond = jnp.maximum(jnp.abs(sums.mean(terms)) - error, 0.0)
    norms = jnp.sqrt(sums.mean(fields**2) * sums.mean(jnp.sum(score**2, axis=1)))
    return jnp.max(beyond / norms[:, None])


def _fields(
    problem: Problem, particles: Particles
) -> tuple[Float[Array, "n k"], Float[Array, "n k d"]]:
    """φ = tanh(q·(x, v) + b), and ∇ᵥφ."""
    scales = Scales.of(particles)
    length = None if problem.box is None else problem.box.length
    inputs = jax.vmap(lambda x, v: scales.inputs(x, v, length))
    y, z = inputs(particles.x, particles.v)
    draw = np.random.default_rng(SEED)
    directions = draw.normal(size=(FIELDS, y.shape[1] + z.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True) / 1.5
    q, b = (jnp.asarray(a, z.dtype) for a in (directions, draw.normal(size=(1, FIELDS)) / 2))
    fields = jnp.tanh(jnp.concatenate([y, z], axis=1) @ q.T + b)
    in_v = q[:, y.shape[1] :] / scales.v_width[None]
    return fields, (1 - fields**2)[:, :, None] * in_v[None]
