"""The parts of the solver that a case can name: splittings, methods, controls, fits."""

from typing import Annotated, Literal

import jax
from pydantic import BeforeValidator, Field

from kjko.bases import FourierHermite, Quadratics, RandomTanh, Ridges, Splines
from kjko.case.parts import Here, default, part
from kjko.case.values import Count, Fraction, NotNegative, Positive, Whole, number, whole
from kjko.controls import MLP, Affine, AffineInTime, Gradient, InTime, Periodic
from kjko.controls.mlp import Activation
from kjko.fit import Adam, GaussNewton, LevenbergMarquardt, Newton
from kjko.fit.adam import Schedule
from kjko.fit.gauss_newton import Layers
from kjko.methods import JKO, Langevin, Score, ScoreEndToEnd, VelocityMatching
from kjko.methods.jko import LogDet
from kjko.splitting import DriftKick, Lie, StormerVerlet, StrangMidpoint, SymplecticEuler, Unsplit

Map = Literal["stormer-verlet", "symplectic-euler"]
MAPS: dict[str, StormerVerlet | DriftKick] = {
    "stormer-verlet": StormerVerlet(),
    "symplectic-euler": DriftKick(),
}
Part = Annotated[float, Field(gt=0, lt=1), BeforeValidator(number)]
Some = Annotated[int, Field(ge=10), BeforeValidator(whole)]  # particles, enough to fit on
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]


@part("integrator", "strang-midpoint")
def strang_midpoint(here: Here):
    """Half a step of the flow, collisions, half a step of the flow; second order."""
    return StrangMidpoint()


@part("integrator", "symplectic-euler")
def symplectic_euler(here: Here):
    """Kick and collisions, then drift; first order."""
    return SymplecticEuler()


@part("integrator", "lie")
def lie(here: Here, map: Map = "stormer-verlet"):
    """The flow, then collisions; first order.

    map: how the flow is done, in one symplectic step
    """
    return Lie(MAPS[map])


@part("integrator", "unsplit")
def unsplit(here: Here, map: Map = "stormer-verlet"):
    """The flow plus collisions, both taken at the start; first order.

    map: how the flow is done, in one symplectic step
    """
    return Unsplit(MAPS[map])


# A method's part gives what makes it from a control, a fit and a splitting.


@part("method", "jko")
def jko(
    here: Here,
    log_det: LogDet = default(JKO, "log_det"),
    damping: NotNegative = default(JKO, "damping"),
):
    """Transport cost plus free energy after the step: the kinetic JKO scheme.

    log_det: the log-determinant of the control, exact or the paper's h ∇ᵥ·u
    damping [collision_rate]: rate at which detail that is not resolved is damped; 0 as in the paper
    """
    return lambda control, fit, splitting: JKO(control, fit, splitting, log_det, damping)


@part("method", "score")
def score(here: Here):
    """Implicit score matching, step by step; first order."""
    return Score


@part("method", "langevin")
def langevin(here: Here):
    """Stochastic particles, without a density."""
    return lambda control, fit, splitting: Langevin()


@part("method", "score-end-to-end")
def score_end_to_end(here: Here, gradient_steps: Count = default(ScoreEndToEnd, "gradient_steps")):
    """Implicit score matching over all times.

    gradient_steps: between two times that particles are pushed through all of it
    """
    return lambda control, fit, splitting: ScoreEndToEnd(control, fit, splitting, gradient_steps)


@part("method", "velocity-matching")
def velocity_matching(
    here: Here, gradient_steps: Count = default(VelocityMatching, "gradient_steps")
):
    """All of the velocity in phase space is learned, over all times.

    gradient_steps: between two times that particles are pushed through all of it
    """
    return lambda control, fit, splitting: VelocityMatching(control, fit, gradient_steps)


@part("control", "splines")
def splines(here: Here, cells: Pair | None = None):
    """Gradients of cubic splines in each pair (x_k, v_k).

    cells: two numbers, in x and in v; as many as the particles allow if not given
    """
    d_x, d = here.dimension, here.velocity_dimension
    return Gradient(Splines(d_x, cells, here.length, d, particles=here.fitted))


@part("control", "ridges")
def ridges(here: Here, size: Count = default(Ridges, "size")):
    """Gradients of one hidden layer, of all coordinates.

    size: functions of x and v
    """
    d_x, d, key = here.dimension, here.velocity_dimension, jax.random.key(here.seed)
    return Gradient(Ridges(d_x, size, here.length, d, key=key))


