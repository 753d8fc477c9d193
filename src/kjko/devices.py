"""Several devices: each has an equal part of the particles, and all of the rest.

XLA divides the work by where things are put (`jax.sharding`). What devices tell each other are sums
over particles, and the samples of them that a fit is made on, by every device for itself.
"""

import os
from typing import Any

import jax
import jax.core
import numpy as np
from jax.sharding import AxisType, PartitionSpec

AXIS = "particles"


def several(number: int) -> Any:
    """A context in which particles are shared out among the first `number` devices.

        with kjko.several(4):
            for state, record in kjko.simulate(...):

    It is to divide 64 and the number of particles. A processor is one device, or as many as
    `kjko.devices.ask_for(4)` has asked for before jax is first used.

    Raises ValueError if there are fewer.
    """
    found = jax.devices()
    if not 1 <= number <= len(found):
        raise ValueError(f"devices: expected 1 to {len(found)}, as many as there are, got {number}")
    devices = np.array(found[:number])
    return jax.set_mesh(jax.sharding.Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,)))


def ask_for(number: int) -> None:
    """Before jax is first used: where there are no other devices, the processor is so many, whose
    arithmetic does not depend on how many they are.
    """
    jax.config.update("jax_num_cpu_devices", number)
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_max_isa" not in flags:  # no multiplication and addition in one
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_max_isa=AVX"


def in_use() -> bool:
    """Whether particles are shared out here, be it to one device."""
    return AXIS in jax.sharding.get_abstract_mesh().axis_names


def number_in_use() -> int:
    """How many devices have a part of the particles here."""
    return jax.sharding.get_abstract_mesh().size if in_use() else 1


def everywhere(tree: Any) -> Any:
    """The same, each of its arrays whole on every device."""
    return _put(tree, PartitionSpec())


def shared_out(tree: Any) -> Any:
    """The same, each of its arrays shared out by the first axis, that of particles."""
    return _put(tree, PartitionSpec(AXIS))


def _put(tree: Any, spec: PartitionSpec) -> Any:
    if not in_use():
        return tree

    def put(leaf):
        if isinstance(leaf, jax.core.Tracer):
            return jax.lax.with_sharding_constraint(leaf, spec)
        return jax.device_put(leaf, spec) if isinstance(leaf, jax.Array | np.ndarray) else leaf

    return jax.tree.map(put, tree)
