"""What a run says about its density."""

import numpy as np
import pytest

from kjko.case import load
from kjko.observe import ScoreCheck, UntrustedDensity, trust
from kjko.observe.trust import checks_of_density


def columns(unresolved, score=(0.0, 0.01), mass=(1.0, 0.98, 0.99)):
    given = {"time": np.array([0.0, 0.1, 0.2]), "mass_check": np.array(mass)}
    of_steps = {"unresolved": unresolved, "score_check": score}
    return given | {key: np.array([np.nan, *numbers]) for key, numbers in of_steps.items()}


def test_a_resolved_density():
    line, warning = checks_of_density(columns([0.01, 0.002]))
    assert line == (
        "density: score check at most 0.01 (t = 0.2; trusted up to 0.07),"
        " unresolved at most 0.01 (t = 0.1; trusted up to 0.15), mass check 0.9800 (t = 0.1)"
    )
    assert warning is None


@pytest.mark.parametrize(
    "numbers, told",
    [
        (
            {"unresolved": [0.16, 0.2]},
            "0.2 of the relative entropy is not resolved at t = 0.2, above 0.15 from 0.1 on",
        ),
        (
            {"unresolved": [0.01, 0.01], "score": [0.0, 0.2]},
            "the score is wrong by 0.2 of its size or more at t = 0.2, above 0.07 from 0.2 on",
        ),
    ],
)
def test_a_warning_names_the_first_time_and_the_worst(numbers, told):
    _, warning = checks_of_density(columns(**numbers))
    assert warning is not None
    assert warning.startswith(f"the density cannot be trusted: {told}; take more particles")


def test_a_method_without_values():
    assert checks_of_density({"time": np.array([0.0, 0.1])}) == (None, None)


def test_what_is_not_known_is_left_out():
    given = {"time": np.array([0.0, 0.1]), "mass_check": np.array([0.0, np.nan])}
    assert checks_of_density(given) == (None, None)
    assert checks_of_density({}) == (None, None)


def test_a_simulation_warns_once(monkeypatch):
    """By its own checks, with a limit that some of its steps exceed."""
    (key, _, told), *_ = trust.LIMITS
    monkeypatch.setattr(trust, "LIMITS", ((key, 1e-4, told),))
    control = ["solver.control.kind=affine", "solver.fit.kind=gauss-newton"]
    small = ["particles.number=500", "solver.end_time=0.7"]
    experiment = load("multiwell-1d", [*control, *small]).build()
    with pytest.warns(UntrustedDensity, match="cannot be trusted: the score is") as caught:
        records = [record for _, record in experiment.simulate([ScoreCheck()])]
    beyond = [record["time"] for record in records[1:] if record["score_check"] > 1e-4]
    assert len(beyond) > 1 and len(caught) == 1
    assert f" at t = {beyond[0]:.4g};" in str(caught[0].message)
    assert caught[0].filename == __file__
