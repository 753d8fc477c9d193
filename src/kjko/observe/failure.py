"""Numerical failure, looked for after every step."""

import numpy as np

from kjko.interfaces import Record

# Looked at in this order: a cause comes before what it spoils.
CHECKED = ("loss", "det_min", "energy_kinetic", "energy_potential", "entropy")


class NumericalFailure(ArithmeticError):
    """A step gave a value that is not finite, or a map that folds."""


def check(record: Record) -> None:
    """Raise NumericalFailure, naming the first bad quantity and the step."""
    where = f"at step {record['step']} (t = {record['time']:g})"
    for name in CHECKED:
        value = record.get(name)
        if value is None:
            continue
        if not np.isfinite(value):
            raise NumericalFailure(
                f"{name} is not finite {where}: try a smaller solver.time_step or learning rate"
            )
        if name == "det_min" and value <= 0:
            raise NumericalFailure(
                f"det_min = {value:.3g} {where}: the map folds; try a smaller solver.time_step"
                ' and solver.method.log_det = "exact"'
            )
