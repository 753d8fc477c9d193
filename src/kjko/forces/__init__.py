"""Forces: what accelerates the particles."""

from kjko.forces.ampere import Ampere as Ampere
from kjko.forces.external import External as External
from kjko.forces.mesh import Mesh as Mesh
from kjko.forces.poisson import Poisson as Poisson
from kjko.forces.self_consistent import AbstractSelfConsistent as AbstractSelfConsistent
from kjko.forces.self_consistent import Field as Field
