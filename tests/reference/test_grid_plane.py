"""The grid of two x and two v: against the closed form, where all coordinates are coupled."""

import numpy as np
import pytest

import kjko
from kjko.flow.potentials import Quadratic
from kjko.reference.closed_form import closed_form
from kjko.reference.gaussian import exact_gaussian
from kjko.reference.grid_plane import plane_law

WELL = Quadratic(np.array([[1.0, 0.4], [0.4, 1.5]]), np.zeros(2))
ROOT = np.random.default_rng(2).normal(size=(4, 4)) / 4


def coupled(rate=0.8):
    law = kjko.Gaussian(np.array([0.3, -0.2, 0.4, 0.1]), ROOT @ ROOT.T + 0.5 * np.eye(4))
    collisions = kjko.FokkerPlanck(rate, 0.8) if rate else kjko.NoCollisions(0.8)
    return kjko.Problem(kjko.External(WELL), collisions, law, mass=2.0)


@pytest.mark.parametrize("rate", [0.0, 0.8])
def test_against_the_closed_form(rate):
    problem = coupled(rate)
    found = plane_law(problem, [0.5], cells=(24, 28), time_step=0.05)
    exact = closed_form(problem)
    assert found.knows(0.5) and not found.knows(0.4)
    assert abs(found.kl(0.5) - exact.kl(0.5)) < 1e-3
    assert abs(found.free_energy(0.5) - exact.free_energy(0.5)) < 2e-3
    z = exact_gaussian(coupled(0.8)).sample(0.5, 2000, seed=0)
    x, v = z[:, :2], z[:, 2:]
    inside = exact.log_f(0.5, x, v) > exact.log_f(0.5, x, v).max() - 6
    x, v = x[inside], v[inside]
    np.testing.assert_allclose(found.log_f(0.5, x, v), exact.log_f(0.5, x, v), atol=0.02)
    score = exact.score(0.5, x, v)
    assert np.mean((found.score(0.5, x, v) - score) ** 2) < 1e-4 * np.mean(score**2)
    for i, values in enumerate(np.concatenate([x, v], axis=1).T):
        at = found.distribution(0.5, i, values), exact.distribution(0.5, i, values)
        np.testing.assert_allclose(*at, atol=1e-3)


def test_it_ends_at_the_law_at_rest():
    """In a potential that is no quadratic, and whose energy couples both coordinates."""
    law = kjko.Gaussian(np.zeros(4), 0.7 * np.eye(4))
    flow = kjko.External(lambda x: 0.5 * x @ x + 0.3 * x[0] ** 2 * x[1] ** 2 + 0.2 * x[0])
    problem = kjko.Problem(flow, kjko.FokkerPlanck(3.0, 1.0), law)
    found = plane_law(problem, [0.2, 1.0, 6.0], cells=(36, 32), time_step=0.1)
    kl = [found.kl(t) for t in (0.2, 1.0, 6.0)]
    assert kl[0] > kl[1] + 0.02 and abs(kl[2]) < 5e-4


@pytest.mark.parametrize(
    "problem, message",
    [
        (kjko.Problem(kjko.Uniform([0.0]), kjko.FokkerPlanck(1.0)), "^problem: expected one"),
        (
            kjko.Problem(kjko.External(WELL), kjko.Dougherty(1.0), coupled().law),
            "^collisions: must be",
        ),
        (
            kjko.Problem(kjko.External(lambda x: -x @ x), kjko.FokkerPlanck(1.0), coupled().law),
            "^potential: it does not confine",
        ),
    ],
)
def test_what_it_refuses(problem, message):
    with pytest.raises(ValueError, match=message):
        plane_law(problem, [0.5])


def test_too_few_cells():
    with pytest.raises(ValueError, match=r"^(cells|law|problem): .*(resolve|mass|ends)"):
        plane_law(coupled(), [0.5], cells=(8, 8))
