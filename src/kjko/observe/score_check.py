"""The score of the particles against their own law, by integration by parts."""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.bases.scales import Scales
from kjko.core import Particles, State
from kjko.interfaces import AbstractObservable, AbstractStepInfo, Applied, Record
from kjko.problem import Problem

FIELDS, SEED = 16, 0  # ridges in directions that are drawn once and for all
PARTICLES = 50_000  # at most
CHANCE = 3.0  # standard errors


class ScoreCheck(AbstractObservable):
    """`score_check`: what the control's score s = −(u/ε + v − ū)/T is wrong by, at least, relative
    to its root mean square, as far as chance does not do it.

        E_f[∇ᵥ·w + w·∇ᵥ log f] = 0,    so    |E_f[∇ᵥ·w + w·s]| ≤ ‖w‖ ‖s − ∇ᵥ log f‖

    for every field w, the norms those of L²(f). The fields are tanh(q·(x, v) + b) along each v_k,
    with fixed q and b, x and v in standard deviations, x in a periodic box by its sine and cosine.
    Of the largest left side three standard errors are taken. Null without a control.
    """

    keys: ClassVar[tuple[str, ...]] = ("score_check",)

    def record(
        self,
        problem: Problem,
        state: State,
        info: AbstractStepInfo | None,
        measured: Mapping[str, np.ndarray],
    ) -> Record:
        if info is None or info.applied is None:
            return {"score_check": None}
        number = float(_least_error(problem, info.applied))
        return {"score_check": number if np.isfinite(number) else None}


@eqx.filter_jit
def _least_error(problem: Problem, applied: Applied) -> Float[Array, ""]:
    rows = slice(None, None, -(-len(applied.u) // PARTICLES))
    particles, u = jax.tree.map(lambda leaf: leaf[rows], (applied.particles, applied.u))
    v = particles.v
    bath = problem.collisions.freeze(particles.x, v)
    if bath is None:
        return jnp.asarray(jnp.nan)
    score = -(u / bath.rate[:, None] + v - bath.velocity) / bath.temperature[:, None]
    fields, slopes = _fields(problem, particles)
    terms = slopes + fields[:, :, None] * score[:, None]
    error = CHANCE * jnp.std(terms, axis=0) / np.sqrt(len(v))
    beyond = jnp.maximum(jnp.abs(jnp.mean(terms, axis=0)) - error, 0.0)
    norms = jnp.sqrt(jnp.mean(fields**2, axis=0) * jnp.mean(jnp.sum(score**2, axis=1)))
    return jnp.max(beyond / norms[:, None])


def _fields(
    problem: Problem, particles: Particles
) -> tuple[Float[Array, "n k"], Float[Array, "n k d"]]:
    """φ = tanh(q·(x, v) + b), and ∇ᵥφ."""
    x, v, scales = particles.x, particles.v, Scales.of(particles)
    z = (v - scales.v_mean[None]) / scales.v_width[None]
    if problem.box is None:
        y = (x - scales.x_mean[None]) / scales.x_width[None]
    else:
        phase = 2 * np.pi * x / jnp.asarray(problem.box.length, x.dtype)[None]
        y = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)
    draw = np.random.default_rng(SEED)
    directions = draw.normal(size=(FIELDS, y.shape[1] + z.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True) / 1.5
    q, b = (jnp.asarray(a, v.dtype) for a in (directions, draw.normal(size=(1, FIELDS)) / 2))
    fields = jnp.tanh(jnp.concatenate([y, z], axis=1) @ q.T + b)
    in_v = q[:, y.shape[1] :] / scales.v_width[None]
    return fields, (1 - fields**2)[:, :, None] * in_v[None]
