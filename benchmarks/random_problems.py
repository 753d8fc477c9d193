"""The default on 200 problems that nobody has chosen: does any fail, rise or take for ever?

d = 1-3, a potential that couples all coordinates, two beams, ε from 0.01 to 50, Δt from 0.01 to
0.5, T₀ from 0.1 to 10, N from 300 to 2,000, all drawn anew for each; 20 steps. For each run the
largest rise of the free energy in a step, and the seconds that its steps took without the first,
which compiles.
"""

import json
from typing import Any

import numpy as np
from record import arguments, machine, tell, write

from kjko.case import parse_toml
from kjko.observe import Entropies, FitReport
from kjko.observe.failure import NumericalFailure

STEPS = 20


def case_of(seed: int) -> tuple[str, dict[str, float]]:
    """A case file, and what was drawn for it."""
    draw = np.random.default_rng(seed)
    d = 1 + seed % 3
    root = draw.normal(size=(d, d))
    stiffness = 0.5 * np.eye(d) + 0.3 * root @ root.T
    x = [f"x{i + 1}" for i in range(d)]
    terms = [f"{0.5 * stiffness[i, k]:.4f}*{x[i]}*{x[k]}" for i in range(d) for k in range(d)]
    for _ in range(2):
        angle = " + ".join(
            f"({a:.4f})*{name}" for a, name in zip(draw.normal(size=d), x, strict=True)
        )
        terms.append(f"{draw.uniform(0, 1):.4f}*cos({2 * draw.uniform(1, 3):.4f}*({angle}))")
    quartic = draw.choice([0.0, draw.uniform(0, 0.3)])
    terms.append(f"{quartic:.4f}*({' + '.join(f'{name}**2' for name in x)})**2")
    log = {"rate": (0.01, 50.0), "time_step": (0.01, 0.5), "temperature": (0.1, 10.0)}
    drawn = {key: float(np.exp(draw.uniform(*np.log(ends)))) for key, ends in log.items()}
    number = int(draw.integers(300, 2001))
    wide = (draw.uniform(0.3, 1.5) * np.eye(d)).tolist()
    text = f"""
[problem]
dimension = {d}
collision_rate = {drawn["rate"]}
temperature = {drawn["temperature"]}
potential = {{ kind = "expression", formula = "{" + ".join(terms).replace("+ -", "- ")}" }}
[problem.law]
kind = "product"
position = {{ kind = "gaussian", mean = {draw.normal(size=d).tolist()}, covariance = {wide} }}
[problem.law.velocity]
means = {draw.normal(size=(2, d)).tolist()}
temperatures = {draw.uniform(0.3, 2.0, size=2).tolist()}
weights = [0.4, 0.6]
[particles]
number = {number}
seed = {seed}
[solver]
time_step = {drawn["time_step"]}
end_time = {STEPS * drawn["time_step"]}
"""
    return text, {"dimension": d, "number": number, **drawn}


def run(seed: int) -> dict[str, Any]:
    """The numbers of one problem."""
    text, drawn = case_of(seed)
    result: dict[str, Any] = {"seed": seed, **drawn, "failure": None}
    records = []
    try:
        for _, record in parse_toml(text, "random").build().simulate([Entropies(), FitReport()]):
            records.append(record)
    except NumericalFailure as error:
        result["failure"] = str(error)
    free = [record["free_energy"] for record in records]
    result["largest_rise"] = float(np.max(np.diff(free), initial=-np.inf))
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
