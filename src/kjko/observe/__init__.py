"""Observables: what a run measures after every step."""

from kjko.observe.drift_error import DriftError as DriftError
from kjko.observe.energies import Energies as Energies
from kjko.observe.failure import NumericalFailure as NumericalFailure
from kjko.observe.failure import check as check
from kjko.observe.fit_report import FitReport as FitReport
from kjko.observe.free_energy import Entropies as Entropies
from kjko.observe.marginals import Marginals as Marginals
from kjko.observe.observer import DEFAULT as DEFAULT
from kjko.observe.observer import Observer as Observer
from kjko.observe.positions import Positions as Positions
from kjko.observe.score_check import ScoreCheck as ScoreCheck
from kjko.observe.start import Start as Start
from kjko.observe.trust import UntrustedDensity as UntrustedDensity
