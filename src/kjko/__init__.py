"""kinetic-jko: density, entropy and free energy of kinetic equations.

    ∂ₜf + v·∇ₓf + a(t, x, v; f)·∇ᵥf = Q[f]

A `Problem` is a flow, collisions, a law and a box; a method solves it, step by step:

    import kjko

    problem = kjko.Problem(
        flow=kjko.External(kjko.Quadratic(stiffness=[[2.0]], center=[0.0])),
        law=kjko.Gaussian(mean=[0.0, 1.0], covariance=[[2.0, 1.0], [1.0, 3.0]]),
    )
    method = kjko.JKO(kjko.Gradient(kjko.Splines(dimension=1)))
    particles = kjko.sample(problem.law, 10_000, seed=0)
    for state, record in kjko.simulate(problem, method, particles, time_step=0.1, end_time=2.0):
        print(record["time"], record["free_energy"], record["kl_stationary"])

What is asked of each part is in `kjko.interfaces`. The names below are imported when they are first
used, so that `kjko --help` needs no jax.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kjko.bases import FourierHermite as FourierHermite
    from kjko.bases import Quadratics as Quadratics
    from kjko.bases import RandomTanh as RandomTanh
    from kjko.bases import Ridges as Ridges
    from kjko.bases import Splines as Splines
    from kjko.case import load as load
    from kjko.collisions import Dougherty as Dougherty
    from kjko.collisions import FokkerPlanck as FokkerPlanck
    from kjko.collisions import NoCollisions as NoCollisions
    from kjko.controls import MLP as MLP
    from kjko.controls import Affine as Affine
    from kjko.controls import AffineInTime as AffineInTime
    from kjko.controls import Gradient as Gradient
    from kjko.controls import InTime as InTime
    from kjko.controls import Periodic as Periodic
    from kjko.core import Box as Box
    from kjko.core import Mesh as Mesh
    from kjko.core import Particles as Particles
    from kjko.core import State as State
    from kjko.devices import several as several
    from kjko.ensembles import ensemble as ensemble
    from kjko.fit import Adam as Adam
    from kjko.fit import GaussNewton as GaussNewton
    from kjko.fit import LevenbergMarquardt as LevenbergMarquardt
    from kjko.fit import Newton as Newton
    from kjko.flow import Ampere as Ampere
    from kjko.flow import Driven as Driven
    from kjko.flow import External as External
    from kjko.flow import Magnetic as Magnetic
    from kjko.flow import Poisson as Poisson
    from kjko.flow import Sum as Sum
    from kjko.flow import Uniform as Uniform
    from kjko.flow.potentials import Cosine as Cosine
    from kjko.flow.potentials import DoubleWell as DoubleWell
    from kjko.flow.potentials import Expression as Expression
    from kjko.flow.potentials import Multiwell as Multiwell
    from kjko.flow.potentials import Quadratic as Quadratic
    from kjko.flow.potentials import RotatedWell as RotatedWell
    from kjko.flow.potentials import Sine as Sine
    from kjko.history import log_density as log_density
    from kjko.history import score as score
    from kjko.initial import CosinePosition as CosinePosition
    from kjko.initial import Gaussian as Gaussian
    from kjko.initial import GaussianMixture as GaussianMixture
    from kjko.initial import GaussianPosition as GaussianPosition
    from kjko.initial import Product as Product
    from kjko.initial import Waves as Waves
    from kjko.initial import sample as sample
    from kjko.methods import JKO as JKO
    from kjko.methods import Langevin as Langevin
    from kjko.methods import Score as Score
    from kjko.methods import ScoreEndToEnd as ScoreEndToEnd
    from kjko.methods import VelocityMatching as VelocityMatching
    from kjko.observe import DriftError as DriftError
    from kjko.observe import Energies as Energies
    from kjko.observe import Entropies as Entropies
    from kjko.observe import FitReport as FitReport
    from kjko.observe import Marginals as Marginals
    from kjko.observe import NumericalFailure as NumericalFailure
    from kjko.observe import Positions as Positions
    from kjko.observe import ScoreCheck as ScoreCheck
    from kjko.observe import UntrustedDensity as UntrustedDensity
    from kjko.problem import Problem as Problem
    from kjko.run import open_run as open_run
    from kjko.run.loop import run_case as run_case
    from kjko.simulation import simulate as simulate
    from kjko.splitting import DriftKick as DriftKick
    from kjko.splitting import Lie as Lie
    from kjko.splitting import StormerVerlet as StormerVerlet
    from kjko.splitting import StrangMidpoint as StrangMidpoint
    from kjko.splitting import SymplecticEuler as SymplecticEuler
    from kjko.splitting import Unsplit as Unsplit
    from kjko.studies.sweep_results import open_sweep as open_sweep

_HOME = {
    "bases": ("FourierHermite", "Quadratics", "RandomTanh", "Ridges", "Splines"),
    "case": ("load",),
    "collisions": ("Dougherty", "FokkerPlanck", "NoCollisions"),
    "controls": ("Affine", "AffineInTime", "Gradient", "InTime", "MLP", "Periodic"),
    "core": ("Box", "Mesh", "Particles", "State"),
    "devices": ("several",),
    "ensembles": ("ensemble",),
    "fit": ("Adam", "GaussNewton", "LevenbergMarquardt", "Newton"),
    "flow": ("Ampere", "Driven", "External", "Magnetic", "Poisson", "Sum", "Uniform"),
    "flow.potentials": (
        "Cosine",
        "DoubleWell",
        "Expression",
        "Multiwell",
        "Quadratic",
        "RotatedWell",
        "Sine",
    ),
    "history": ("log_density", "score"),
    "initial": (
        "CosinePosition",
        "Gaussian",
        "GaussianMixture",
        "GaussianPosition",
        "Product",
        "Waves",
        "sample",
    ),
    "methods": ("JKO", "Langevin", "Score", "ScoreEndToEnd", "VelocityMatching"),
    "observe": (
        "Positions",
        "DriftError",
        "Energies",
        "Entropies",
        "FitReport",
        "Marginals",
        "NumericalFailure",
        "ScoreCheck",
        "UntrustedDensity",
    ),
    "problem": ("Problem",),
    "run": ("open_run",),
    "run.loop": ("run_case",),
    "simulation": ("simulate",),
    "splitting": (
        "DriftKick",
        "Lie",
        "StormerVerlet",
        "StrangMidpoint",
        "SymplecticEuler",
        "Unsplit",
    ),
    "studies.sweep_results": ("open_sweep",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("kinetic-jko")
    if name not in _MODULE:
        raise AttributeError(f"module 'kjko' has no attribute {name!r}")
    return getattr(import_module(f"kjko.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
