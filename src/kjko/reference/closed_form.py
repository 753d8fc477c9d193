"""The law that needs no grid: of a Gaussian, a mixture of them, or without collisions."""

from kjko.problem import Problem
from kjko.reference.collisionless import exact_image
from kjko.reference.errors import KnownLaw
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.mixture import exact_mixture


def closed_form(problem: Problem) -> KnownLaw | None:
    """The exact law at all times, where it is known in closed form, or by following points."""
    return exact_gaussian(problem) or exact_mixture(problem) or exact_image(problem)
