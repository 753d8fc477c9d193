"""Integrators: the conservative map of a step and where in it the control acts."""

from kjko.integrators.lie import Lie as Lie
from kjko.integrators.maps import DriftKick as DriftKick
from kjko.integrators.maps import StormerVerlet as StormerVerlet
from kjko.integrators.strang import StrangMidpoint as StrangMidpoint
from kjko.integrators.symplectic_euler import SymplecticEuler as SymplecticEuler
from kjko.integrators.unsplit import Unsplit as Unsplit
