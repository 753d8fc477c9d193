"""How far a phase-space grid has to reach, and the initial law on it. One dimension, float64."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kjko.core import Box
from kjko.core.precision import in_double
from kjko.initial import AbstractLaw

FAR = 28.0  # f is as good as zero where log f is this far below its maximum
POTENTIAL_POINTS = 4001
LAW_POINTS = 401

Nodes = Float[np.ndarray, " m"]


def potential_at(potential: Callable, x: Nodes) -> tuple[Nodes, Nodes]:
    """φ and φ' at the nodes, of a potential that is a function of one position (1)."""
    with jax.enable_x64(True):
        value, slope = _values_and_slopes(in_double(potential), jnp.asarray(x)[:, None])
        return np.asarray(value), np.asarray(slope)[:, 0]


def drive_at(drive: Callable, time: float, x: Nodes) -> Nodes:
    """The first component of a(t, x) at the nodes."""
    with jax.enable_x64(True):
        at = jax.vmap(lambda one: in_double(drive)(jnp.asarray(time), one)[0])
        return np.asarray(at(jnp.asarray(x)[:, None]))


def temperature_of(law: AbstractLaw) -> float:
    """The variance of v of a law."""
    side = (np.arange(LAW_POINTS) + 0.5) / LAW_POINTS
    corners = np.stack(np.meshgrid(side[::9], side), axis=-1).reshape(-1, 2)
    return float(np.var(law.points(corners)[1]))


def log_law(law: AbstractLaw, x: Nodes, v: Nodes) -> Float[np.ndarray, "n_x n_v"]:
    """log f of the law at all nodes."""
    with jax.enable_x64(True):
        log_f = _log_densities(in_double(law), jnp.asarray(x)[:, None], jnp.asarray(v)[:, None])
        return np.asarray(log_f)


@eqx.filter_jit
def _values_and_slopes(potential, x):
    return jax.vmap(jax.value_and_grad(potential))(x)


@eqx.filter_jit
def _log_densities(law, x, v):
    return jax.vmap(jax.vmap(law.log_density, (None, 0)), (0, None))(x, v)


def check_dimension(law: AbstractLaw) -> None:
    """Raises ValueError unless the law has one position and one velocity coordinate."""
    x, v = law.points(np.full((1, sum(law.dimensions)), 0.5))
    if x.shape[1] != 1 or v.shape[1] != 1:
        raise ValueError(
            "problem: a grid solution needs one position and one velocity coordinate, "
            f"got {x.shape[1]} and {v.shape[1]}"
        )


def bulk_of_law(law: AbstractLaw) -> tuple[Nodes, Nodes]:
    """Positions and velocities of nodes that fill the part of phase space where f is not zero."""
    side = np.clip(np.linspace(0, 1, 33), 2.0**-54, 1 - 2.0**-53)
    corners = np.stack(np.meshgrid(*[side] * sum(law.dimensions)), axis=-1)
    ends_x, ends_v = law.points(corners.reshape(-1, sum(law.dimensions)))
    x = np.linspace(ends_x.min(), ends_x.max(), LAW_POINTS)
    v = np.linspace(ends_v.min(), ends_v.max(), LAW_POINTS)
    log_f = log_law(law, x, v)
    rows, columns = np.nonzero(log_f > log_f.max() - FAR)
    return x[rows], v[columns]


def reach(
    potential: Callable, law: AbstractLaw, thermal: float, box: Box | None
) -> tuple[float, float, float]:
    """The ends of x and the largest |v| that the density gets to in a potential.

    No energy ½v² + φ rises beyond the largest one of the law, but by collisions to `thermal` above
    the least φ. Raises ValueError if φ does not confine and there is no box.
    """
    x, v = bulk_of_law(law)
    energy = float((0.5 * v**2 + potential_at(potential, x)[0]).max())
    center, radius = float(x.mean()), float(np.ptp(x))
    if box is not None:
        center = radius = 0.5 * float(np.asarray(box.length)[0])
    for _ in range(30):
        nodes = np.linspace(center - radius, center + radius, POTENTIAL_POINTS)
        phi = potential_at(potential, nodes)[0]
        top = max(energy, float(phi.min()) + thermal)
        fastest = float(np.sqrt(2 * (top - phi.min())))
        if box is not None:
            return 0.0, 2 * radius, fastest
        inside = nodes[phi <= top]
        low, high = float(inside[0]), float(inside[-1])
        if max(high - center, center - low) < 0.5 * radius:
            return low, high, fastest
        radius *= 2
    raise ValueError("potential: it does not confine; a grid solution needs that, or a box")


def fastest_thermal(law: AbstractLaw, temperature: float, collisions: float) -> float:
    """The largest |v| without a field, after collisions over a time t with εt = `collisions`."""
    of_law = float(np.abs(bulk_of_law(law)[1]).max())
    spread = np.sqrt(2 * FAR * temperature * -np.expm1(-2 * collisions))
    return float(min(of_law + spread, max(of_law, np.sqrt(2 * FAR * temperature))))
