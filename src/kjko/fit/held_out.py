"""Particles kept from the gradient, to see over-fitting."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from kjko.core import Stage, sums
from kjko.devices import shared_out
from kjko.interfaces import AbstractCondition, AbstractSubproblem, Control


def split(stage: Stage, fraction: float, key: Key) -> tuple[Stage, Stage | None]:
    """The stage in two random parts, the second with `fraction` of the particles; None if empty.

    A fresh split at every step: two fixed halves drift apart. Each block of particles is split, so
    that all stay where they are.
    """
    n = stage.v.shape[0]
    size = n // sums.number_of_blocks(n, sums.FEWEST)
    if number_held_out(n, fraction) == 0:
        return stage, None
    held = max(1, number_held_out(size, fraction))

    def parted(block):
        rows, drawn = block
        order = jnp.argsort(drawn)
        return _rows(rows, order[held:]), _rows(rows, order[:held])

    drawn = shared_out(jax.random.bits(key, (n,)))
    parts = sums.by_block(parted, (stage, drawn), sums.FEWEST)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), parts)


def _rows(tree: Any, rows: Int[Array, " m"]) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def number_held_out(n: int, fraction: float) -> int:
    """Of n particles; at least one is left to fit on."""
    return min(round(fraction * n), n - 1)


def fitted_first(n: int, number: int, held_out: float, key: Key) -> tuple[Int[Array, " m"], int]:
    """At most `number` of n rows, as by `some_rows`: first those to fit on, and how many they are;
    then those to judge by, chosen of these in the same way, as many as the fraction `held_out`
    makes. Raises ValueError for fewer than two rows.
    """
    if min(n, number) < 2:
        raise ValueError("a fit needs two particles or more, to fit and to judge")
    rows_key, held_key = jax.random.split(key)
    rows = some_rows(n, number, rows_key)
    held = max(1, number_held_out(rows.size, held_out))
    judges = some_rows(rows.size, held, held_key)
    is_fitted = jnp.ones(rows.size, bool).at[judges].set(False)
    fitted = jnp.nonzero(is_fitted, size=rows.size - held)[0]
    return rows[jnp.concatenate([fitted, judges])], rows.size - held


def some_rows(n: int, number: int, key: Key) -> Int[Array, " m"]:
    """At most `number` of n rows: one of each of as many equal stretches of a ring of rows that is
    turned at random, so that all are as likely.
    """
    if number >= n:
        return jnp.arange(n)
    place_key, turn_key = jax.random.split(key)
    edges = jnp.asarray(np.linspace(0, n, number + 1).astype(np.int32))
    rows = jax.random.randint(place_key, (number,), edges[:-1], edges[1:])
    return (rows + jax.random.randint(turn_key, (), 0, n)) % n


def losses_of(
    subproblem: AbstractSubproblem, condition: AbstractCondition, control: Control, fitted: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss on the particles of a condition that are fitted, and on those from there on."""
    of_fitted, _ = subproblem(control, condition.stage.take(slice(None, fitted)))
    of_held, _ = subproblem(control, condition.stage.take(slice(fitted, None)))
    return of_fitted, of_held


def unexplained(
    residual: Float[Array, " m"], g: Float[Array, " m"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The share of the mean square of g that is explained, and half of the mean square that is not.

    No residual counts as more than the mean square of g.
    """
    most = sums.mean(g**2)
    left, whole = (sums.mean(jnp.minimum(values**2, most)) for values in (residual, g))
    return 1 - left / whole, 0.5 * left


class Best(NamedTuple):
    """The parameters that did best so far, and their losses."""

    params: Any
    loss: Float[Array, ""]
    loss_heldout: Float[Array, ""]

    @classmethod
    def start(cls, params: Any, dtype: Any) -> "Best":
        infinity = jnp.asarray(jnp.inf, dtype)
        return cls(params, infinity, infinity)

    def judged(self, held: Stage | None) -> Float[Array, ""]:
        """The loss by which the best is chosen."""
        return self.loss if held is None else self.loss_heldout


def choose(
    best: Best,
    subproblem: AbstractSubproblem,
    control: Any,
    params: Any,
    losses: tuple[Float[Array, ""], Float[Array, ""]],
    held: Stage | None,
) -> Best:
    """Keep what does best on the held-out particles and folds nowhere; without any, the newest.

    `losses`: loss and smallest determinant of the control on the fitted particles.
    """
    loss, det_min = losses
    if held is None:
        return Best(params, loss, jnp.full_like(loss, jnp.nan))
    held_loss, held_det_min = subproblem(control, held)
    better: Bool[Array, ""] = (held_loss < best.loss_heldout) & (det_min > 0) & (held_det_min > 0)
    candidate = Best(params, loss, held_loss)
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), candidate, best)
