"""Case files: the one place where outside text becomes typed objects.

text -> read (TOML, --set) -> tables (keys and their types) -> build (Problem, method, particles)
"""

from kjko.case.build import Experiment as Experiment
from kjko.case.checks import BadInput as BadInput
from kjko.case.read import Case as Case
from kjko.case.read import load as load
from kjko.case.read import parse_toml as parse_toml
