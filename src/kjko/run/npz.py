"""Arrays in a .npz file: written without compression, read whole or not at all."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kjko.run.damaged import Damaged


def to_npz(arrays: Mapping[str, Any]) -> bytes:
    """What `numpy.savez` writes of them."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{k: np.asarray(array) for k, array in arrays.items()})
    return buffer.getvalue()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that `to_npz` has made.

    Each entry is read to its end, where its checksum is compared (`numpy.load` stops where the
    array ends, which a damaged header may put anywhere). None is compressed, so that no small file
    asks for much memory. Raises Damaged for any other content.
    """
    data = io.BytesIO(path.read_bytes())  # what goes wrong from here on is in the content
    try:
        with zipfile.ZipFile(data) as file:
            return {_name(entry): _array(file, entry) for entry in file.infolist()}
    except MemoryError:
        raise
    except Exception as error:  # zipfile and numpy have no common error for a damaged file
        raise Damaged(path, error or type(error).__name__) from None


def _name(entry: zipfile.ZipInfo) -> str:
    return entry.filename.removesuffix(".npy")


def _array(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    buffer = io.BytesIO(file.read(entry))
    array = np.lib.format.read_array(buffer, allow_pickle=False)
    if buffer.read(1):
        raise ValueError(f"{entry.filename} is longer than its array")
    return array
