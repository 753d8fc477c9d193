"""Initial laws, and particles of them."""

from kjko.initial.laws import AbstractLaw as AbstractLaw
from kjko.initial.laws import Gaussian as Gaussian
from kjko.initial.laws import GaussianMixture as GaussianMixture
from kjko.initial.laws import Product as Product
from kjko.initial.positions import CellJitter as CellJitter
from kjko.initial.positions import CosinePosition as CosinePosition
from kjko.initial.positions import GaussianPosition as GaussianPosition
from kjko.initial.sampling import sample as sample
from kjko.initial.waves import Waves as Waves
