"""A collision in parts, as many as what it meets asks for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kjko.core import Bath, Response, sums

ATTEMPTS = 64  # at parts in a step
STRAIN = 0.35  # of a part, at most: the midpoint rule is wrong by strain³/12
AIM = 0.28  # that the next part is made for
SMALLEST = 1e-6  # εΔt of a part that is taken whatever its strain
RELAXED = 6.0  # εΔt after which a collision is over: e⁻⁶ of it is left
CALMER = 2.0  # parts grow as e^(τ/2) while what they have to do falls as e^(−τ)
LONGEST = 2.0  # εΔt up to which they grow
MANY = 10  # equal parts at most
ROUNDING = 1e-5


def odd_number(parts: Float[Array, ""]) -> Int[Array, ""]:
    """The least odd number of parts that is no less than so many, but for rounding."""
    return 2 * jnp.ceil(jnp.maximum(parts - 1, 0) / 2 - ROUNDING).astype(jnp.int32) + 1


def strain(by: Response, dt: Float[Array, ""]) -> Float[Array, ""]:
    """How far a move stretches velocities: the largest root mean square of a row of Δt M."""
    return dt * jnp.sqrt(jnp.max(sums.mean(jnp.sum(by.matrix**2, axis=2))))


class Progress(NamedTuple):
    """How much time of the `total` of a collision is `done`, in how many `parts` and `attempts`,
    and the `limit` of the next part by the strain of the one before.
    """

    total: Float[Array, ""]
    done: Float[Array, ""]
    parts: Int[Array, ""]
    attempts: Int[Array, ""]
    limit: Float[Array, ""]


def in_parts(
    attempt: Callable[[Progress, Float[Array, ""], Any], tuple[Any, Float[Array, ""]]],
    start: Any,
    bath: Bath,
    dt: Float[Array, ""],
    largest: float,
    limit: Float[Array, ""],
) -> tuple[Any, Progress]:
    """The result of a collision over Δt, from `start` on; not all of Δt is `done` where it cannot
    be cut fine enough.

    `attempt` does a part of some length on top of a result, and tells its strain; where that is too
    large it is done again with a shorter one. Parts are of εΔt ≤ `largest`, and an odd number of
    equal ones if none is too large, so that one is in the middle; where there would be many, later
    ones are longer. Results are pytrees of arrays.
    """
    rate = jnp.max(bath.rate)
    total = jnp.minimum(dt, RELAXED / jnp.min(bath.rate))
    equal = rate * total / odd_number(rate * total / largest)

    def length_of(progress):
        calm = jnp.exp(rate * progress.done / CALMER)
        growing = jnp.minimum(largest * calm, max(largest, LONGEST))
        most = jnp.where(rate * total <= MANY * largest, equal, growing) / rate
        left = total - progress.done
        number = jnp.ceil(left / jnp.minimum(most, progress.limit) - ROUNDING)
        return left / jnp.maximum(number, 1.0)

    def step(carry):
        progress, result = carry
        length = length_of(progress)
        new, stretch = attempt(progress, length, result)
        good = (stretch <= STRAIN) | (rate * length <= SMALLEST)
        change = jnp.clip(AIM / jnp.maximum(stretch, 1e-3 * AIM), 0.1, 2.0)
        change = jnp.where(good, change, jnp.where(stretch > 0, jnp.minimum(change, 0.5), 0.5))
        result = jax.lax.cond(good, lambda: new, lambda: result)
        done = progress.done + jnp.where(good, length, 0.0)
        parts = progress.parts + good
        return Progress(total, done, parts, progress.attempts + 1, change * length), result

    def is_left(carry):
        progress, _ = carry
        return (progress.done < (1 - ROUNDING) * total) & (progress.attempts < ATTEMPTS)

    none = jnp.zeros((), jnp.int32)
    first = Progress(total, jnp.zeros_like(total), none, none, limit)
    progress, result = jax.lax.while_loop(is_left, step, (first, start))
    done = jnp.where(is_left((progress._replace(attempts=none), result)), progress.done, dt)
    return result, progress._replace(done=done)
