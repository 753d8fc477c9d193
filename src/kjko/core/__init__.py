"""What every part knows: particles, the state of a run, the periodic box and grid, formulas."""

from kjko.core.box import Box as Box
from kjko.core.mesh import Mesh as Mesh
from kjko.core.particles import Particles as Particles
from kjko.core.particles import State as State
from kjko.core.stage import Bath as Bath
from kjko.core.stage import Response as Response
from kjko.core.stage import Stage as Stage
