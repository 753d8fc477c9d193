"""passages.bin: what each step of a run did to phase space, one record a step."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from kjko.methods.passage import Passage
from kjko.run.atomic import append

HEADER = struct.Struct("<4sIiiQ")  # mark, checksum of the rest, step, number of parts, size
MARK = b"kjko"
PASSAGES = "passages.bin"  # in a run folder


def append_passage(path: Path, step: int, passage: Passage) -> None:
    """One more record; nothing of it is left if it cannot be written: OSError."""
    used = passage.trimmed()
    arrays = jax.tree.leaves(eqx.filter(used, eqx.is_array))
    body = b"".join(np.asarray(array).tobytes() for array in arrays)
    number = int(used.number)
    header = HEADER.pack(MARK, _checksum(step, number, body), step, number, len(body))
    append(path, header + body)


def forget_passages(path: Path, step: int) -> int:
    """Forget the records after a step and all from a damaged one on; returns the last step left."""
    end = last = 0
    with open(path, "rb") as file:
        for number, _, _ in _records(file):
            if number > step:
                break
            end, last = file.tell(), number
    os.truncate(path, end)
    return last


def last_passage(path: Path) -> int:
    """The last step before a damaged record or the end."""
    with open(path, "rb") as file:
        return max((step for step, _, _ in _records(file)), default=0)


def read_passages(path: Path, like: Passage, steps: int) -> list[Passage]:
    """Those of the steps 1, 2, … `steps`. `like`: one of the run, for the structure.

    Raises OSError if some are missing or damaged, or are not of such a run.
    """
    passages = []
    try:
        with open(path, "rb") as file:
            for step, number, body in _records(file):
                if step != len(passages) + 1 or len(passages) == steps:
                    break
                passages.append(_read(body, number, like))
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise OSError(f"{path}: cannot be read: {error}") from None
    if len(passages) < steps:
        raise OSError(
            f"{path}: cannot be read: expected what {steps} steps did, got {len(passages)} of them"
        )
    return passages


def _checksum(step: int, number: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<ii", step, number)))


def _records(file) -> Iterator[tuple[int, int, bytes]]:
    """Step, number of parts and body of each record, up to the first damaged one."""
    while len(header := file.read(HEADER.size)) == HEADER.size:
        mark, checksum, step, number, size = HEADER.unpack(header)
        left = os.fstat(file.fileno()).st_size - file.tell()
        if mark != MARK or size > left:
            return
        body = file.read(size)
        if checksum != _checksum(step, number, body):
            return
        yield step, number, body


def _read(body: bytes, number: int, like: Passage) -> Passage:
    """Raises ValueError if the body is not that of such a passage."""
    arrays, static = eqx.partition(like, lambda leaf: hasattr(leaf, "shape"))
    of_parts = {id(leaf) for leaf in jax.tree.leaves(arrays.parts)}
    leaves, structure = jax.tree.flatten(arrays)
    read, at = [], 0
    for leaf in leaves:
        shape = (number, *leaf.shape[1:]) if id(leaf) in of_parts else leaf.shape
        size = int(np.prod(shape, dtype=int)) * leaf.dtype.itemsize
        read.append(np.frombuffer(body[at : at + size], leaf.dtype).reshape(shape))
        at += size
    if at != len(body):
        raise ValueError("not a passage of this run")
    return eqx.combine(jax.tree.unflatten(structure, read), static)
