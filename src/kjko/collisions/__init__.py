"""Collisions: the dissipative part of the equation."""

from kjko.collisions.dougherty import Dougherty as Dougherty
from kjko.collisions.fokker_planck import FokkerPlanck as FokkerPlanck
from kjko.collisions.none import NoCollisions as NoCollisions
