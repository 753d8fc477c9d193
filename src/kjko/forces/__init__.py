"""Forces: what accelerates the particles."""

from kjko.forces.external import External as External
