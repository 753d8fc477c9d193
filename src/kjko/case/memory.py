"""Whether a case fits into the memory that there is: asked before anything large is made."""

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from kjko.case.checks import BadInput
from kjko.core import State
from kjko.interfaces import AbstractMethod
from kjko.problem import Problem

GROUPS = (  # limit and use of the control group, of either version
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
PROGRAMS = 1e9  # bytes that compilers, libraries and figures take
COPIES = 6  # of the particles, while they are drawn and written
OF_CONTROL = 4  # copies of its parameters: gradients, and what an optimiser keeps
ROUGH = 4000.0  # bytes that a coordinate of a particle takes in a step, at most
SAFETY = 2.0  # what is measured is up to so much more than what is counted


def memory_left() -> float:
    """Bytes that this process may still take: of the machine, its control group and its limits."""
    left = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    left += _kilobytes("/proc/meminfo", "MemAvailable:")
    for limit, use in GROUPS:
        numbers = [_number(f"/sys/fs/cgroup/{name}") for name in (limit, use)]
        if None not in numbers:
            left.append(numbers[0] - numbers[1])  # type: ignore[operator]
    for kind, use in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            left.append(soft - _of_process(use))
    return max(0.0, min(left))


def hold_to_memory() -> None:
    """Let an allocation fail where memory ends, for the system would end the process."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(_of_process("VmData:") + memory_left())
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def check_room(key: str, need: float) -> None:
    """Raises BadInput if there is less than so many bytes, and what programs take, besides."""
    left, need = memory_left(), need + PROGRAMS
    if need > left:
        raise BadInput(
            f"{key}: expected a size that fits into the {_written(left)} of memory that there are,"
            f" got one that needs about {_written(need)}; take a smaller one"
        )


def check_particles(number: int, coordinates: int) -> None:
    """Before they are drawn. Raises BadInput."""
    check_room("particles.number", COPIES * 8.0 * number * (coordinates + 1))


def check_control(make: Callable[[], Any]) -> None:
    """Before its parameters are made. Raises BadInput, and what `make` raises."""
    check_room("solver.control", OF_CONTROL * bytes_of(eqx.filter_eval_shape(make)))


def check_step(method: AbstractMethod, problem: Problem, state: State, fitted: int) -> None:
    """What a step needs, counted where a rough bound leaves a doubt. `state`: of shapes. Raises
    BadInput.
    """
    of_control = bytes_of(getattr(method, "control", None))
    of_particles = ROUGH * sum(leaf.size for leaf in jax.tree.leaves(state.particles))
    rough = of_particles + of_control * (of_control + 4.0 * fitted)
    if rough + PROGRAMS < memory_left() / 2:
        return
    need = SAFETY * bytes_of_step(method.step, problem, state) + COPIES * bytes_of(state.particles)
    large = "particles.number" if of_particles > rough / 2 else "solver.control"
    check_room(large, need)


def bytes_of(tree: Any) -> float:
    """Of all arrays, or of their shapes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]
    return float(sum(_size(leaf) for leaf in leaves))


def bytes_of_step(step: Any, problem: Any, state: Any) -> float:
    """The most that is alive at once in a step, if nothing is fused: what it needs at most."""
    made, _, _ = eqx.filter_make_jaxpr(step)(problem, state)
    return _peak(made.jaxpr)


def _peak(jaxpr: Jaxpr) -> float:
    """The most bytes that its variables take at once, each from its making to its last use."""
    last = {var: len(jaxpr.eqns) for var in jaxpr.outvars if isinstance(var, Var)}
    for i, equation in reversed(list(enumerate(jaxpr.eqns))):
        for var in equation.invars:
            if not isinstance(var, Literal):
                last.setdefault(var, i)
    live = sum(_size(var.aval) for var in (*jaxpr.invars, *jaxpr.constvars))
    most = live
    for i, equation in enumerate(jaxpr.eqns):
        inner = max((_peak(j) - _of_arguments(j) for j in _inner(equation.params)), default=0.0)
        live += sum(_size(var.aval) for var in equation.outvars)
        most = max(most, live + inner)
        live -= sum(_size(var.aval) for var in equation.outvars if last.get(var, i) <= i)
        ended = {v for v in equation.invars if not isinstance(v, Literal) and last[v] == i}
        live -= sum(_size(var.aval) for var in ended)
    return most


def _of_arguments(jaxpr: Jaxpr) -> float:
    return sum(_size(var.aval) for var in jaxpr.invars)


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


def _of_process(key: str) -> float:
    return sum(_kilobytes("/proc/self/status", key))


def _kilobytes(path: str, key: str) -> list[float]:
    """The bytes that a line of a file tells; empty where there is none."""
    return [1024 * float(line.split()[1]) for line in _lines(path) if line.startswith(key)]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _number(path: str) -> float | None:
    """What a file of one line says; none for "max"."""
    lines = _lines(path)
    return float(lines[0]) if lines and lines[0].isdigit() else None


def _written(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