@part("control", "mlp")
def mlp(
    here: Here,
    widths: list[Count] = [16, 16],  # noqa: B006  pydantic copies it
    activation: Activation = default(MLP, "activation"),
):
    """A network of all coordinates.

    widths: of its hidden layers
    activation: of its hidden layers
    """
    d, inputs, key = here.velocity_dimension, _inputs(here), jax.random.key(here.seed)
    if here.for_all_times:
        network = MLP(d, widths, activation, inputs + 1, here.outputs, key=key)
        return InTime(network, here.end_time, here.length)
    return _in_box(MLP(d, widths, activation, inputs, key=key), here)


@part("control", "affine")
def affine(here: Here):
    """u = W (x, v) + b."""
    d, inputs = here.velocity_dimension, _inputs(here)
    if here.for_all_times:
        return AffineInTime(d, here.end_time, inputs, here.outputs, length=here.length)
    return _in_box(Affine(d, inputs), here)


@part("control", "fourier-hermite")
def fourier_hermite(here: Here, size: Count = default(FourierHermite, "size")):
    """Gradients of waves in x times Hermite functions of v.

    size: functions
    """
    return Gradient(FourierHermite(here.dimension, size, here.length, here.velocity_dimension))


@part("control", "random-tanh")
def random_tanh(here: Here, size: Count = default(RandomTanh, "size")):
    """Gradients of random functions of all coordinates.

    size: functions
    """
    d_x, d, key = here.dimension, here.velocity_dimension, jax.random.key(here.seed)
    return Gradient(RandomTanh(d_x, size, here.length, d, key=key))


@part("control", "quadratic")
def quadratic(here: Here):
    """Gradients of quadratic functions."""
    return Gradient(Quadratics(here.dimension, here.box is not None, here.velocity_dimension))


def _inputs(here: Here) -> int:
    """Numbers that x takes: sine and cosine in a box."""
    return here.dimension if here.box is None else 2 * here.dimension


def _in_box(control, here: Here):
    return control if here.length is None else Periodic(control, here.length)


@part("fit", "newton")
def newton(
    here: Here,
    held_out: Part = default(Newton, "held_out"),
    particles: Some = default(Newton, "particles"),
    tolerance: Positive = default(Newton, "tolerance"),
    iterations: Count = default(Newton, "iterations"),
):
    """Of a control that is linear in its coefficients, by the condition of optimality.

    held_out: part of the particles that chooses the ridge
    particles: used for a fit, at most
    tolerance: of the residual without a control; where more is left, of that
    iterations: at most
    """
    return Newton(held_out, particles, tolerance, iterations)


@part("fit", "levenberg-marquardt")
def levenberg_marquardt(
    here: Here,
    held_out: Part = default(LevenbergMarquardt, "held_out"),
    particles: Some = default(LevenbergMarquardt, "particles"),
    iterations: Count = default(LevenbergMarquardt, "iterations"),
    most: Count = default(LevenbergMarquardt, "most"),
):
    """As newton, and trains the functions.

    held_out: part of the particles that chooses the iterate
    particles: used for a fit, at most
    iterations: usually
    most: iterations, while each of them brings a tenth
    """
    return LevenbergMarquardt(held_out, particles, iterations, most)


@part("fit", "adam")
def adam(
    here: Here,
    steps: Count = default(Adam, "steps"),
    learning_rate: Positive = default(Adam, "learning_rate"),
    schedule: Schedule = default(Adam, "schedule"),
    held_out: Fraction = default(Adam, "held_out"),
    tolerance: NotNegative = default(Adam, "tolerance"),
    warm_start: bool = default(Adam, "warm_start"),
):
    """Gradient descent on the objective.

    steps: at most
    learning_rate: at the start
    schedule: of the learning rate within a fit
    held_out: part of the particles that chooses the iterate; 0 takes the last one
    tolerance: gain in 20 steps, as a fraction of the loss, below which it ends; 0 never
    warm_start: begin with the control of the step before
    """
    return Adam(steps, learning_rate, schedule, held_out, tolerance, warm_start)


@part("fit", "gauss-newton")
def gauss_newton(
    here: Here,
    steps: Count = default(GaussNewton, "steps"),
    held_out: Fraction = default(GaussNewton, "held_out"),
    tolerance: NotNegative = default(GaussNewton, "tolerance"),
    particles: Some = default(GaussNewton, "particles"),
    layers: Layers = default(GaussNewton, "layers"),
    adam_steps: Whole = 0,
):
    """Second derivatives of the objective.

    steps: at most
    held_out: part of the particles that chooses the iterate; 0 takes the last one
    tolerance: gain of three steps, as a fraction of the loss, below which it ends
    particles: used for the matrix, at most
    layers: of a network that are fitted
    adam_steps: before the first one; 0 is none
    """
    first = Adam(adam_steps) if adam_steps else None
    return GaussNewton(steps, held_out, tolerance, particles, layers, first)
