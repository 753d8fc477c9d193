"""Flows: what accelerates the particles."""

from kjko.flow.ampere import Ampere as Ampere
from kjko.flow.driven import Driven as Driven
from kjko.flow.external import External as External
from kjko.flow.magnetic import Magnetic as Magnetic
from kjko.flow.own_field import AbstractOwnField as AbstractOwnField
from kjko.flow.own_field import Field as Field
from kjko.flow.poisson import Poisson as Poisson
from kjko.flow.sum import Sum as Sum
from kjko.flow.uniform import Uniform as Uniform
