"""Controls u(x, v) and u(t, x, v): functions of one particle.

Any pytree that is such a callable may be used.
"""

from kjko.controls.affine import Affine as Affine
from kjko.controls.affine import AffineInTime as AffineInTime
from kjko.controls.gradient import Gradient as Gradient
from kjko.controls.in_time import InTime as InTime
from kjko.controls.mlp import MLP as MLP
from kjko.controls.periodic import Periodic as Periodic
