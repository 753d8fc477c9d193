"""What a run tells about itself at every step: a record, one line of series.jsonl."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import norm

from kjko.interfaces import Particles
from kjko.linear_theory import LinearWave, linear_wave
from kjko.problem import Problem
from kjko.reference import KnownLaw, Stationary, exact_gaussian, score_error, stationary
from kjko.solver import Solver, State, StepInfo

Record = dict[str, Any]
BINS = 160  # of the marginals, as in Figure 7
KEYS = (  # of a record, in this order
    "step",
    "time",
    "energy_kinetic",
    "energy_potential",
    "entropy",
    "free_energy",
    "field_energy",
    "momentum",
    "kl_stationary",
    "drift_error",
    "loss",
    "loss_heldout",
    "fit_iterations",
    "det_min",
    "marginal_kl_x",
    "marginal_kl_v",
    "seconds",
)
OF_DENSITY = ("entropy", "free_energy", "kl_stationary")  # without log f they have no meaning
# Looked at in this order after every step: a cause comes before what it spoils.
CHECKED = ("loss", "det_min", "energy_kinetic", "energy_potential", "entropy")


class NumericalFailure(ArithmeticError):
    """A step gave a value that is not finite, or a map that folds."""


class Bins(NamedTuple):
    """Bins of every coordinate and the stationary mass in each; the end bins reach to infinity."""

    x_edges: Float[np.ndarray, "d edges"]
    v_edges: Float[np.ndarray, "d edges"]
    x_mass: Float[np.ndarray, "d bins"] | None
    v_mass: Float[np.ndarray, "d bins"]


class References(NamedTuple):
    """What the records of a run are held against; None where there is none."""

    bins: Bins
    stationary: Stationary | None
    exact: KnownLaw | None
    wave: LinearWave | None = None


def references(problem: Problem, particles: Particles) -> References:
    """Found once, at the start of a run; the particles give the range of the bins."""
    law = stationary(problem, particles.x.shape[1], particles.v.shape[1])
    bins = _bins(problem, particles, law)
    return References(bins, law, exact_gaussian(problem), linear_wave(problem))


def _bins(problem: Problem, particles: Particles, law: Stationary | None) -> Bins:
    x, v = np.asarray(particles.x, dtype=float), np.asarray(particles.v, dtype=float)
    width = np.sqrt(problem.temperature)
    v_end = np.maximum(4.5 * width, np.abs(v).max(axis=0))
    v_edges = np.linspace(-v_end, v_end, BINS + 1, axis=1)
    v_mass = np.diff(norm.cdf(v_edges[:, 1:-1], scale=width), prepend=0.0, append=1.0)
    low, high = x.min(axis=0), x.max(axis=0)
    if problem.box is not None:
        low, high = np.zeros_like(low), np.asarray(problem.box.length, dtype=float)
    if law is None:
        return Bins(np.linspace(low, high, BINS + 1, axis=1), v_edges, None, v_mass)
    steps = np.diff(law.nodes, axis=1)
    middle = 0.5 * (law.marginals[:, 1:] + law.marginals[:, :-1])
    cumulative = np.pad(np.cumsum(middle * steps, axis=1), ((0, 0), (1, 0)))
    if problem.box is None:
        bulk = _interpolate(np.tile([1e-5, 1 - 1e-5], (len(low), 1)), cumulative, law.nodes)
        low, high = np.minimum(low, bulk[:, 0]), np.maximum(high, bulk[:, 1])
    x_edges = np.linspace(low, high, BINS + 1, axis=1)
    at_edges = _interpolate(x_edges[:, 1:-1], law.nodes, cumulative)
    return Bins(x_edges, v_edges, np.diff(at_edges, prepend=0.0, append=1.0), v_mass)


def _interpolate(points: np.ndarray, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation row by row."""
    return np.stack([np.interp(*row) for row in zip(points, nodes, values, strict=True)])


def histogram(
    values: Float[Array, "n d"], edges: Float[np.ndarray, "d edges"]
) -> Float[Array, "d bins"]:
    """Fraction of the particles in each bin of each coordinate."""
    bins = edges.shape[1] - 1
    low, high = (jnp.asarray(e, dtype=values.dtype)[None] for e in (edges[:, 0], edges[:, -1]))
    index = jnp.clip(jnp.floor((values - low) / (high - low) * bins), 0, bins - 1)
    counts = jax.vmap(lambda i: jnp.bincount(i, length=bins), in_axes=1)(index.astype(jnp.int32))
    return counts / values.shape[0]


def _marginal_kl(
    fraction: Float[Array, "d bins"], mass: Float[np.ndarray, "d bins"]
) -> Float[Array, " d"]:
    """Σ p log(p/q) over the bins. With n exact samples its mean is about (bins − 1)/(2n)."""
    log_mass = jnp.log(jnp.maximum(jnp.asarray(mass, dtype=fraction.dtype), 1e-30))
    ratio = jnp.log(jnp.where(fraction > 0, fraction, 1.0)) - log_mass
    return jnp.sum(jnp.where(fraction > 0, fraction * ratio, 0.0), axis=1)


