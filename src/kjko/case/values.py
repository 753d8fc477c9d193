"""The types of a case's values: numbers may be formulas, whole numbers may be written as 1e5."""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from kjko.core.formula import parse


def number(value: Any) -> Any:
    """A text, as "2*pi/0.35", as a number; what is no formula is left for the type's message."""
    if not isinstance(value, str):
        return value
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused as such
            result = float(parse(value).value({}, np))
    except (ValueError, ArithmeticError, TypeError):
        return value
    return result


def whole(value: Any) -> Any:
    """1e5 as a whole number."""
    value = number(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


Number = Annotated[float, BeforeValidator(number)]
Positive = Annotated[float, Field(gt=0), BeforeValidator(number)]
NotNegative = Annotated[float, Field(ge=0), BeforeValidator(number)]
Fraction = Annotated[float, Field(ge=0, lt=1), BeforeValidator(number)]
Amplitude = Annotated[float, Field(ge=-1, le=1), BeforeValidator(number)]
Whole = Annotated[int, Field(ge=0, lt=2**31), BeforeValidator(whole)]
Integer = Annotated[int, Field(gt=-(2**31), lt=2**31), BeforeValidator(whole)]
Count = Annotated[int, Field(gt=0, lt=2**31), BeforeValidator(whole)]
Vector = list[Number]
Matrix = list[Vector]
