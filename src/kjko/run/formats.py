"""Formats of the snapshots. To add one: a class, and its line in `FORMATS`."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kjko.run.atomic import write_atomically
from kjko.run.damaged import Damaged
from kjko.run.npz import read_npz, to_npz


class HDF5:
    """A dataset for each array, and attributes of the file.

    It is built in memory first: HDF5 ends the process on a full disk. The file begins with a user
    block, which HDF5 leaves to its users: here a mark and the SHA-256 of all that follows, for HDF5
    has no checksum of its own over everything. A file that was opened for writing is another one.
    """

    suffix = ".h5"
    MARK = b"kinetic-jko sha256 "
    BLOCK = 512  # the smallest user block

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        with h5py.File("memory", "w", driver="core", backing_store=False) as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
            file.attrs.update(attributes)
            file.flush()
            image = file.id.get_file_image()
        seal = self.MARK + hashlib.sha256(image).hexdigest().encode()
        write_atomically(path, seal.ljust(self.BLOCK, b"\0") + image)

    def read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        data = path.read_bytes()
        image = data[self.BLOCK :]
        seal = self.MARK + hashlib.sha256(image).hexdigest().encode()
        if data[: self.BLOCK] != seal.ljust(self.BLOCK, b"\0"):
            raise Damaged(path, "its checksum is that of other content")
        with h5py.File(io.BytesIO(image), "r") as file:
            arrays = {str(name): np.asarray(file[name]) for name in file}
            return arrays, dict(file.attrs)


class NumPy:
    """An uncompressed .npz, with the attributes as arrays named "attribute: …"."""

    suffix = ".npz"
    PREFIX = "attribute: "

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        named = {self.PREFIX + name: value for name, value in attributes.items()}
        write_atomically(path, to_npz(dict(arrays) | named))

    def read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        contents = read_npz(path)
        start = self.PREFIX
        attributes = {k[len(start) :]: v[()] for k, v in contents.items() if k.startswith(start)}
        return {k: v for k, v in contents.items() if not k.startswith(start)}, attributes


FORMATS: dict[str, HDF5 | NumPy] = {
    "hdf5": HDF5(),
    "npz": NumPy(),
}  # by the name in output.format
