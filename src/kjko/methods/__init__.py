"""Methods: what is minimised over the control at every step."""

from kjko.methods.jko import JKO as JKO
