"""Independent answers to hold a run against. They share nothing with the solver but the problem."""

from kjko.reference.gaussian import ExactGaussian as ExactGaussian
from kjko.reference.gaussian import exact_gaussian as exact_gaussian
from kjko.reference.stationary import Stationary as Stationary
from kjko.reference.stationary import stationary as stationary
