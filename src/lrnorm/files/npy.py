"""NumPy's .npy and .npz. Python objects in them are refused, because loading them can run code."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from lrnorm._layers.shapes import shape_text
from lrnorm.files.checks import Array, count_text, numbers, reading


def map_npy(source: Path) -> Array:
    """The array of a .npy as a map of the file, read where it is touched."""
    with reading(source):
        mapped: Array = np.lib.format.open_memmap(source, mode="r")
        return mapped


def write_npy(stream: IO[bytes], array: Any) -> str:
    """Write one array; the remark has its shape and dtype."""
    array = numbers(array)
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return f"{shape_text(array.shape)}, {array.dtype}"


def npy_header(
    dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> tuple[bytes, np.dtype[Any]]:
    """The bytes before the values, and the dtype of the values."""
    stream = io.BytesIO()
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue(), dtype


@contextmanager
def npz_members(source: Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of an .npz by name, each loaded when it is called; other members are no arrays."""
    with reading(source):
        archive = zipfile.ZipFile(source)

    def load(name: str) -> Array:
        with reading(source), archive.open(name + ".npy") as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array

    with archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        yield {name: partial(load, name) for name in names}


def write_member(archive: zipfile.ZipFile, entry: str | zipfile.ZipInfo, array: Array) -> None:
    """One array into an .npz."""
    with archive.open(entry, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def write_npz(stream: IO[bytes], arrays: Any) -> str:
    """Write arrays by name, uncompressed; one array gets numpy.savez's name, arr_0."""
    arrays = arrays if isinstance(arrays, Mapping) else {"arr_0": arrays}  # numpy.savez's name
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            write_member(archive, f"{name}.npy", numbers(array))
    return count_text(arrays)
