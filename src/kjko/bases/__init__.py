"""Bases Φ(x, v) for potentials ψ = Σ c_k Φ_k, whose gradients are controls linear in c.

The exact control of a JKO step is a gradient in v. Scales are taken from the particles.
"""

from kjko.bases.dense import Dense as Dense
from kjko.bases.fourier_hermite import FourierHermite as FourierHermite
from kjko.bases.quadratics import Quadratics as Quadratics
from kjko.bases.random_tanh import RandomTanh as RandomTanh
from kjko.bases.ridges import Ridges as Ridges
from kjko.bases.splines import Splines as Splines
