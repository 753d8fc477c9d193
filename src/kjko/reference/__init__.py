"""Independent answers to hold a run against. They share nothing with the solver but the problem."""

from kjko.reference.errors import KnownLaw as KnownLaw
from kjko.reference.errors import density_error as density_error
from kjko.reference.errors import marginal_error as marginal_error
from kjko.reference.errors import score_error as score_error
from kjko.reference.errors import sliced_wasserstein as sliced_wasserstein
from kjko.reference.gaussian import ExactGaussian as ExactGaussian
from kjko.reference.gaussian import exact_gaussian as exact_gaussian
from kjko.reference.stationary import Stationary as Stationary
from kjko.reference.stationary import stationary as stationary
