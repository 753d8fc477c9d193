"""The results that docs/results.md tells of: the commands that make each, and what is read of them.

A command is written without its folder; `kjko` is `python -m kjko` of this tree.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from checks import (
    Check,
    cost,
    density,
    gaussian,
    merged,
    orders,
    same_field,
    three_wells,
    wave,
)
from methods import methods

SPLINES = "--set solver.control.kind=splines --set solver.fit.kind=newton"
EULER = "--set solver.integrator.kind=symplectic-euler --set solver.method.log_det=linear"
COSINE = "--set problem.potential.kind=cosine --set problem.potential.mode=2"
LONGER = (
    "--set problem.domain={wave_number=[0.4]} --set problem.mass=2*pi/0.4"
    " --set problem.law.position.wave_number=[0.4]"
)
FASTER = "--set problem.law.velocity.means=[[-3.0],[3.0]]"
MANY = "--set particles.number=100000"


class Result(NamedTuple):
    """What a group of commands shows.

    `read`: from the folder that holds what the commands have made, the checks, or a table of
    methods. `figures`: name in docs/figures, and the path of the picture in the folder. `long`:
    hours, made only if it is named or by --long.
    """

    group: str
    commands: tuple[str, ...]
    read: Callable[[Path], list[Check] | dict[str, Any]]
    figures: dict[str, str] = {}
    long: bool = False


CLOSED, GRID, COUPLED, WAVES = "closed forms", "grids", "coupled", "waves"
ORDERS, METHODS, COST = "orders", "methods", "cost"

RESULTS: dict[str, Result] = {
    "gaussian-1d": Result(
        CLOSED,
        ("kjko sweep gaussian-1d --seeds 3",),
        partial(gaussian, drift=0.05, energy=0.005),
    ),
    "gaussian-1d-default": Result(
        CLOSED,
        (f"kjko sweep gaussian-1d --seeds 3 {SPLINES}",),
        partial(gaussian, drift=0.02, energy=0.002),
    ),
    "gaussian-3d": Result(
        CLOSED, ("kjko run gaussian-3d",), partial(gaussian, last=0.03, energy=0.03)
    ),
    "gaussian-3d-default": Result(
        CLOSED, (f"kjko run gaussian-3d {SPLINES}",), partial(gaussian, last=0.01, energy=0.03)
    ),
    "gaussian-1d-paper": Result(CLOSED, ("kjko run gaussian-1d-paper",), gaussian),
    "multiwell-1d": Result(
        GRID,
        ("kjko sweep multiwell-1d --seeds 3",),
        partial(density, kl=0.01, says=True),
        {"density.png": "0/0/figures/density.png", "kl.png": "0/0/figures/kl.png"},
    ),
    "double-well-1d": Result(
        GRID, ("kjko sweep double-well-1d --seeds 2",), partial(density, kl=0.01)
    ),
    "periodic-1d": Result(GRID, ("kjko run periodic-1d",), partial(density, kl=0.015)),
    "periodic-1d-cosine": Result(
        GRID, (f"kjko run periodic-1d {COSINE}",), partial(density, kl=0.015)
    ),
    "multiwell-3d": Result(GRID, ("kjko run multiwell-3d",), partial(three_wells, kl=0.05)),
    "landau-1d": Result(WAVES, ("kjko sweep landau-1d --seeds 3",), wave),
    "landau-1d-k-0.4": Result(WAVES, (f"kjko run landau-1d {LONGER}",), wave),
    "landau-1d-double": Result(WAVES, ("kjko run landau-1d --set solver.precision=double",), wave),
    "landau-1d-collisional": Result(WAVES, ("kjko run landau-1d-collisional",), wave),
    "landau-1d-dougherty": Result(WAVES, ("kjko run landau-1d-dougherty",), wave),
    "vafp-1d": Result(WAVES, ("kjko run landau-1d", "kjko run vafp-1d"), same_field),
    "two-stream-1d": Result(
        WAVES,
        ("kjko run two-stream-1d",),
        partial(wave, frequency=False),
        {
            "vortex.png": "0/figures/phase_space.png",
            "field_energy.png": "0/figures/field_energy.png",
        },
    ),
    "two-stream-1d-faster": Result(
        WAVES, (f"kjko run two-stream-1d {FASTER}",), partial(wave, frequency=False)
    ),
    "two-stream-1d-strong": Result(WAVES, ("kjko run two-stream-1d-strong",), merged),
    "bump-on-tail-1d": Result(WAVES, ("kjko run bump-on-tail-1d",), partial(wave, frequency=False)),
    "landau-2d": Result(WAVES, ("kjko run landau-2d",), wave),
    "order": Result(
        ORDERS,
        ("kjko converge gaussian-1d",),
        partial(orders, least=1.9),
        {"convergence.png": "0/convergence.png"},
    ),
    "order-printed": Result(
        ORDERS, (f"kjko converge gaussian-1d {EULER}",), partial(orders, least=0.9)
    ),
    "compare-gaussian-1d": Result(
        METHODS,
        ("kjko compare gaussian-1d --seeds 2",),
        methods,
        {"compare-gaussian-1d.png": "0/figure2.png"},
    ),
    "compare-double-well-1d": Result(
        METHODS,
        (
            "kjko compare double-well-1d"
            " --methods jko,jko-network,jko-unsplit,jko-paper,score,langevin",
        ),
        methods,
        {"compare-double-well-1d.png": "0/figure2.png"},
    ),
    "cost-multiwell-1d": Result(COST, ("kjko run multiwell-1d --set solver.end_time=3",), cost),
    "cost-multiwell-1d-many": Result(
        COST,
        ("kjko run multiwell-1d --set particles.number=1e6 --set solver.end_time=1.5",),
        cost,
    ),
    "cost-langevin": Result(
        COST,
        (
            "kjko run multiwell-1d --set particles.number=1e6 --set solver.end_time=1.5"
            " --set solver.method.kind=langevin",
        ),
        cost,
    ),
    "cost-mixture-2d": Result(COST, ("kjko run mixture-2d --set solver.end_time=1.5",), cost),
    "mixture-2d": Result(
        COUPLED,
        ("kjko run mixture-2d",),
        partial(density, kl=0.02, late=0.005, rms=0.05, mean=0.005, says=True),
    ),
    "rotated-well-2d": Result(
        COUPLED,
        ("kjko run rotated-well-2d",),
        partial(density, kl=0.02, late=0.005, says=True),
    ),
    "mixture-3d-splines": Result(
        COUPLED, (f"kjko run mixture-3d {SPLINES}",), partial(density, says=True)
    ),
    "rotated-well-2d-splines": Result(
        COUPLED, (f"kjko run rotated-well-2d {SPLINES}",), partial(density, says=True)
    ),
    "mixture-3d": Result(
        COUPLED,
        ("kjko run mixture-3d",),
        partial(density, kl=0.02, late=0.005, rms=0.05, mean=0.005, says=True),
    ),
    "rotated-well-3d": Result(
        COUPLED,
        ("kjko run rotated-well-3d",),
        partial(density, kl=0.02, late=0.005, says=True),
        long=True,
    ),
    "two-stream-1d3v": Result(
        WAVES, ("kjko run two-stream-1d3v",), partial(wave, frequency=False), long=True
    ),
    "multiwell-1d-many": Result(
        GRID, (f"kjko run multiwell-1d {MANY}",), partial(density, kl=0.004), long=True
    ),
    "mixture-2d-many": Result(
        COUPLED,
        (f"kjko run mixture-2d {MANY}",),
        partial(density, rms=0.025, mean=0.0015, says=True),
        long=True,
    ),
    "mixture-3d-many": Result(
        COUPLED,
        (f"kjko run mixture-3d {MANY}",),
        partial(density, rms=0.03, mean=0.0025, says=True),
        long=True,
    ),
    "compare-gaussian-3d": Result(
        METHODS,
        ("kjko compare gaussian-3d --seeds 5 --set solver.fit.steps=25",),
        methods,
        {"compare-gaussian-3d.png": "0/figure2.png"},
        long=True,
    ),
}
