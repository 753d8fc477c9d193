"""The time-step study: the orders that it finds, and what it refuses."""

import jax
import pytest

from kjko.case import BadInput, load
from kjko.studies.converge import SETTINGS, converge

FIRST_ORDER = ("solver.integrator.kind=symplectic-euler", "solver.method.log_det=linear")


@pytest.fixture
def study(double):
    """The orders at some time steps; the lines of progress."""

    def run(time_steps, *overrides):
        lines = []
        result = converge(load("gaussian-1d", [*SETTINGS, *overrides]), time_steps, lines.append)
        return result, lines

    with jax.numpy_rank_promotion("raise"):
        yield run


@pytest.mark.parametrize(("overrides", "order"), [((), 2), (FIRST_ORDER, 1)])
def test_fitted_orders(overrides, order, study):
    few = ("particles.number=500", "solver.end_time=1")
    result, lines = study([0.2, 0.1, 0.05], *few, *overrides)
    assert set(result.orders) == {"mean", "covariance", "drift"}
    for name, fitted in result.orders.items():
        assert fitted == pytest.approx(order, abs=0.25), f"{name}: {result.errors[name]}"
    assert [line.partition(":")[0] for line in lines] == [
        f"time step {s}" for s in (0.2, 0.1, 0.05)
    ]
    header, *rows = result.csv().splitlines()
    assert header == "time_step,mean,covariance,drift"
    assert [float(row.split(",")[0]) for row in rows] == result.time_steps
    assert float(rows[-1].split(",")[1]) == pytest.approx(result.errors["mean"][-1], rel=1e-5)


def test_a_case_without_an_exact_law_is_refused(double):
    case = load("multiwell-1d", ["particles.number=20"])
    with pytest.raises(BadInput, match="no exact law"):
        converge(case, [0.2, 0.1], lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "least"), [((), 1.9), (FIRST_ORDER, 0.9)])
def test_orders_of_the_case(overrides, least, study):
    result, _ = study([0.2, 0.1, 0.05, 0.025], *overrides)
    for name, fitted in result.orders.items():
        assert fitted >= least, f"{name}: {result.errors[name]}"
