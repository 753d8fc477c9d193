"""Whether a case fits into the memory that there is: asked before anything large is made."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from kjko.case.checks import BadInput
from kjko.limits import memory_left

if TYPE_CHECKING:
    from kjko.case.build import Experiment

PROGRAMS = 1e9  # bytes that compilers, libraries and figures take
COPIES = 6  # of the particles, while they are drawn and written
OF_CONTROL = 4  # copies of its parameters: gradients, and what an optimiser keeps
ROUGH = 4000.0  # bytes that a coordinate of a particle takes in a step, at most
SAFETY = 2.0  # what is measured is up to so much more than what is counted


def check_room(key: str, need: float) -> None:
    """Raises BadInput if there is less than so many bytes, and what programs take, besides."""
    left, need = memory_left(), need + PROGRAMS
    if need > left:
        raise BadInput(
            f"{key}: expected what fits into the {_written(left)} of memory that there are, got"
            f" what needs about {_written(need)}; take less"
        )


def check_particles(number: int, coordinates: int) -> None:
    """Before they are drawn. Raises BadInput."""
    check_room("particles.number", COPIES * 8.0 * number * (coordinates + 1))


def check_control(make: Callable[[], Any]) -> None:
    """Before its parameters are made. Raises BadInput, and what `make` raises."""
    check_room("solver.control", OF_CONTROL * bytes_of(eqx.filter_eval_shape(make)))


def check_step(experiment: "Experiment") -> None:
    """What a step needs, counted where a rough bound leaves a doubt; on an accelerator, which has
    its own memory, it is left to that. Raises BadInput.
    """
    if jax.default_backend() != "cpu":
        return
    problem, method, particles = experiment[:3]
    of_control = bytes_of(getattr(method, "control", None))
    of_particles = ROUGH * sum(leaf.size for leaf in jax.tree.leaves(particles))
    rough = of_particles + of_control * (of_control + 4.0 * experiment.fitted)
    if rough + PROGRAMS < memory_left() / 2:
        return
    of_step = bytes_of_step(method.step, problem, jax.eval_shape(experiment.init))
    check_room("particles.number, solver.control", SAFETY * of_step + COPIES * bytes_of(particles))


def bytes_of(tree: Any) -> float:
    """Of all arrays, or of their shapes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]
    return float(sum(_size(leaf) for leaf in leaves))


def bytes_of_step(step: Any, problem: Any, state: Any) -> float:
    """The most that is alive at once in a step, if nothing is fused."""
    made, _, _ = eqx.filter_make_jaxpr(step)(problem, state)
    return _peak(made.jaxpr)


def _peak(jaxpr: Jaxpr) -> float:
    """The most bytes that its variables take at once: arguments and results to the end, others from
    where they are made to their last use.
    """
    kept = {*jaxpr.invars, *jaxpr.constvars, *(v for v in jaxpr.outvars if isinstance(v, Var))}
    last = {v: i for i, e in enumerate(jaxpr.eqns) for v in e.invars if not isinstance(v, Literal)}
    most = live = _of(jaxpr.invars) + _of(jaxpr.constvars)
    for i, equation in enumerate(jaxpr.eqns):
        within = (_peak(j) - _of(j.invars) - _of(j.outvars) for j in _inner(equation.params))
        live += _of(equation.outvars)
        most = max(most, live + max(within, default=0.0))
        ended = {v for v in (*equation.invars, *equation.outvars) if not isinstance(v, Literal)}
        live -= _of(v for v in ended - kept if last.get(v, i) <= i)
    return most


def _of(variables: Iterable[Any]) -> float:
    return sum(_size(variable.aval) for variable in variables)


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs within an equation: of loops, branches and functions."""
    for value in params.values():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def _size(array: Any) -> float:
    """Bytes of an array of such a shape; a key is four numbers at most."""
    shape, dtype = getattr(array, "shape", ()), getattr(array, "dtype", None)
    width = dtype.itemsize if isinstance(dtype, np.dtype) else 16
    return float(np.prod(shape, dtype=float)) * width


def _written(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
