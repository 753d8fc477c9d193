"""The law without collisions: the initial one, carried along the characteristics."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kjko.collisions import NoCollisions
from kjko.core import Box, Particles
from kjko.core.low_discrepancy import sobol
from kjko.core.precision import in_double
from kjko.initial import AbstractLaw
from kjko.interfaces import AbstractFlow, FieldState
from kjko.problem import Problem
from kjko.reference.errors import KnownLaw, Points
from kjko.reference.stationary import Stationary, stationary

EXACT = 1e-10  # of a characteristic, relative, or of the width of the initial law
OF_A_SAMPLE = 1e-7  # where the points are a sample
BLOCK = 4096  # points that share their steps
DRAWS = 2**17  # of the initial law, for integrals and distribution functions


class ExactImage(KnownLaw):
    """f(t, z) = f₀(Φₜ⁻¹ z), z = (x, v), with Φₜ the flow of

        ẋ = v,    v̇ = a(t, x) + v × Ω,

    from 0 to t, which keeps volumes in phase space. Points are followed back by an integrator of
    order eight, to ten digits of (x, v). Its error grows as neighbours part.

    Entropy and energy stay what they were, and the free energy and the relative entropy with them,
    to some 1e-4: means over points of low discrepancy of the initial law. So are the distribution
    functions, over the same points, moved. Raises ValueError where a point runs off to infinity.
    """

    def __init__(self, problem: Problem, law: AbstractLaw, field: FieldState):
        self._problem, self._law = problem, law
        self._moved: dict[float, Points] = {}
        with jax.enable_x64(True):
            flow, box, law = in_double((problem.flow, problem.box, law))
            motion = _Motion(flow, field, box, law)
        self._log_start = jax.jit(jax.vmap(motion.log_start))
        self._start_slope = jax.jit(jax.vmap(jax.grad(motion.log_start)))
        self._velocity = jax.jit(jax.vmap(motion.velocity, (None, 0)))
        self._both = jax.jit(jax.vmap(motion.both, (None, 0)))
        self._energy = jax.jit(jax.vmap(motion.energy))

    def free_energy(self, time: float) -> float:
        """∫ (½|v|² + φ(x) + T₀ log f) f; nan if the flow does work that no φ accounts for."""
        return self._free_energy

    def kl(self, time: float) -> float:
        """The relative entropy to exp(−(½|v|² + φ)/T₀)/Z; nan if there is no such law."""
        at_rest, temperature = self._at_rest, self._problem.temperature
        if at_rest is None or temperature is None:
            return math.nan
        mass = float(self._problem.mass)
        of_one = self._free_energy / (float(temperature) * mass) - math.log(mass)
        return of_one + at_rest.log_normaliser

    def log_f(self, time: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f at particles."""
        start = self._follow(self._velocity, _joined(x, v), time, 0.0)
        return self._of(self._log_start, start)

    def score(self, time: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f at particles.

        p = ∇ log f obeys ṗ = −(∂ż/∂z)ᵀ p on a characteristic, from p = ∇ log f₀ on.
        """
        start = self._follow(self._velocity, _joined(x, v), time, 0.0)
        both = np.concatenate([start, self._of(self._start_slope, start)], axis=1)
        return self._follow(self._both, both, 0.0, time)[:, -np.shape(v)[1] :]

    def distribution(self, time: float, coordinate: int, values: np.ndarray) -> np.ndarray:
        """The distribution function of a coordinate of (x, v)."""
        z, box = self._sample(time)[:, coordinate], self._problem.box
        if box is not None and coordinate < self._law.dimensions[0]:
            z = np.mod(z, float(box.length[coordinate]))
        middle = (np.arange(len(z)) + 0.5) / len(z)
        return np.interp(values, np.sort(z), middle, left=0.0, right=1.0)

    @cached_property
    def _points(self) -> Points:
        uniforms = sobol(DRAWS, sum(self._law.dimensions), np.random.default_rng(0))
        return _joined(*self._law.points(np.clip(uniforms, 2.0**-53, 1 - 2.0**-53)))

    @cached_property
    def _at_rest(self) -> Stationary | None:
        return stationary(self._problem, *self._law.dimensions)

    @cached_property
    def _free_energy(self) -> float:
        problem = self._problem
        if not problem.flow.conservative or problem.temperature is None:
            return math.nan
        energy, log_f = (self._of(f, self._points) for f in (self._energy, self._log_start))
        mass, temperature = float(problem.mass), float(problem.temperature)
        return mass * float(np.mean(energy + temperature * (log_f + math.log(mass))))

    def _sample(self, time: float) -> Points:
        """The points at a time, from where they were at the latest one before that is known."""
        if time not in self._moved:
            before = max((t for t in self._moved if t <= time), default=0.0)
            start = self._moved.get(before, self._points)
            self._moved[time] = self._follow(self._velocity, start, before, time, OF_A_SAMPLE)
        return self._moved[time]

    def _of(self, function: Callable, z: Points) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(function(jnp.asarray(z)))

    def _follow(
        self, slope: Callable, y: Points, start: float, end: float, tolerance: float = EXACT
    ) -> Points:
        """y, points or points and gradients there, from one time to another."""
        width = self._points.std(axis=0)
        scale = np.concatenate([width, 1 / width])[: y.shape[1]]
        blocks = [y[first : first + BLOCK] for first in range(0, len(y), BLOCK)]
        with jax.enable_x64(True):
            moved = [_integrate(slope, b, start, end, scale, tolerance) for b in blocks]
        return np.concatenate(moved)


def exact_image(problem: Problem) -> ExactImage | None:
    """The exact law of a problem; None with collisions, without an initial law, or in a field that
    the particles make.
    """
    law = problem.law
    if law is None or not isinstance(problem.collisions, NoCollisions):
        return None
    x, v = law.points(np.full((1, sum(law.dimensions)), 0.5))
    field = jax.eval_shape(problem.flow.init, Particles(x, v, np.zeros(1)), problem.mass)
    return None if jax.tree.leaves(field) else ExactImage(problem, law, field)


class _Motion(NamedTuple):
    """The motion of a point z = (x, v) in float64, and f₀ where it starts. `field`: no arrays."""

    flow: AbstractFlow
    field: FieldState
    box: Box | None
    law: AbstractLaw

    def log_start(self, z: Float[Array, " m"]) -> Float[Array, ""]:
        """log f₀."""
        return self.law.log_density(*self._split(z))

    def velocity(self, t: Float[Array, ""], z: Float[Array, " m"]) -> Float[Array, " m"]:
        """ż."""
        x, v = self._split(z)
        acceleration = self.flow.acceleration(self.field, t, x, v)
        frequency = self.flow.gyrofrequency(t, x)
        if frequency is not None:
            turning = jnp.cross(jnp.pad(v, (0, 3 - v.size)), frequency)
            acceleration = acceleration + turning[: v.size]
        return jnp.concatenate([v[: x.size], acceleration])

    def both(self, t: Float[Array, ""], y: Float[Array, " two_m"]) -> Float[Array, " two_m"]:
        """(ż, ṗ) at y = (z, p), p the gradient of log f."""
        z, p = jnp.split(y, 2)
        velocity, transposed = jax.vjp(lambda z: self.velocity(t, z), z)
        return jnp.concatenate([velocity, -transposed(p)[0]])

    def energy(self, z: Float[Array, " m"]) -> Float[Array, ""]:
        """½|v|² + φ(x)."""
        x, v = self._split(z)
        return 0.5 * v @ v + self.flow.potential_energy(self.field, x)

    def _split(self, z: Float[Array, " m"]) -> tuple[Float[Array, " d_x"], Float[Array, " d"]]:
        x, v = jnp.split(z, [self.law.dimensions[0]])
        return (x if self.box is None else jnp.mod(x, self.box.length)), v


def _joined(x: Points, v: Points) -> Points:
    return np.concatenate([x, v], axis=1).astype(float)


def _integrate(
    slope: Callable, y: Points, start: float, end: float, scale: np.ndarray, tolerance: float
) -> Points:
    from scipy.integrate import DOP853  # slow to import, and seldom needed

    def derivative(t: float, flat: np.ndarray) -> np.ndarray:
        return np.asarray(slope(t, flat.reshape(y.shape))).ravel()

    least = tolerance * np.tile(scale, len(y))
    solver = DOP853(
        derivative,
        start,
        y.ravel(),
        end,
        rtol=tolerance,
        atol=least,  # pyright: ignore[reportArgumentType]  one for each number
    )
    while solver.status == "running":
        message = solver.step()
        if solver.status == "failed":
            raise ValueError(f"flow: no characteristic beyond t = {solver.t:g}: {message}")
    return solver.y.reshape(y.shape)
