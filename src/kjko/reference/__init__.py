"""Independent answers to hold a run against. They share nothing with the solver but the problem."""

from kjko.reference.collisionless import ExactImage as ExactImage
from kjko.reference.collisionless import exact_image as exact_image
from kjko.reference.dispersion import debye_ratio as debye_ratio
from kjko.reference.dispersion import wave_root as wave_root
from kjko.reference.errors import KnownLaw as KnownLaw
from kjko.reference.errors import density_error as density_error
from kjko.reference.errors import marginal_error as marginal_error
from kjko.reference.errors import score_error as score_error
from kjko.reference.errors import sliced_wasserstein as sliced_wasserstein
from kjko.reference.gaussian import ExactGaussian as ExactGaussian
from kjko.reference.gaussian import exact_gaussian as exact_gaussian
from kjko.reference.gibbs import GibbsLaw as GibbsLaw
from kjko.reference.gibbs import gibbs_law as gibbs_law
from kjko.reference.grid import GridSolution as GridSolution
from kjko.reference.grid import grid_solution as grid_solution
from kjko.reference.grid_density import GridDensity as GridDensity
from kjko.reference.grid_plane import plane_law as plane_law
from kjko.reference.known import GridLaw as GridLaw
from kjko.reference.known import closed_form as closed_form
from kjko.reference.known import known_law as known_law
from kjko.reference.stationary import Stationary as Stationary
from kjko.reference.stationary import stationary as stationary
from kjko.reference.wave_fit import Wave as Wave
from kjko.reference.wave_fit import measure_wave as measure_wave
