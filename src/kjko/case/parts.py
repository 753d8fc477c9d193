"""Parts that a case can name: `kind` and keys, which are the signature of what makes the part.

    @part("potential", "double-well")
    def double_well(here: Here, barrier: Positive = default(DoubleWell, "barrier")):
        '''What it is.

        barrier [velocity²]: the height between two minima
        '''

A key's type is its annotation. Its default is the signature's, which takes that of the library's
class by `default`: it is written once, there. What it is, and its unit, are in the docstring, for
`kjko keys`. The first part of an axis is its default kind.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Union

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from kjko.case.checks import BadInput, at
from kjko.core import Box


class Here(NamedTuple):
    """Where a part is made: its `path` in the case, and what it depends on of the rest."""

    path: str
    dimension: int
    velocity_dimension: int
    box: Box | None
    seed: int
    fitted: int  # particles that a fit takes
    end_time: float
    for_all_times: bool  # the control is one of (t, x, v)
    outputs: int  # numbers that the control gives

    @property
    def length(self) -> tuple[float, ...] | None:
        """The sides of the box."""
        if self.box is None:
            return None
        return tuple(np.asarray(self.box.length, dtype=float).tolist())

    def sides(self, kind: str, others: str) -> Any:
        """The same for a part that is periodic; `others` are not. Raises BadInput without a box."""
        if self.box is None:
            raise BadInput(
                f"{self.path}.kind: {kind} is periodic and the domain is unbounded; set"
                f" problem.domain.length, or use {others}"
            )
        return self.box.length

    def needs_no_box(self, kind: str, others: str) -> None:
        """Raises BadInput for a part that is not periodic in a box; `others` are."""
        if self.box is not None:
            raise BadInput(
                f"{self.path}.kind: {kind} is not periodic and the domain is; use {others}, or drop"
                " problem.domain"
            )

    def at(self, path: str) -> "Here":
        """The same for another part."""
        return self._replace(path=path)


class Table(BaseModel):
    """Unknown keys, wrong types, nan and inf are refused; an integer may stand for a float."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


class Part(Table):
    """A table with a kind."""

    kind: str

    def build(self, here: Here) -> Any:
        """The object. Raises BadInput for what only shows when it is made."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        with at(here.path):
            return _MAKERS[type(self)](here, **given)


_PARTS: dict[str, dict[str, type[Part]]] = {}
_MAKERS: dict[type[Part], Callable[..., Any]] = {}


def part(axis: str, kind: str) -> Callable[[Callable], Callable]:
    """Register what makes a part of an axis: a function of `Here` and of the keys."""

    def register(make: Callable) -> Callable:
        _, *keys = inspect.signature(make).parameters.values()
        fields: dict[str, Any] = {
            key.name: (key.annotation, ... if key.default is key.empty else key.default)
            for key in keys
        }
        fields["kind"] = (Literal[kind], ...)
        model = create_model(make.__name__, __base__=Part, __doc__=make.__doc__ or "", **fields)
        _MAKERS[model] = make
        _PARTS.setdefault(axis, {})[kind] = model
        return make

    return register


def default(made: Callable, name: str) -> Any:
    """The default of an argument of what the library makes the part with."""
    return inspect.signature(made).parameters[name].default


def any_of(axis: str) -> Any:
    """The type of a table of any kind of an axis."""
    models = tuple(_PARTS[axis].values())
    return Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007  of a tuple


def of_kind(axis: str, kind: str | None = None) -> Part:
    """A table with the defaults of a kind, by default the axis' own."""
    kinds = _PARTS[axis]
    kind = next(iter(kinds)) if kind is None else kind
    return kinds[kind].model_validate({"kind": kind})
