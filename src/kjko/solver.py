"""The time stepper."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Key

from kjko.controls import Gradient
from kjko.fit import GaussNewton, Newton
from kjko.integrators import StrangMidpoint
from kjko.interfaces import (
    AbstractFit,
    AbstractIntegrator,
    AbstractMethod,
    Control,
    Particles,
    TimeDependentControl,
)
from kjko.interfaces import State as State
from kjko.interfaces import StepInfo as StepInfo
from kjko.methods import JKO, Langevin
from kjko.problem import Problem


class Solver(eqx.Module):
    """How to solve: a control to fit, and the way that a step of length `time_step` is taken."""

    control: Control | TimeDependentControl
    time_step: float
    integrator: AbstractIntegrator = StrangMidpoint()
    method: AbstractMethod = JKO()
    fit: AbstractFit = Newton()

    def __check_init__(self):
        if not self.time_step > 0:
            raise ValueError(f"time_step: must be > 0, got {self.time_step}")
        method = self.method
        has_newton = isinstance(method, Langevin) or method == JKO()  # no fit, or exact log det
        if isinstance(self.fit, Newton | GaussNewton) and not has_newton:
            raise ValueError(
                f"fit: {type(self.fit).__name__} solves the JKO step with the exact"
                f" log-determinant; {method!r} is fitted by Adam"
            )
        if isinstance(self.control, Gradient) and not isinstance(self.fit, Newton):
            raise ValueError("fit: Newton fits a Gradient; Adam and GaussNewton fit Affine and MLP")

    def init(self, problem: Problem, particles: Particles) -> State:
        """The state at t = 0. Raises ValueError if the time step is too long for the plasma."""
        problem.check_time_step(self.time_step)
        return State(
            step=jnp.asarray(0, dtype=jnp.int32),
            particles=particles,
            force=problem.force.init(particles, problem.mass),
            control=self.control,
        )

    def begin(self, problem: Problem, state: State, steps: int, key: Key) -> State:
        """What the method does before the first of `steps` steps. `key` is the run's."""
        return self.method.begin(problem, self, state, steps, key)

    @eqx.filter_jit
    def step(self, problem: Problem, state: State, key: Key) -> tuple[State, StepInfo]:
        """One step of the method.

        `key` is the run's; the step's own is folded from it, so a resumed run draws the same.
        """
        return self.method.step(problem, self, state, key)
