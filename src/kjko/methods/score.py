"""Score-based transport, one step after the other."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from kjko.core import Response, Stage, sums
from kjko.fit import Adam
from kjko.interfaces import (
    LOSS,
    AbstractFit,
    AbstractSplitting,
    AbstractSubproblem,
    Control,
    FieldState,
)
from kjko.methods.sequential import AbstractSequential
from kjko.problem import Problem
from kjko.splitting import StrangMidpoint
from kjko.splitting.transport import det_min, log_determinant, response


class Score(AbstractSequential):
    """Implicit score matching at the particles before the step: section 3.3.3, step by step.

        L(u) = h mean[ ½ |u|² + ε (v−ū)·u − ε T ∇ᵥ·u ]

    It is h/2 E|u + ε (v − ū + T ∇ᵥ log f)|² less a constant, by parts (Hyvärinen): the score is
    learned in the form of the control, which is zero at equilibrium. The control moves the
    particles by an explicit step, with its exact determinant. First order in Δt, in every
    splitting. The JKO objective has the same gradient with v' and f' *after* the step.

    `control`, `fit` and `splitting` as in `JKO`. Raises ValueError for parts that do not go
    together.
    """

    control: Control
    fit: AbstractFit = Adam()
    splitting: AbstractSplitting = StrangMidpoint()
    carries_density: ClassVar[bool] = True
    implicit: ClassVar[bool] = False

    @property
    def offers(self) -> tuple[str, ...]:
        return (LOSS,)

    def subproblem(
        self, problem: Problem, field: FieldState, h: Float[Array, ""], dt: Float[Array, ""]
    ) -> "ScoreStep":
        return ScoreStep(h, dt)

    def log_determinant(self, response: Response, h: Float[Array, ""]) -> Float[Array, " n"]:
        return log_determinant(response, h)


class ScoreStep(AbstractSubproblem):
    """The objective L of a step; see `Score`."""

    h: Float[Array, ""]
    dt: Float[Array, ""]

    def __call__(self, control: Control, stage: Stage) -> tuple[Float[Array, ""], Float[Array, ""]]:
        by = response(control, stage)
        return self.loss(by, stage), det_min(by, self.h, self.dt)

    def loss(self, by: Response, stage: Stage) -> Float[Array, ""]:
        """L(u)."""
        bath, u = stage.bath, by.u
        relative = stage.v - bath.velocity
        drift = jnp.sum(relative * u, axis=-1) - bath.temperature * by.divergence
        return self.h * sums.mean(0.5 * jnp.sum(u**2, axis=-1) + bath.rate * drift)
