"""Some of many rows."""

import numpy as np
import pytest
from scipy.stats import qmc

from kjko.core.rows import spread_rows


@pytest.mark.parametrize("n, number", [(10, 4), (1000, 900), (100_000, 50_000), (7, 7), (7, 9)])
def test_they_are_spread_over_all(n, number):
    rows = spread_rows(n, number)
    assert len(rows) == min(n, number)
    assert rows[0] >= 0 and rows[-1] < n and np.all(np.diff(rows) > 0)
    assert np.array_equal(rows, spread_rows(n, number))


def test_those_of_a_sobol_sequence_fill_the_cube():
    points = qmc.Sobol(4, rng=np.random.default_rng(0)).random(2**14)
    means = points[spread_rows(len(points), 2**13)].mean(axis=0)
    np.testing.assert_allclose(means, 0.5, atol=4 / np.sqrt(12 * 2**13))
