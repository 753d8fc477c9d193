"""First cases of one's own: particles in a potential, or a plasma."""

from typing import Any

LAWS = {"potential": ("normal", "beams"), "plasma": ("wave", "beams")}  # of each equation
USUAL = ("problem.collision_rate", "problem.temperature", "particles.number", "solver.end_time")
ASKED = {  # what most people change
    "potential": ("problem.potential.kind", *USUAL),
    "plasma": ("problem.force.kind", *USUAL),
}


def template(equation: str, dimension: int, law: str) -> dict[str, Any]:
    """The tables of such a case; `law`: one of those of the equation."""
    make = _in_a_potential if equation == "potential" else _plasma
    what = {"normal": "a normal law", "wave": "a wave", "beams": "two beams"}[law]
    where = "in a potential" if equation == "potential" else "in a plasma"
    return {"title": f"{what.capitalize()} {where}, {dimension}D", **make(dimension, law)}


def _in_a_potential(d: int, law: str) -> dict[str, Any]:
    identity = [[float(i == j) for j in range(d)] for i in range(d)]
    position = {"kind": "gaussian", "mean": _along_first(1.0, d), "covariance": identity}
    return {
        "problem": {
            "dimension": d,
            "collision_rate": 1.0,
            "temperature": 1.0,
            "potential": {"kind": "quadratic"},
            "law": {"kind": "product", "position": position, "velocity": _velocity(law, 1.5, d)},
        },
        "particles": {"number": 10_000, "sampling": "low-discrepancy"},
        "solver": {"time_step": 0.1, "end_time": 10.0},
        "output": {"snapshot_every": 20},
    }


def _plasma(d: int, law: str) -> dict[str, Any]:
    k, amplitude = (0.5, 0.01) if law == "wave" else (0.2, 0.001)
    wave = {"kind": "cosine", "amplitude": [amplitude] * d, "wave_number": [k] * d}
    return {
        "problem": {
            "dimension": d,
            "collision_rate": 0.1,
            "temperature": 1.0,
            "mass": f"(2*pi/{k})**{d}",
            "force": {"kind": "poisson", "number_of_cells": 128 // 2**d},
            "law": {"kind": "product", "position": wave, "velocity": _velocity(law, 2.4, d)},
            "domain": {"wave_number": [k] * d},
        },
        "particles": {"number": 100_000, "sampling": "lattice"},
        "solver": {"time_step": 0.05, "end_time": 20.0},
        "output": {"snapshot_every": 100, "histogram_every": 8},
    }


def _velocity(law: str, speed: float, d: int) -> dict[str, Any]:
    means = [-speed, speed] if law == "beams" else [0.0]
    return {"means": [_along_first(mean, d) for mean in means], "widths": [1.0] * len(means)}


def _along_first(value: float, d: int) -> list[float]:
    return [value] + [0.0] * (d - 1)
