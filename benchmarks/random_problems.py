"""The default on 200 problems that nobody has chosen: does any fail, rise or take for ever?

d = 1-3, a potential that couples all coordinates, two beams, ε from 0.01 to 50, Δt from 0.01 to
0.5, T₀ from 0.1 to 10, N of 300, 600, 1,200 or 2,000, drawn anew for each; 20 steps. For each the
largest rise of the free energy in the collisions of a step, a mean over particles (what the scheme
promises never rises; over a whole step of such Δt the flow does not keep the energy), and the
seconds that its steps took without the first, which compiles.
"""

import json
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from record import arguments, machine, tell, write

import kjko
from kjko.case import parse_toml
from kjko.core import State
from kjko.observe import Energies, Entropies, FitReport
from kjko.observe.failure import NumericalFailure

STEPS = 20
NUMBERS = (300, 600, 1200, 2000)
CASE = """
[problem]
dimension = {d}
collision_rate = 1.0
temperature = 1.0
potential = {{ kind = "expression", formula = "{formula}" }}
[problem.law]
kind = "product"
position = {{ kind = "gaussian", mean = {zero}, covariance = {one} }}
velocity = {{ means = [{zero}], temperatures = [1.0] }}
[particles]
number = {number}
[solver]
time_step = 0.1
end_time = 1.0
"""


class Bumpy(eqx.Module):
    """φ(x) = ½ xᵀKx + Σ a cos(w·x) + c |x|⁴: confining, and no sum over coordinates."""

    stiffness: jnp.ndarray
    waves: jnp.ndarray
    amplitudes: jnp.ndarray
    quartic: jnp.ndarray

    def __call__(self, x):
        bumps = self.amplitudes @ jnp.cos(self.waves @ x)
        return 0.5 * x @ (self.stiffness @ x) + bumps + self.quartic * jnp.dot(x, x) ** 2


@cache
def default(d: int, number: int) -> kjko.interfaces.AbstractMethod:
    """What a case has that names no method, where the potential couples all coordinates."""
    formula = "0.5*(" + "+".join(f"x{i + 1}" for i in range(d)) + ")**2"
    formula += "".join(f"+x{i + 1}**2" for i in range(d))
    zero, one = [0.0] * d, np.eye(d).tolist()
    text = CASE.format(d=d, number=number, formula=formula, zero=zero, one=one)
    return parse_toml(text, "random").build().method


def draw_problem(seed: int) -> tuple[kjko.Problem, dict[str, float]]:
    """A problem, and what was drawn for it."""
    draw = np.random.default_rng(seed)
    d, root = 1 + seed % 3, draw.normal(size=(1 + seed % 3,) * 2)
    potential = Bumpy(
        stiffness=jnp.asarray(0.5 * np.eye(d) + 0.3 * root @ root.T),
        waves=jnp.asarray(draw.uniform(1, 6, (2, d)) * draw.choice([-1, 1], (2, d))),
        amplitudes=jnp.asarray(draw.uniform(0, 1, 2)),
        quartic=jnp.asarray(draw.choice([0.0, draw.uniform(0, 0.3)])),
    )
    law = kjko.Product(
        kjko.GaussianPosition(draw.normal(size=d), draw.uniform(0.3, 1.5) * np.eye(d)),
        means=draw.normal(size=(2, d)),
        covariances=np.stack([t * np.eye(d) for t in draw.uniform(0.3, 2.0, size=2)]),
        weights=np.array([0.4, 0.6]),
    )
    ends = {"rate": (0.01, 50.0), "time_step": (0.01, 0.5), "temperature": (0.1, 10.0)}
    drawn = {key: float(np.exp(draw.uniform(*np.log(of)))) for key, of in ends.items()}
    collisions = kjko.FokkerPlanck(drawn["rate"], drawn["temperature"])
    number = int(draw.choice(NUMBERS))
    problem = kjko.Problem(kjko.External(potential), collisions, law)
    return problem, {"dimension": d, "number": number, **drawn}


@eqx.filter_jit
def rise(problem: kjko.Problem, before: State, after: State) -> jnp.ndarray:
    """By how much the collisions between two states a step apart raise the free energy."""
    split, field, t, dt = kjko.StrangMidpoint(), before.field, before.time, before.time_step
    free = split.prepare(problem, field, before.particles, t, dt)[0]
    moved = split.undo_finish(problem, (field, field), after.particles, t, dt)

    def free_energy(x, v, log_f):
        potential = jax.vmap(lambda x: problem.flow.potential_energy(field, x))(x)
        return 0.5 * jnp.sum(v**2, axis=-1) + potential + problem.temperature * log_f

    start = free_energy(free.x_free, free.v_free, free.log_f)
    return jnp.mean(free_energy(moved.x, moved.v, moved.log_f) - start)


def run(seed: int) -> dict[str, Any]:
    """The numbers of one problem."""
    problem, drawn = draw_problem(seed)
    d, number, time_step = int(drawn["dimension"]), int(drawn["number"]), drawn["time_step"]
    assert problem.law is not None
    simulation = kjko.simulate(
        problem,
        default(d, number),
        kjko.sample(problem.law, number, seed, "low-discrepancy"),
        time_step=time_step,
        end_time=STEPS * time_step,
        seed=seed,
        observables=[Energies(), Entropies(), FitReport()],
    )
    result: dict[str, Any] = {"seed": seed, **drawn, "failure": None}
    records, rises, before = [], [-np.inf], None
    try:
        for state, record in simulation:
            if before is not None:
                rises.append(float(rise(problem, before, state)))
            before = state
            records.append(record)
    except NumericalFailure as error:
        result["failure"] = str(error)
    result["largest_rise"] = max(rises)
    result["seconds"] = sum(record["seconds"] for record in records[2:])
    result["least_determinant"] = min((r["det_min"] for r in records[1:]), default=None)
    return result


if __name__ == "__main__":
    parser = arguments("random_problems", __doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=200)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for seed in range(options.first, options.first + (6 if options.quick else options.number)):
        found.append(run(seed))
        tell(json.dumps(found[-1]))
        seconds = np.array([result["seconds"] for result in found])
        summary = {
            "failures": sum(result["failure"] is not None for result in found),
            "largest_rise": max(result["largest_rise"] for result in found),
            "slowest_over_median": float(seconds.max() / np.median(seconds)),
        }
        write(options.out, {"machine": machine(), "summary": summary, "runs": found})
    tell(json.dumps(summary))
