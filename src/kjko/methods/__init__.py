"""Methods: what is learned, when, and how a step is taken with it."""

from kjko.methods.jko import JKO as JKO
from kjko.methods.langevin import Langevin as Langevin
from kjko.methods.score import Score as Score
from kjko.methods.score_end_to_end import ScoreEndToEnd as ScoreEndToEnd
from kjko.methods.velocity_matching import VelocityMatching as VelocityMatching
