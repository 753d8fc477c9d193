"""Numerical failure, looked for after every step."""

import numpy as np

from kjko.interfaces import Record

# Looked at in this order: a cause comes before what it spoils.
CHECKED = ("loss", "det_min", "energy_kinetic", "energy_potential", "entropy")
JUMP = 0.5  # of the kinetic energy: by less, the flow's own error, the free energy may rise


class NumericalFailure(ArithmeticError):
    """A step gave a value that is not finite, a map that folds or energy from nowhere."""


def check(record: Record, before: Record | None = None) -> None:
    """Raise NumericalFailure, naming the first bad quantity and the step.

    `before`: the record of the step before, which the free energy is held to: no step of the
    equation raises it, and a step of a flow that does not resolve its force does so without limit.
    """
    where = f"at step {record['step']} (t = {record['time']:g})"
    for name in CHECKED:
        value = record.get(name)
        if value is None:
            continue
        if name == "det_min" and np.isnan(value):
            raise NumericalFailure(
                f"the collision cannot be cut into parts fine enough {where}: try a smaller"
                " solver.time_step or learning rate"
            )
        if not np.isfinite(value):
            raise NumericalFailure(
                f"{name} is not finite {where}: try a smaller solver.time_step or learning rate"
            )
        if name == "det_min" and value <= 0:
            raise NumericalFailure(
                f"det_min = {value:.3g} {where}: the map folds; try a smaller solver.time_step"
                ' and solver.method.log_det = "exact"'
            )
    if before is None or record.get("free_energy_plain") is None:
        return
    was, now = before["free_energy_plain"], record["free_energy_plain"]
    scale = max(before.get("energy_kinetic") or 0.0, 0.25 * (record.get("energy_kinetic") or 0.0))
    if was is not None and now - was > JUMP * scale > 0:
        raise NumericalFailure(
            f"free energy rises from {was:.4g} to {now:.4g} {where}: the force is not resolved; try"
            " a smaller solver.time_step"
        )
