"""No program gives LAPACK several matrices at once: jaxlib 0.10 then waits for ever at times.

It shares them out among XLA's threads and waits for them in one of these; where all wait so, as
those of two devices on two cores, none is left to work.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import pytest

from kjko.case import load
from kjko.initial.sampling import _log_density

LAPACK = {"cholesky", "eigh", "geqrf", "lu", "qr", "svd", "triangular_solve", "tridiagonal_solve"}
PRODUCT = ["solver.control={kind='splines'}", "solver.fit={kind='newton'}"]
STEPS = {
    "splines of a pair": ("landau-1d-dougherty", []),
    "splines of three pairs": ("multiwell-3d", PRODUCT),
    "ridges": ("rotated-well-2d", []),
    "gauss-newton": (
        "gaussian-3d",
        ["solver.control={kind='affine'}", "solver.fit={kind='gauss-newton'}"],
    ),
}


def to_lapack(jaxpr):
    """How many matrices each call has, those in loops and branches too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in LAPACK:
            yield equation.primitive.name, math.prod(equation.invars[0].aval.shape[:-2])
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from to_lapack(inner)


def calls(function, *args):
    return set(to_lapack(eqx.filter_make_jaxpr(function)(*args)[0].jaxpr))


@pytest.mark.parametrize("name", STEPS)
def test_of_a_step(name):
    case, settings = STEPS[name]
    experiment = load(case, ["particles.number=1024", *settings]).build()
    found = calls(experiment.method.step, experiment.problem, experiment.init())
    assert {number for _, number in found} == {1}


def test_of_a_law():
    """Of two beams, at many particles."""
    law = load("mixture-2d").build().problem.law
    assert calls(_log_density, law, jnp.zeros((8, 2)), jnp.zeros((8, 2))) == set()


def test_that_a_batch_would_be_seen():
    batch = jnp.tile(jnp.eye(2), (3, 1, 1))
    assert calls(lambda a: eqx.filter_jit(jnp.linalg.cholesky)(a), batch) == {("cholesky", 3)}
