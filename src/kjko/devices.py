"""Several devices: each has an equal part of the particles, and all of the rest.

XLA divides the work by where things are put (`jax.sharding`). What devices tell each other are sums
over particles, and the samples of them that a fit is made on, by every device for itself.
"""

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core
import numpy as np
from jax.sharding import AxisType, PartitionSpec

AXIS = "particles"


def several(number: int) -> Any:
    """A context in which particles are shared out among the first `number` devices.

        with kjko.several(4):
            for state, record in kjko.simulate(...):

    It is to divide 64 and the number of particles, and to leave 16 of them for each. A processor is
    one device, or as many as `kjko.devices.ask_for(4)` has asked for before jax is first used.

    Raises ValueError if there are fewer.
    """
    found, processes = jax.devices(), jax.process_count()
    if not 1 <= number <= len(found):
        raise ValueError(f"devices: expected 1 to {len(found)}, as many as there are, got {number}")
    if number % processes != 0:
        raise ValueError(f"devices: expected a multiple of {processes} processes, got {number}")
    share = number // processes
    own = [[d for d in found if d.process_index == i] for i in range(processes)]
    fewest = min(map(len, own))
    if fewest < share:
        raise ValueError(f"devices: expected {share} for each process, and one has {fewest}")
    devices = np.array([of_one[:share] for of_one in own]).reshape(-1)
    return jax.set_mesh(jax.sharding.Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,)))


def ask_for(number: int) -> None:
    """Before jax is first used: where there are no other devices, the processor is so many, whose
    arithmetic does not depend on how many they are.
    """
    jax.config.update("jax_num_cpu_devices", number)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else one waits for the other's threads
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_max_isa" not in flags:  # no multiplication and addition in one
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_max_isa=AVX"


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(affinity(0))


def in_use() -> bool:
    """Whether particles are shared out here, be it to one device; not in what a device does for
    itself.
    """
    return AXIS in jax.sharding.get_abstract_mesh().auto_axes


def number_in_use() -> int:
    """How many devices have a part of the particles here."""
    return jax.sharding.get_abstract_mesh().size if in_use() else 1


def everywhere(tree: Any) -> Any:
    """The same, each of its arrays whole on every device."""
    return _put(tree, PartitionSpec())


def shared_out(tree: Any) -> Any:
    """The same, each of its arrays shared out by the first axis, that of particles."""
    return _put(tree, PartitionSpec(AXIS))


def of_own_part(function: Callable[[Any], Any], rows: Any) -> Any:
    """function(rows) by each device of its own part of the rows, which is what it gives; of all of
    them where their number is no multiple of the devices. Traced arrays that the function holds, as
    an `equinox.Partial` does, are whole.
    """
    if not in_use():
        return function(rows)
    divides = len(jax.tree.leaves(rows)[0]) % number_in_use() == 0
    return _on_each(function, (rows,), PartitionSpec(AXIS) if divides else PartitionSpec())


def alike(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), which every device makes for itself, of arrays that are whole: no messages.

    A loop on a sample would else exchange some hundred small sums.
    """
    return _on_each(function, args, PartitionSpec()) if in_use() else function(*args)


def _on_each(function: Callable[..., Any], args: tuple[Any, ...], spec: PartitionSpec) -> Any:
    """By each device, of arguments and to a result that are put by the `spec`. Nothing of it is
    compiled as one with what is around it, which is other on one device than on several.
    """
    held, of_function = eqx.partition(function, eqx.is_array)
    arrays, others = eqx.partition(args, eqx.is_array)
    rest = []

    def of_arrays(held, arrays):
        held, arrays = jax.lax.optimization_barrier((held, arrays))
        result = eqx.combine(held, of_function)(*eqx.combine(arrays, others))
        found, other = eqx.partition(result, eqx.is_array)
        rest.append(other)
        return jax.lax.optimization_barrier(found)

    specs = {"in_specs": (PartitionSpec(), spec), "out_specs": spec}
    found = jax.shard_map(of_arrays, **specs, check_vma=False)(held, arrays)
    return eqx.combine(found, rest[-1])


def _put(tree: Any, spec: PartitionSpec) -> Any:
    if not in_use():
        return tree

    def put(leaf):
        if isinstance(leaf, jax.core.Tracer):
            return jax.lax.with_sharding_constraint(leaf, spec)
        return jax.device_put(leaf, spec) if isinstance(leaf, jax.Array | np.ndarray) else leaf

    return jax.tree.map(put, tree)
