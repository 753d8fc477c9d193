"""Compiled steps that another process has left: used without being traced again.

jax keeps programs by what was traced, so that a second run still traces for seconds. Here what was
traced is kept, by all that it depends on: the code of this package, the versions of those it builds
on, jax's settings and devices, and what the arguments are but for their numbers.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.export

from kjko import compilation_cache, devices
from kjko.described import BUILT_ON, PLAIN, OnHost, Unknown, describe, name_of, rebuild

PATIENCE = 3600  # seconds
BY_CONTEXT = ["algsimp", "transpose-folding"]  # A / b or A · (1 / b), and ABᵀ, by what is beside it
FEW = 30_000  # particles: what is done to more is worth the compiler's time
DIGEST, LENGTH = 32, 8  # bytes at the beginning of a file: SHA-256 of the rest, and of the result

Kept = tuple[
    Callable[..., Any], Any
]  # what maps arrays to arrays, and what it gives but for its numbers

_loaded: dict[str, Kept] = {}


def program(function: Callable, *args: Any, quick: bool = False) -> Callable:
    """What does the same as the jitted `function` for arguments of the kind of `args`.

    That is a program that is kept, or one that is traced and kept now; the function jitted anew
    where none are kept, or where it depends on code that is not of this package. What is changed in
    this package while it runs is not seen.

    `quick`: compiled in two thirds of the time. It takes as long to run where nearly all of it are
    products and sums of some ten thousand numbers, and else up to a third longer.
    """
    folder, options = compilation_cache.folder_in_use(), _options(quick)
    jitted = _jitted(function, tuple(options.items()))
    if folder is None or devices.in_use():
        return jitted
    try:
        name = _name(function, args, options)
        if name not in _loaded:
            path = folder / f"kjko-{name}"
            _loaded[name] = _read(path, options) or _trace(function, args, path, options)
    except Exception:  # what is wrong with the function shows when it is called
        return jitted
    return _whole(jitted, args, *_loaded[name])


@functools.cache
def _jitted(function: Callable, options: tuple[tuple[str, Any], ...]) -> Callable:
    decorate: Any = eqx.filter_jit
    return decorate(inspect.unwrap(function), compiler_options=dict(options))


def _options(quick: bool) -> dict[str, Any]:
    """What XLA's compiler for processors is told, but for what XLA_FLAGS tells it."""
    if jax.default_backend() != "cpu":
        return {}
    passes, options = ["tree_reduction_rewriter"], {}  # `core.sums` does that
    if devices.in_use():
        passes += BY_CONTEXT
        options["xla_cpu_collective_call_terminate_timeout_seconds"] = PATIENCE
    options["xla_disable_hlo_passes"] = ",".join(passes)
    if quick:
        options |= {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if name not in flags}


def _trace(function: Callable, args: tuple[Any, ...], path: Path, options: dict[str, Any]) -> Kept:
    numbers, others = eqx.partition(args, eqx.is_array)
    leaves, structure = jax.tree.flatten(numbers)
    results: list[Any] = []

    @functools.wraps(function, assigned=("__name__",), updated=())
    def of_leaves(leaves):
        given = jax.tree.unflatten(structure, leaves)
        whole = function(*eqx.combine(given, others))
        result = describe(whole)
        arrays, again = (eqx.filter(tree, eqx.is_array) for tree in (whole, rebuild(result)))
        if jax.tree.structure(arrays) != jax.tree.structure(again):
            raise Unknown(f"{function} has a result that is not all seen")
        results.append(result)
        return jax.tree.leaves(arrays)

    traced = jax.export.export(jax.jit(of_leaves))(leaves).serialize()
    head = json.dumps(results[0]).encode()
    content = len(head).to_bytes(LENGTH) + head + traced
    _write(path, hashlib.sha256(content).digest() + content)
    return _compiled(content, options)


def _read(path: Path, options: dict[str, Any]) -> Kept | None:
    """A program that is kept; None if there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # what has not been used for longest goes first
    digest, content = data[:DIGEST], data[DIGEST:]
    return _compiled(content, options) if hashlib.sha256(content).digest() == digest else None


def _write(path: Path, data: bytes) -> None:
    """A full disk, or a folder that is not to be written, is no reason to end a run."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)


def _compiled(content: bytes, options: dict[str, Any]) -> Kept:
    end = LENGTH + int.from_bytes(content[:LENGTH])
    traced = jax.export.deserialize(bytearray(content[end:]))
    (leaves,), _ = traced.in_tree.unflatten(traced.in_avals)
    of_leaves = jax.jit(traced.call).lower(leaves).compile(compiler_options=options)
    return of_leaves, json.loads(content[LENGTH:end])


def _whole(function: Callable, args: tuple[Any, ...], of_leaves: Callable, result: Any) -> Callable:
    """The function itself, but for arguments like these by the program."""
    numbers, others = eqx.partition(rebuild(result), eqx.is_array)
    structure_out = jax.tree.structure(numbers)
    kind = Kind(args)

    def call(*args):
        now = Kind(args)
        if now != kind:
            return function(*args)
        return eqx.combine(jax.tree.unflatten(structure_out, of_leaves(now.arrays)), others)

    return call


class Kind:
    """What a pytree is but for the numbers in its `arrays`."""

    def __init__(self, tree: Any):
        leaves, structure = jax.tree.flatten(tree)
        self.structure: Any = structure
        self.arrays: list[Any] = [leaf for leaf in leaves if eqx.is_array(leaf)]
        self.types: list[Any] = [jax.typeof(array) for array in self.arrays]
        self.others: list[Any] = [leaf for leaf in leaves if not eqx.is_array(leaf)]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Kind)
            and self.structure == other.structure
            and self.types == other.types
            and len(self.others) == len(other.others)
            and all(map(_same, self.others, other.others))
        )


def _same(one: Any, other: Any) -> bool:
    compared = (*PLAIN, OnHost)
    return one is other or (type(one) is type(other) and type(one) in compared and one == other)


def _name(function: Callable, args: tuple[Any, ...], options: dict[str, Any]) -> str:
    """A digest of all that the program depends on. Raises Unknown if that cannot be told."""
    described = json.dumps([name_of(function), describe(args)])
    kinds = [device.device_kind for device in jax.devices()]
    text = repr((jax.config.values, options, kinds)) + described
    return hashlib.sha256(_code() + text.encode()).hexdigest()


@functools.cache
def _code() -> bytes:
    """A digest of this package and of the versions of those it builds on. Raises Unknown without
    sources, or with one that was changed after this process began: what runs may be older.
    """
    found = hashlib.sha256(repr([version(name) for name in BUILT_ON]).encode())
    home = Path(__file__).parent
    if not Path(__file__).exists():
        raise Unknown(__file__)
    for path in sorted(home.rglob("*.py")):
        if path.stat().st_mtime > compilation_cache.BEGAN:
            raise Unknown(str(path))
        source = path.read_bytes()
        found.update(f"{path.relative_to(home)} {len(source)}".encode() + source)
    return found.digest()
