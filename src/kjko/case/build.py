"""From the tables of a case to the objects of the library, with the checks that need both."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from kjko.case import plasma_warnings
from kjko.case.checks import BadInput, at, check_range, vector
from kjko.case.coupling import couples
from kjko.case.equation import collisions
from kjko.case.memory import check_control, check_particles
from kjko.case.observables import observables
from kjko.case.parts import Here
from kjko.case.tables import CaseTable, DomainTable, ParticlesTable, ProblemTable, SolverTable
from kjko.core import Box, Particles, State
from kjko.flow import External, Sum
from kjko.initial import AbstractLaw, CellJitter, CosinePosition, Product, sample
from kjko.interfaces import AbstractFlow, AbstractMethod, AbstractObservable, Record
from kjko.problem import Problem
from kjko.simulation import number_of_steps, simulate

MOST_COLLISIONS = 30.0  # εΔt of a step whose parts do not grow, or that is not cut
END_TO_END = ("score-end-to-end", "velocity-matching")
BY_VALUES = ("newton", "levenberg-marquardt")
PAIRS = (
    "newton goes with splines, fourier-hermite, random-tanh, ridges and quadratic,"
    " levenberg-marquardt with ridges, both with the method jko, its exact log_det and the"
    " integrators strang-midpoint and lie; set solver.fit.kind=adam and solver.control.kind=mlp,"
    " which go with all"
)


class Experiment(NamedTuple):
    """A case as objects: what `kjko.simulate` takes, and how many steps it is about to make."""

    problem: Problem
    method: AbstractMethod
    particles: Particles
    time_step: float
    steps: int
    seed: int
    observables: tuple[AbstractObservable, ...]
    fitted: int  # particles that a fit takes

    def init(self) -> State:
        """The state at t = 0."""
        return self.method.init(self.problem, self.particles, self.time_step, self.seed)

    def simulate(self, observables: Sequence[AbstractObservable]) -> Iterator[tuple[State, Record]]:
        """`kjko.simulate` of it, with other observables."""
        return simulate(
            self.problem,
            self.method,
            self.particles,
            time_step=self.time_step,
            end_time=self.steps * self.time_step,
            seed=self.seed,
            observables=observables,
        )


def build(case: CaseTable) -> Experiment:
    """Raises BadInput for what only shows when the objects are made."""
    solver = case.solver
    check_range(case.model_dump(), solver.precision)
    with at("solver"):
        steps = number_of_steps(solver.end_time, solver.time_step)
    _check_collisions(case)
    with np.errstate(all="ignore"):  # what overflows is found at step 0
        here = _here(case)
        problem = _problem(case.problem, here)
        particles = _particles(case.particles, problem, here)
        here = here._replace(fitted=_fitted(case, len(particles.log_f)))
        method = _method(solver, here)
        plasma_warnings.warn(problem, len(particles.log_f), case.particles.sampling)
        experiment = Experiment(
            problem,
            method,
            particles,
            solver.time_step,
            steps,
            case.particles.seed,
            observables(case.output.observables),
            here.fitted,
        )
        with at("solver", splitting="integrator"):
            problem.check_time_step(solver.time_step)
            jax.eval_shape(experiment.init)  # refuses what does not go together
    return experiment


def has_coupled_pairs(case: CaseTable) -> bool:
    """Whether f is no product over the pairs (x_k, v_k); see `couples`. Raises BadInput."""
    here = _here(case)
    if here.velocity_dimension == 1:
        return False
    return couples(_problem(case.problem, here), here.dimension, here.velocity_dimension)


def _check_collisions(case: CaseTable) -> None:
    solver = case.solver
    grow = solver.integrator.kind == "strang-midpoint" and solver.method.kind in ("jko", "score")
    strength = case.problem.collision_rate * solver.time_step
    if strength > MOST_COLLISIONS and not grow:
        raise BadInput(
            f"solver.time_step: expected collision_rate * time_step <= {MOST_COLLISIONS:g}, got"
            f" {strength:g}; take a smaller time_step, or the default method and integrator"
        )


def _here(case: CaseTable) -> Here:
    """What the parts of a case depend on, but for the number of particles."""
    table, method = case.problem, case.solver.method.kind
    d = table.velocity_dimension or table.dimension
    if d < table.dimension:
        raise BadInput(
            f"problem.velocity_dimension: expected problem.dimension = {table.dimension} or more,"
            f" got {d}; drop it, or lower problem.dimension"
        )
    return Here(
        path="",
        dimension=table.dimension,
        velocity_dimension=d,
        box=None if table.domain is None else _box(table.domain, table.dimension),
        seed=case.particles.seed,
        fitted=case.particles.number,
        end_time=case.solver.end_time,
        for_all_times=method in END_TO_END,
        outputs=2 * d if method == "velocity-matching" else d,
    )


def _box(table: DomainTable, dimension: int) -> Box:
    if (table.length is None) == (table.wave_number is None):
        got = "neither" if table.length is None else "both"
        raise BadInput(
            f"problem.domain.length: expected either length or wave_number, got {got}; set"
            " the table, as problem.domain={wave_number=[0.5]}"
        )
    if table.length is not None:
        return Box(vector("problem.domain.length", table.length, dimension))
    return Box(2 * np.pi / vector("problem.domain.wave_number", table.wave_number or [], dimension))


def _problem(table: ProblemTable, here: Here) -> Problem:
    law = None if table.law is None else table.law.build(here.at("problem.law"))
    flow = _flow(table, here)
    at_collisions = here.at("problem.collisions")
    with at("problem"):
        operator = collisions(
            table.collisions, at_collisions, table.collision_rate, table.temperature
        )
    with at("problem", flow="potential"):
        return Problem(flow, operator, law, here.box, table.mass)


def _flow(table: ProblemTable, here: Here) -> AbstractFlow:
    members: list[AbstractFlow] = []
    if table.potential is not None:
        members.append(External(table.potential.build(here.at("problem.potential"))))
    if isinstance(table.force, list):
        paths = [f"problem.force.{i}" for i in range(len(table.force))]
        members += [f.build(here.at(p)) for f, p in zip(table.force, paths, strict=True)]
    elif table.force is not None:
        members.append(table.force.build(here.at("problem.force")))
    if not members:
        raise BadInput(
            "problem.potential: expected problem.potential, problem.force or both, got neither; a"
            " case sets one of them"
        )
    return members[0] if len(members) == 1 else Sum(*members)


def _particles(table: ParticlesTable, problem: Problem, here: Here) -> Particles:
    if table.file is not None:
        return _from_file(Path(table.file), here)
    law, sampling = problem.law, table.sampling
    if law is None:
        raise BadInput(
            "problem.law: expected this key, got none; set it, or particles.file to start from"
        )
    if sampling == "cell-jitter":
        law, sampling = _jittered(law, problem), "random"
    check_particles(table.number, here.dimension + here.velocity_dimension)
    with at("particles"):
        return sample(law, table.number, table.seed, sampling)


def _from_file(path: Path, here: Here) -> Particles:
    """x, v and log_f of an .npz."""
    names = ("x", "v", "log_f")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], dtype=float) for name in names}
    except FileNotFoundError:
        raise BadInput(f"particles.file: expected an .npz file, got no file {path}") from None
    except Exception as error:  # zipfile and numpy have no common error for a damaged file
        raise BadInput(
            f"particles.file: expected an .npz with the arrays x, v and log_f, got {path} ({error})"
        ) from None
    number = len(arrays["log_f"])
    shapes = {"x": (number, here.dimension), "v": (number, here.velocity_dimension)}
    for name, shape in (shapes | {"log_f": (number,)}).items():
        if arrays[name].shape != shape:
            raise BadInput(
                f"particles.file: expected {name} of shape {shape}, got {arrays[name].shape} in"
                f" {path}"
            )
        if not np.isfinite(arrays[name]).all():
            raise BadInput(
                f"particles.file: expected finite numbers, got others in {name} of {path}"
            )
    if number < 2:
        raise BadInput(f"particles.file: expected at least 2 particles, got {number} in {path}")
    particles = Particles(**arrays)
    if here.box is None:
        return particles
    return eqx.tree_at(lambda p: p.x, particles, here.box.wrap(particles.x)[0])


def _jittered(law: AbstractLaw, problem: Problem) -> Product:
    own = problem.own_fields
    if own and isinstance(law, Product) and isinstance(law.position, CosinePosition):
        position = CellJitter(law.position, own[0].mesh.number_of_cells)
        return eqx.tree_at(lambda law: law.position, law, position)
    raise BadInput(
        "particles.sampling: cell-jitter needs a cosine position and the cells of a problem.force;"
        " set random or low-discrepancy"
    )


def _fitted(case: CaseTable, number: int) -> int:
    """How many particles a fit takes."""
    fit = case.solver.fit
    used = min(number, fit.particles) if fit.kind in BY_VALUES else number
    if round(fit.held_out * used) >= used:
        raise BadInput(
            f"solver.fit.held_out: {fit.held_out:g} of {used} particles"
            " leaves none to fit on; expected less, or more particles"
        )
    return used


def _method(solver: SolverTable, here: Here) -> AbstractMethod:
    at_control = here.at("solver.control")
    check_control(lambda: solver.control.build(at_control))
    control = solver.control.build(at_control)
    fit = solver.fit.build(here.at("solver.fit"))
    splitting = solver.integrator.build(here.at("solver.integrator"))
    make = solver.method.build(here.at("solver.method"))
    try:
        return make(control, fit, splitting)
    except ValueError as error:
        raise BadInput(f"solver.{error}; {PAIRS}") from None
