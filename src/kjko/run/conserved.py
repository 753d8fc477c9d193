"""What a run should keep, and by how much it has not."""

import numpy as np

from kjko.run.reader import Run

FROM_OUTSIDE = {"uniform", "driven"}  # forces that do work which no energy accounts for


def conserved(run: Run) -> dict[str, np.ndarray]:
    """The change of the total energy, over the kinetic energy at first, and of the momentum, over
    that of all particles with the same speed, at each record after the first; of each where neither
    a bath nor a force from outside changes it. Of Ampère's field the momentum is not kept.
    """
    problem, columns = run.case["problem"], run.columns
    forces = problem.get("force", [])
    kinds = {force["kind"] for force in (forces if isinstance(forces, list) else [forces])}
    in_a_bath = run.has_bath and problem.get("collision_rate", 1.0) > 0
    kinetic = columns.get("energy_kinetic", np.empty(0))
    if in_a_bath or kinds & FROM_OUTSIDE or kinetic.size < 2:
        return {}
    total = kinetic + columns.get("energy_potential", 0.0)
    changes = {"total energy": np.abs(total - total[0]) / kinetic[0]}
    moves = "potential" in problem or kinds & {"magnetic", "ampere"}
    if "momentum" in columns and not moves:
        moved = np.linalg.norm(columns["momentum"] - columns["momentum"][0], axis=1)
        changes["momentum"] = moved / np.sqrt(2 * problem.get("mass", 1.0) * kinetic[0])
    for change in changes.values():
        change[0] = np.nan
    return changes