@eqx.filter_jit
def _averages(problem: Problem, state: State, bins: Bins) -> dict[str, Array]:
    particles = state.particles
    field_energy = problem.force.field_energy(state.force)
    averages = {
        "kinetic": 0.5 * jnp.mean(jnp.sum(particles.v**2, axis=-1)),
        "log_f": jnp.mean(particles.log_f),
        "velocity": jnp.mean(particles.v, axis=0),
        "marginal_kl_v": _marginal_kl(histogram(particles.v, bins.v_edges), bins.v_mass),
    }
    if bins.x_mass is not None:
        averages["marginal_kl_x"] = _marginal_kl(histogram(particles.x, bins.x_edges), bins.x_mass)
    if field_energy is None:
        averages["potential"] = problem.force.energy(state.force, particles.x)
    else:
        averages["field_energy"] = field_energy
    return averages


def measure(
    problem: Problem, solver: Solver, refs: References, state: State, info: StepInfo | None
) -> Record:
    """The record of a state and of the step that led to it; None at t = 0.

    All are of f of the problem's mass M. free_energy is (35) with a temperature,
    ∫ (½|v|² + φ(x) + T₀ log f) f, or that of Propositions 2 and 3 with ½ ∫|E|² in place of φ;
    `energy_potential` is that part of it; `field_energy` ∫|E|² dx; `momentum` M mean(v);
    `entropy` ∫ f log f;
    `kl_stationary` the Monte Carlo estimate mean[log f − log f∞]; `drift_error` (34);
    `marginal_kl_x` and `marginal_kl_v` the relative entropy of each coordinate's histogram. `loss`
    and `loss_heldout` are the objective on the fitted and on the held-out particles, minus its
    value at u = 0; `seconds` is left to the caller. None where a quantity has no meaning.
    """
    step = int(state.step)
    record: Record = dict.fromkeys(KEYS)
    record |= {"step": step, "time": step * solver.time_step}
    record |= _of_state(problem, refs, state)
    if not solver.method.carries_density:
        record |= dict.fromkeys(OF_DENSITY)
    if info is not None and info.fit is not None:
        record |= _of_step(problem, solver, refs, step, info)
    return record


def _of_state(problem: Problem, refs: References, state: State) -> Record:
    averages = jax.device_get(_averages(problem, state, refs.bins))
    mass, temperature = problem.mass, problem.temperature
    kinetic, log_f = (float(averages[k]) for k in ("kinetic", "log_f"))
    kl = field_energy = None
    if "field_energy" in averages:
        field_energy = float(averages["field_energy"])
        potential = 0.5 * field_energy
    else:
        potential = float(averages["potential"])  # and the mass is one
    if refs.stationary is not None:
        kl = (kinetic + potential) / temperature + log_f + refs.stationary.log_normaliser
    kinetic, entropy = mass * kinetic, mass * (log_f + np.log(mass))
    marginal_x = averages.get("marginal_kl_x")
    return {
        "energy_kinetic": kinetic,
        "energy_potential": potential,
        "entropy": float(entropy),
        "free_energy": float(kinetic + potential + temperature * entropy),
        "field_energy": field_energy,
        "momentum": (mass * averages["velocity"]).tolist(),
        "kl_stationary": kl,
        "marginal_kl_x": None if marginal_x is None else marginal_x.tolist(),
        "marginal_kl_v": averages["marginal_kl_v"].tolist(),
    }


def _of_step(
    problem: Problem, solver: Solver, refs: References, step: int, info: StepInfo
) -> Record:
    drift_error = None
    time = (step - 1 + info.when) * solver.time_step
    if refs.exact is not None and refs.exact.knows(time):
        points = (np.asarray(a, dtype=float) for a in (info.middle.x, info.middle.v, info.u))
        drift_error = score_error(
            *(refs.exact, time, *points),
            collision_rate=problem.collision_rate,
            temperature=problem.temperature,
        )
    heldout = float(info.fit.loss_heldout)
    return {
        "drift_error": drift_error,
        "loss": float(info.fit.loss) if problem.collision_rate > 0 else None,
        "loss_heldout": None if np.isnan(heldout) else heldout,
        "fit_iterations": int(info.fit.iterations),
        "det_min": float(info.det_min),
    }


def check(record: Record) -> None:
    """Raise NumericalFailure, naming the first bad quantity and the step."""
    where = f"at step {record['step']} (t = {record['time']:g})"
    for name in CHECKED:
        value = record[name]
        if value is None:
            continue
        if not np.isfinite(value):
            raise NumericalFailure(
                f"{name} is not finite {where}: try a smaller solver.time_step or learning rate"
            )
        if name == "det_min" and value <= 0:
            raise NumericalFailure(
                f"det_min = {value:.3g} {where}: the map folds; try a smaller solver.time_step"
                ' and solver.method.log_det = "exact"'
            )
