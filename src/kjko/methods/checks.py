"""Whether the parts that a method is put together from go together."""

import jax
import jax.numpy as jnp

from kjko.core import Particles
from kjko.interfaces import AbstractFit, AbstractSplitting, Control
from kjko.problem import Problem


def check_fit(method: str, offers: tuple[str, ...], fit: AbstractFit, control: Control) -> None:
    """Raise ValueError, with the reason, if the fit needs what the subproblem has not, or cannot
    fit the control.
    """
    missing = [need for need in fit.needs if need not in offers]
    name = type(fit).__name__
    if missing:
        raise ValueError(
            f"fit: {name} needs {' and '.join(missing)}, and {method} as it is put together offers"
            f" {' and '.join(offers)}"
        )
    reason = fit.refuses(control)
    if reason is not None:
        raise ValueError(f"fit: {reason}")


def check_control(control: Control, particles: Particles) -> None:
    """Raise ValueError unless u(x, v) has the shape of v."""
    x, v = particles.x[0], particles.v[0]
    try:
        given = jax.eval_shape(control, x, v).shape
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"control: cannot be called with x of shape {x.shape} and v of shape {v.shape}"
            f" ({reason}); give it the dimensions of the problem"
        ) from None
    if given != v.shape:
        raise ValueError(f"control: expected u of shape {v.shape}, as v has, got {given}")


def check_flow(problem: Problem, splitting: AbstractSplitting, particles: Particles) -> None:
    """Raise ValueError for a flow that the splitting cannot do."""
    flow, field = problem.flow, jax.eval_shape(problem.flow.init, particles, problem.mass)
    t, x, v = jnp.zeros((), particles.v.dtype), particles.x[0], particles.v[0]
    given = jax.eval_shape(flow.acceleration, field, t, x, v).shape
    if given != v.shape:
        raise ValueError(f"flow: expected an acceleration of shape {v.shape}, got {given}")
    if splitting.acts_after:
        return
    name = type(splitting).__name__
    if flow.gyrofrequency(t, x) is not None:
        raise ValueError(
            f"splitting: {name} knows no magnetic field; take StrangMidpoint() or Lie()"
        )
    if not flow.conservative:
        raise ValueError(
            f"splitting: {name} needs a flow with a potential; take StrangMidpoint() or Lie()"
        )
