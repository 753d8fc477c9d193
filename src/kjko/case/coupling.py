"""Whether a problem mixes the pairs (x_k, v_k), by derivatives of its law and forces."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from kjko.core.precision import in_double
from kjko.flow import AbstractOwnField
from kjko.initial import Gaussian
from kjko.problem import Problem

POINTS = 32  # at which derivatives are taken
TIMES = (0.0, 0.37)  # of forces that depend on it
ROUNDING = 1e-6  # of the largest derivative


def couples(problem: Problem, d_x: int, d: int) -> bool:
    """Whether f is no product over the pairs (x_k, v_k), now or later.

    It is one as long as log f₀ has no mixed derivatives across pairs, nor a component of the force
    a derivative along the position of another pair; v_k goes with x_k, or with the last x where
    d > d_x. A normal law in a linear force stays normal, and a field of the particles' own in two
    dimensions or more depends on all positions.
    """
    if d == 1:
        return False
    if problem.own_fields and d_x > 1:
        return True
    law = problem.law
    if problem.flow.gyrofrequency(jnp.zeros(()), jnp.zeros(d_x)) is not None:
        return True
    rng = np.random.default_rng(0)
    if law is None:
        z = rng.normal(size=(POINTS, d_x + d))
    else:
        z = np.concatenate(law.points(rng.uniform(0.05, 0.95, (POINTS, d_x + d))), axis=1)
    with jax.enable_x64(True):
        forces, bent = (
            np.asarray(a) for a in _derivatives(in_double(problem), jnp.asarray(z), d_x)
        )
    scale = np.std(z, axis=0)
    forces, bent = forces * scale[:d_x], bent * np.outer(scale, scale)
    if (
        isinstance(law, Gaussian)
        and np.ptp(forces, axis=0).max() <= ROUNDING * np.abs(forces).max()
    ):
        return False
    across = _across(d_x, d)
    return _any(forces, across[d_x:, :d_x]) or _any(bent, across)


@eqx.filter_jit
def _derivatives(
    problem: Problem, z: Float[Array, "n m"], d_x: int
) -> tuple[Float[Array, "n t d d_x"], Float[Array, "n m m"]]:
    """∂a/∂x of the forces that are given, and the second derivatives of log f₀."""
    given = [m for m in problem.flow.members if not isinstance(m, AbstractOwnField)]
    law = problem.law

    def of_one(z):
        x, v = z[:d_x], z[d_x:]
        slopes = jnp.zeros((len(TIMES), v.size, d_x))
        for member in given:
            at = [
                jax.jacfwd(lambda x, m=member, t=t: m.acceleration(None, jnp.asarray(t), x, v))(x)
                for t in TIMES
            ]
            slopes += jnp.stack(at)
        if law is None:
            return slopes, jnp.zeros((z.size, z.size))
        density = law.log_density
        return slopes, jax.hessian(lambda z: density(z[:d_x], z[d_x:]))(z)

    return jax.vmap(of_one)(z)


def _across(d_x: int, d: int) -> Bool[np.ndarray, "m m"]:
    """Which derivatives are across pairs."""
    across = ~np.eye(d_x + d, dtype=bool)
    for k in range(d):
        of_x = min(k, d_x - 1)
        across[of_x, d_x + k] = across[d_x + k, of_x] = False
    return across


def _any(slopes: Float[np.ndarray, "... i j"], across: Bool[np.ndarray, "i j"]) -> bool:
    largest = np.abs(slopes).max()
    return not np.abs(slopes[..., across]).max(initial=0.0) <= ROUNDING * largest  # or nan
