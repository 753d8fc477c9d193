"""Bases Φ(x, v) for potentials ψ = Σ c_k Φ_k, whose gradients are controls linear in c.

The exact control of a JKO step is a gradient in v. Scales are taken from the particles.
"""

from kjko.features.basis import AbstractBasis as AbstractBasis
from kjko.features.fourier_hermite import FourierHermite as FourierHermite
from kjko.features.quadratics import Quadratics as Quadratics
from kjko.features.random_tanh import RandomTanh as RandomTanh
from kjko.features.splines import Splines as Splines
