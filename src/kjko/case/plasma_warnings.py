"""Warnings of what a plasma case does not resolve."""

import logging
import math

import numpy as np

from kjko.initial import Product
from kjko.problem import Problem

COARSE = 3.0  # cells in Debye lengths, from which on the grid heats the plasma
SEEN = 3.0  # a wave over the noise of a random start
log: logging.Logger = logging.getLogger(__name__)


def warn(problem: Problem, number: int, sampling: str) -> None:
    """Log a line for cells much wider than the Debye length, and for a wave that random particles
    hide in their noise.
    """
    frequency, law = problem.plasma_frequency, problem.law
    if frequency is None or not isinstance(law, Product):
        return
    mesh = problem.own_fields[0].mesh
    coldest = float(np.sqrt(np.min(np.asarray(law.covariances)[:, 0, 0])))
    debye = coldest / frequency
    for side, cells in zip(mesh.length, mesh.number_of_cells, strict=True):
        if side / cells > COARSE * debye:
            log.warning(
                "problem.force.number_of_cells: cells of width %.3g are wider than %g Debye lengths"
                " of %.3g, and heat the plasma; take %d or more",
                *(side / cells, COARSE, debye, math.ceil(side / (COARSE * debye))),
            )
    amplitudes = np.abs(np.asarray(getattr(law.position, "amplitude", np.zeros(1))))
    waves = amplitudes[amplitudes > 0]
    if sampling == "random" and waves.size and waves.max() < 2 * SEEN / math.sqrt(number):
        log.warning(
            "particles.number: a wave of amplitude %.3g is lost in the noise of %d random"
            " particles; set particles.sampling = lattice, or take %.0e or more",
            *(waves.max(), number, (2 * SEEN / waves.max()) ** 2),
        )
