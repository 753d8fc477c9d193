"""kinetic-jko: density, entropy and free energy of kinetic Fokker-Planck equations.

The names below are imported when they are first used, so that `kjko --help` needs no jax.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kjko.controls import MLP as MLP
    from kjko.controls import Affine as Affine
    from kjko.controls import AffineInTime as AffineInTime
    from kjko.controls import Gradient as Gradient
    from kjko.controls import InTime as InTime
    from kjko.controls import Periodic as Periodic
    from kjko.diagnostics import NumericalFailure as NumericalFailure
    from kjko.evolution import simulate as simulate
    from kjko.features import FourierHermite as FourierHermite
    from kjko.features import Quadratics as Quadratics
    from kjko.features import RandomTanh as RandomTanh
    from kjko.features import Splines as Splines
    from kjko.fit import Adam as Adam
    from kjko.fit import GaussNewton as GaussNewton
    from kjko.fit import Newton as Newton
    from kjko.forces import Ampere as Ampere
    from kjko.forces import External as External
    from kjko.forces import Mesh as Mesh
    from kjko.forces import Poisson as Poisson
    from kjko.integrators import DriftKick as DriftKick
    from kjko.integrators import Lie as Lie
    from kjko.integrators import StormerVerlet as StormerVerlet
    from kjko.integrators import StrangMidpoint as StrangMidpoint
    from kjko.integrators import SymplecticEuler as SymplecticEuler
    from kjko.integrators import Unsplit as Unsplit
    from kjko.interfaces import Particles as Particles
    from kjko.laws import CosinePosition as CosinePosition
    from kjko.laws import Gaussian as Gaussian
    from kjko.laws import GaussianPosition as GaussianPosition
    from kjko.laws import Product as Product
    from kjko.laws import sample as sample
    from kjko.methods import JKO as JKO
    from kjko.methods import Langevin as Langevin
    from kjko.methods import Score as Score
    from kjko.methods import ScoreEndToEnd as ScoreEndToEnd
    from kjko.methods import VelocityMatching as VelocityMatching
    from kjko.potentials import Cosine as Cosine
    from kjko.potentials import DoubleWell as DoubleWell
    from kjko.potentials import Multiwell as Multiwell
    from kjko.potentials import Quadratic as Quadratic
    from kjko.potentials import Sine as Sine
    from kjko.problem import Box as Box
    from kjko.problem import Problem as Problem
    from kjko.solver import Solver as Solver

_HOME = {
    "controls": ("Affine", "AffineInTime", "Gradient", "InTime", "MLP", "Periodic"),
    "diagnostics": ("NumericalFailure",),
    "evolution": ("simulate",),
    "features": ("FourierHermite", "Quadratics", "RandomTanh", "Splines"),
    "fit": ("Adam", "GaussNewton", "Newton"),
    "forces": ("Ampere", "External", "Mesh", "Poisson"),
    "integrators": (
        "DriftKick",
        "Lie",
        "StormerVerlet",
        "StrangMidpoint",
        "SymplecticEuler",
        "Unsplit",
    ),
    "interfaces": ("Particles",),
    "laws": ("CosinePosition", "Gaussian", "GaussianPosition", "Product", "sample"),
    "methods": ("JKO", "Langevin", "Score", "ScoreEndToEnd", "VelocityMatching"),
    "potentials": ("Cosine", "DoubleWell", "Multiwell", "Quadratic", "Sine"),
    "problem": ("Box", "Problem"),
    "solver": ("Solver",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str):
    if name not in _MODULE:
        raise AttributeError(f"module 'kjko' has no attribute {name!r}")
    return getattr(import_module(f"kjko.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
