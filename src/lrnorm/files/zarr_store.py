"""Zarr arrays in folders: opened, created, and created like another.

Only this module imports Zarr, when the first .zarr is touched, because that takes long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._spec.errors import FileError, missing

Array = npt.NDArray[Any]
Index = tuple[slice, ...]

# What says that a folder is a Zarr array or group: version 3, then 2.
DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise missing(".zarr", "Zarr", "'lrnorm[dask]'") from error
    return zarr


def in_zarr(path: Path) -> bool:
    """Whether a path names a .zarr, or an array in one."""
    return any(part.suffix.lower() == ".zarr" for part in (path, *path.parents))


def is_zarr(folder: Path) -> bool:
    """Whether there is an array or a group."""
    return any((folder / name).is_file() for name in DOCUMENTS[:3])


def names(folder: Path) -> list[str] | None:
    """The arrays in a group; None where the folder is an array, or neither."""
    if not is_zarr(folder):
        return None
    zarr = _zarr()
    node = zarr.open(store=str(folder), mode="r")
    return sorted(node.array_keys()) if isinstance(node, zarr.Group) else None


class Stored:
    """An array in a folder, read and written where it is indexed."""

    def __init__(self, folder: Path, mode: str = "r") -> None:
        zarr = _zarr()
        if not is_zarr(folder):
            raise FileError(
                str(folder),
                "holds no Zarr array: there is no zarr.json or .zarray in it",
                way_out="Check its name.",
            )
        node = zarr.open(store=str(folder), mode=mode)
        if isinstance(node, zarr.Group):
            arrays = sorted(node.array_keys())
            raise FileError(
                str(folder),
                f"is a group, which holds {', '.join(arrays) or 'no array'}",
                way_out=f"Name one of its arrays, for example {folder / arrays[0]}"
                " (--key on the command line)."
                if arrays
                else "Give an array.",
            )
        self._array = node
        self.folder = folder
        self.shape: tuple[int, ...] = node.shape
        self.dtype = np.dtype(node.dtype)
        self.ndim: int = node.ndim
        self.size: int = node.size
        # What is written at once: a file each. Chunks inside a shard are no files.
        self.grid: tuple[int, ...] = node.shards or node.chunks

    def __getitem__(self, index: Any) -> Array:
        return np.asarray(self._array[index])

    def __setitem__(self, index: Any, values: Array) -> None:
        self._array[index] = values

    def documents(self) -> dict[str, Any]:
        """The metadata, as they stand in the folder."""
        names = DOCUMENTS[:1] if self._array.metadata.zarr_format == 3 else (".zarray", ".zattrs")
        there = (self.folder / name for name in names)
        return {path.name: json.loads(path.read_bytes()) for path in there if path.is_file()}

    def files(self, region: Index) -> Iterator[tuple[str, Index]]:
        """The files, by name, that hold a region of whole chunks, and where each begins and ends
        in the array."""
        steps = zip(region, self.grid, self.shape, strict=True)
        numbers = (range(s.start // step, -(-min(s.stop, n) // step)) for s, step, n in steps)
        for place in product(*numbers):
            ends = zip(place, self.grid, self.shape, strict=True)
            index = tuple(slice(i * step, min((i + 1) * step, n)) for i, step, n in ends)
            yield self._array.metadata.encode_chunk_key(place), index


def create(
    folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...] | str
) -> None:
    """An empty array with Zarr's own choice of codecs."""
    _zarr().create_array(store=str(folder), shape=shape, dtype=dtype, chunks=chunks)


def create_like(source: Stored, folder: Path, dtype: np.dtype[Any]) -> None:
    """An empty array of another dtype with everything else as in `source`: version, chunks,
    shards, codecs, attributes, names of dimensions. Nothing is lost that the source says, for its
    own metadata are what is written."""
    same = source.dtype.newbyteorder("=") == dtype
    for name, document in source.documents().items():
        if not same and name in ("zarr.json", ".zarray"):
            _change_dtype(document, dtype)
        (folder / name).write_text(json.dumps(document, indent=2))


def _change_dtype(document: dict[str, Any], dtype: np.dtype[Any]) -> None:
    """Change the metadata of an array, zarr.json or .zarray, to another dtype: codecs or filters
    made for the old one go, and the fill value is written as the new type has it."""
    if "data_type" in document:
        document["data_type"] = dtype.name
        document["codecs"] = _for_dtype(document["codecs"], dtype)
    else:  # version 2: filters are made for the dtype that they name
        document["dtype"], document["filters"] = dtype.str, None
    fill = document["fill_value"]
    if isinstance(fill, (bool, int, float)):
        with np.errstate(over="ignore"):
            beyond = np.isinf(np.asarray(fill, np.float64).astype(dtype))
        infinity = "Infinity" if fill > 0 else "-Infinity"
        document["fill_value"] = infinity if beyond else float(fill)
    elif isinstance(fill, str) and fill.startswith("0x"):  # the bits of some nan
        document["fill_value"] = "NaN"


def _for_dtype(codecs: list[Any], dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    """Codecs of version 3 for another dtype, without the filters that are made for the old one."""
    changed = []
    for codec in codecs:
        codec = {"name": codec} if isinstance(codec, str) else codec
        name, how = codec["name"], dict(codec.get("configuration") or {})
        if "dtype" in how:
            continue
        if name == "bytes":  # bytes of one need no order, the new type does
            how.setdefault("endian", "little")
        if "typesize" in how:
            how["typesize"] = dtype.itemsize
        if name == "sharding_indexed":
            how["codecs"] = _for_dtype(how["codecs"], dtype)
        changed.append({"name": name, "configuration": how} if how else {"name": name})
    return changed
