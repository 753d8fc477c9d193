"""What a run says about its density."""

import numpy as np

from kjko.run.trust import checks_of_density


def columns(unresolved, mass=(1.0, 0.98, 0.99)):
    given = {"time": np.array([0.0, 0.1, 0.2]), "mass_check": np.array(mass)}
    return given | {"unresolved": np.array([np.nan, *unresolved])}


def test_a_resolved_density():
    line, warning = checks_of_density(columns([0.01, 0.002]))
    assert line == "density: unresolved at most 0.01 (t = 0.1), mass check 0.9800 (t = 0.1)"
    assert warning is None


def test_a_warning_names_the_first_time_and_the_worst():
    _, warning = checks_of_density(columns([0.09, 0.2]))
    assert warning is not None
    assert warning.startswith("the density is not resolved from t = 0.1 on")
    assert "wrong by 0.2;" in warning


def test_a_method_without_values():
    assert checks_of_density({"time": np.array([0.0, 0.1])}) == (None, None)


def test_what_is_not_known_is_left_out():
    given = {"time": np.array([0.0, 0.1]), "mass_check": np.array([0.0, np.nan])}
    assert checks_of_density(given) == (None, None)
    assert checks_of_density({}) == (None, None)
