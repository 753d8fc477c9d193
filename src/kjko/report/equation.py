"""The equation that a case solves, with its numbers, in one line of text for each part of it."""

import json
import math
from typing import Any

POTENTIALS = {
    "quadratic": "½ (x − c)ᵀ K (x − c)",
    "multiwell": "½ k |x|² + a Σᵢ cos(2π xᵢ)",
    "double-well": "b Σᵢ ((xᵢ/m)² − 1)²",
    "rotated-well": "b ((y/m)² − 1)² + ½ k |x − y e|², y = e·x",
    "sine": "a Σᵢ sin(2π m xᵢ/Lᵢ)",
    "cosine": "a Σᵢ cos(2π m xᵢ/Lᵢ)",
}
SYMBOLS = {  # of the numbers in a potential
    "stiffness": "k",
    "center": "c",
    "amplitude": "a",
    "barrier": "b",
    "minimum": "m",
    "mode": "m",
    "direction": "e",
}
FORCES = {
    "poisson": ("E", "E = −∇Φ, −ΔΦ = ρ − ρ̄, ρ = ∫ f dv"),
    "ampere": ("E", "∂ₜE = −J, J = ∫ v f dv"),
    "uniform": ("a₀", "a₀ = {acceleration}"),
    "driven": ("a(t, x)", "a(t, x) = {formula}"),
    "magnetic": ("v × Ω", "Ω = {gyrofrequency}"),
}


def equation(problem: dict[str, Any]) -> list[str]:
    """The equation of a case's `problem`, and what its symbols are."""
    potential, forces = problem.get("potential"), _forces(problem)
    flow = ["−∇φ"] if potential else []
    flow += [_force(force)[0] for force in forces]
    field = f" + ({' + '.join(flow)})·∇ᵥf" if flow else ""
    of_collisions, numbers = _collisions(problem)
    lines = [f"∂ₜf + v·∇ₓf{field} = {of_collisions}", *numbers]
    if potential:
        lines.append(f"φ(x) = {_potential(potential)}")
    lines += [_force(force)[1] for force in forces]
    d_x = problem["dimension"]
    d = problem.get("velocity_dimension", d_x)
    lines.append(f"x ∈ {_domain(problem)}, v ∈ ℝ{_power(d)}, ∫∫ f dx dv = {problem['mass']:.6g}")
    return lines


def _force(force: dict[str, Any]) -> tuple[str, str]:
    """The symbol of a force, and what it is."""
    symbol, told = FORCES.get(force["kind"], ("a", f"a: {force['kind']}"))
    return symbol, told.format(**{key: _text(value) for key, value in force.items()})


def _forces(problem: dict[str, Any]) -> list[dict[str, Any]]:
    forces = problem.get("force") or []
    return forces if isinstance(forces, list) else [forces]


def _collisions(problem: dict[str, Any]) -> tuple[str, list[str]]:
    rate, temperature = problem["collision_rate"], problem["temperature"]
    if rate == 0:
        return "0", []
    if problem["collisions"]["kind"] == "dougherty":
        cells = problem["collisions"].get("number_of_cells")
        of = (
            "of the particles"
            if cells is None
            else f"of the particles in each of {_text(cells)} cells"
        )
        return "ε ∇ᵥ·((v − ū) f + T ∇ᵥf)", [f"ε = {rate:g}, ū and T {of}"]
    if problem["collisions"]["kind"] != "fokker-planck":
        return f"Q[f], {problem['collisions']['kind']}", [f"ε = {rate:g}"]
    return "ε ∇ᵥ·(v f + T₀ ∇ᵥf)", [f"ε = {rate:g}, T₀ = {temperature:g}"]


def _potential(table: dict[str, Any]) -> str:
    kind = table["kind"]
    if kind not in POTENTIALS:
        return table.get("formula", kind)
    names = SYMBOLS | ({"stiffness": "K"} if kind == "quadratic" else {})
    if kind == "quadratic":
        table = table | {"center": table.get("center", 0)}
    if kind == "rotated-well":
        table = table | {"direction": [round(e, 6) for e in _unit(table["direction"])]}
    numbers = [
        f"{names.get(key, key)} = {_text(value)}" for key, value in table.items() if key != "kind"
    ]
    return ", ".join([POTENTIALS[kind], *numbers])


def _unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    return [component / length for component in vector]


def _domain(problem: dict[str, Any]) -> str:
    domain, d = problem.get("domain"), problem["dimension"]
    if not domain:
        return f"ℝ{_power(d)}"
    if "wave_number" in domain:
        return " × ".join(f"[0, 2π/{k:.6g}]" for k in domain["wave_number"]) + ", periodic"
    return " × ".join(f"[0, {side:.6g}]" for side in domain["length"]) + ", periodic"


def _power(d: int) -> str:
    return "" if d == 1 else "⁰¹²³"[d] if d < 4 else f"^{d}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
