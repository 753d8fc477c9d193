"""Formats of the snapshots. To add one: a class, and its line in `FORMATS`."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kjko.run.atomic import write_atomically


class HDF5:
    """A dataset for each array, and attributes of the file.

    It is built in memory first: HDF5 ends the process on a full disk.
    """

    suffix = ".h5"

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        buffer = io.BytesIO()
        with h5py.File("memory", "w", driver="core", backing_store=False) as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
            file.attrs.update(attributes)
            file.flush()
            buffer.write(file.id.get_file_image())
        write_atomically(path, buffer.getvalue())

    def read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        try:
            with h5py.File(path, "r") as file:
                arrays = {str(name): np.asarray(file[name]) for name in file}
                return arrays, dict(file.attrs)
        except (OSError, KeyError) as error:
            raise OSError(f"{path}: cannot be read: {error}") from None


class NumPy:
    """An uncompressed .npz, with the attributes as arrays named "attribute: …"."""

    suffix = ".npz"
    PREFIX = "attribute: "

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        buffer = io.BytesIO()
        named = {self.PREFIX + name: np.asarray(value) for name, value in attributes.items()}
        np.savez(buffer, allow_pickle=False, **(dict(arrays) | named))
        write_atomically(path, buffer.getvalue())

    def read(self, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        try:
            with np.load(path, allow_pickle=False) as file:
                contents = {name: file[name] for name in file.files}
        except Exception as error:  # zipfile and numpy have no common error for a damaged file
            raise OSError(f"{path}: cannot be read: {error}") from None
        start = self.PREFIX
        attributes = {k[len(start) :]: v[()] for k, v in contents.items() if k.startswith(start)}
        return {k: v for k, v in contents.items() if not k.startswith(start)}, attributes


FORMATS = {"hdf5": HDF5(), "npz": NumPy()}  # by the name in output.format
