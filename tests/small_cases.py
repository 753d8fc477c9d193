"""Built-in cases with few particles, and how they refuse."""

import pytest

from kjko.case import BadInput, Case, load


def small(name: str, *overrides: str) -> Case:
    return load(name, ["particles.number=20", *overrides])


def refusal(call) -> str:
    """The message of the BadInput that a call raises."""
    with pytest.raises(BadInput) as caught:
        call()
    return str(caught.value)
