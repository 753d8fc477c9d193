"""The time-step study of Figure 1."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kjko.case import BadInput, Case
from kjko.initial import Gaussian
from kjko.observe import DriftError
from kjko.reference.gaussian import exact_gaussian

# What is left is the error of the time discretisation: an affine control is exact for a Gaussian
# law, and fitted closely on all particles it carries their mean and covariance without noise.
SETTINGS = (
    "solver.precision=double",
    "solver.control.kind=affine",
    "solver.fit.kind=adam",
    "solver.fit.steps=300",
    "solver.fit.learning_rate=0.05",
    "solver.fit.tolerance=0.0",
    "solver.fit.schedule=cosine",
    "solver.fit.held_out=0.0",
    "solver.fit.warm_start=true",
)


class Convergence(NamedTuple):
    """Errors at each time step and their fitted orders."""

    time_steps: list[float]
    errors: dict[str, list[float]]
    orders: dict[str, float]

    def csv(self) -> str:
        """A line for each time step."""
        lines = [",".join(["time_step", *self.errors])]
        for step, *row in zip(self.time_steps, *self.errors.values(), strict=True):
            lines.append(",".join([f"{step:g}", *(f"{error:.6e}" for error in row)]))
        return "\n".join(lines) + "\n"


def converge(case: Case, time_steps: list[float], progress: Callable[[str], None]) -> Convergence:
    """Run a Gaussian case at several time steps and compare with the exact law.

    The exact law starts from the sample's own mean and covariance, so that the error is the
    scheme's and not the sample's. Reported: the largest errors over time of the mean and of the
    covariance (norms), and the root of the time-averaged mean-square drift error (34). The order
    of each is the slope of its logarithm against log Δt. `progress` is called with a line for each
    time step. Raises BadInput if the case has no exact law.
    """
    errors: dict[str, list[float]] = {"mean": [], "covariance": [], "drift": []}
    for time_step in time_steps:
        solver = case.solver.model_copy(update={"time_step": time_step})
        latest = _errors(case.model_copy(update={"solver": solver}))
        for name, error in latest.items():
            errors[name].append(error)
        text = ", ".join(f"{name} {error:.3e}" for name, error in latest.items())
        progress(f"time step {time_step:g}: error of {text}")
    orders = {
        name: float(np.polyfit(np.log(time_steps), np.log(values), 1)[0])
        for name, values in errors.items()
    }
    return Convergence(time_steps, errors, orders)


def _errors(case: Case) -> dict[str, float]:
    experiment = case.build()
    problem, z = experiment.problem, _phase(experiment.particles)
    gaussian = isinstance(problem.law, Gaussian)
    exact = exact_gaussian(problem, z.mean(axis=0), np.cov(z.T, bias=True)) if gaussian else None
    if exact is None:
        raise BadInput("problem: no exact law; the study needs a gaussian law in a quadratic")
    run = experiment.simulate([DriftError(exact)])
    next(run)  # t = 0
    mean_error, covariance_error, drift_error = [], [], []
    for state, record in run:
        mean, covariance = exact.at(record["time"])
        z = _phase(state.particles)
        mean_error.append(np.linalg.norm(z.mean(axis=0) - mean))
        covariance_error.append(np.linalg.norm(np.cov(z.T, bias=True) - covariance))
        drift_error.append(record["drift_error"])
    return {
        "mean": float(max(mean_error)),
        "covariance": float(max(covariance_error)),
        "drift": float(np.sqrt(np.mean(drift_error))),
    }


def _phase(particles) -> np.ndarray:
    """Points (x, v) in float64."""
    return np.concatenate([particles.x, particles.v], axis=1).astype(float)
