"""Splittings: where in a step of the flow the collisions act."""

from kjko.splitting.lie import Lie as Lie
from kjko.splitting.maps import DriftKick as DriftKick
from kjko.splitting.maps import StormerVerlet as StormerVerlet
from kjko.splitting.strang import StrangMidpoint as StrangMidpoint
from kjko.splitting.symplectic_euler import SymplecticEuler as SymplecticEuler
from kjko.splitting.unsplit import Unsplit as Unsplit
