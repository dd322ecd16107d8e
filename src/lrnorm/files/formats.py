"""The file formats: one row of FORMATS each, and every picture that Pillow reads.

.npy .wxf           one array; large ones go through in pieces
.npz .safetensors   arrays by name
.zarr               one array in chunks, or a group of them; large ones go through in pieces,
                    and an interrupted run is taken up where it stopped
.png .jpg .tiff …   a picture: (channels, height, width) in 0 … 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrnorm._layers.shapes import shape_text
from lrnorm._spec.errors import FileError, MissingDependencyError
from lrnorm.files import npy, pictures, safe_tensors, wxf, zarr_store
from lrnorm.files.atomic import writing, writing_folder
from lrnorm.files.checks import Array, numbers, reading
from lrnorm.files.zarr_store import Stored

Source = Array | Stored
# The arrays of a file by name, each loaded when it is called. One array has the empty name.
Members = Mapping[str, Callable[[], Source]]


@dataclass(frozen=True)
class Format:
    """How a file is read, and how it is written to what `place` gives: a stream or a folder.

    `write` returns a remark on what was written. A file is read by one of three functions: `mapped`
    gives an array that is read where it is indexed, `members` opens a file of several arrays, and
    `picture` reads a picture. `header` gives the bytes before the values and the dtype of the
    values, for files that are written in pieces.
    """

    write: Callable[[Any, Any], str]
    place: Callable[..., AbstractContextManager[Any]] = writing
    members: Callable[[Path], AbstractContextManager[Members]] | None = None
    mapped: Callable[[Path], Source] | None = None
    header: Callable[..., tuple[bytes, np.dtype[Any]]] | None = None
    picture: Callable[[Path], Array] | None = None

    def read(self, source: Path) -> Any:
        """Everything in a file: its array, or its arrays by name."""
        if self.picture is not None:
            return self.picture(source)
        if self.mapped is not None:  # a map is copied, so that the result can be written to
            return np.require(self.mapped(source)[...], requirements=["W", "E"])
        assert self.members is not None
        with self.members(source) as members:
            return {name: load() for name, load in members.items()}


# Zarr


def map_zarr(source: Path) -> Stored:
    """The array of a .zarr, read where it is indexed."""
    with reading(source):
        return Stored(source)


@contextmanager
def _zarr_members(source: Path) -> Iterator[Members]:
    """The arrays of a group by name, or one array as ""."""
    with reading(source):
        names = zarr_store.names(source)
    folders = {"": source} if names is None else {name: source / name for name in names}
    yield {name: partial(map_zarr, folder) for name, folder in folders.items()}


def _write_zarr(folder: Path, array: Any) -> str:
    """One array into an empty folder, with the chunks and codecs that Zarr chooses."""
    array = numbers(array)
    zarr_store.create(folder, array.shape, array.dtype, "auto")
    if array.size:
        Stored(folder, "r+")[...] = array
    return f"{shape_text(array.shape)}, {array.dtype}"


FORMATS = {
    ".npy": Format(npy.write_npy, mapped=npy.map_npy, header=npy.npy_header),
    ".npz": Format(npy.write_npz, members=npy.npz_members),
    ".safetensors": Format(
        safe_tensors.write_safetensors, members=safe_tensors.safetensors_members
    ),
    ".wxf": Format(wxf.write_wxf, mapped=wxf.map_wxf, header=wxf.wxf_header),
    ".zarr": Format(_write_zarr, writing_folder, members=_zarr_members, mapped=map_zarr),
}


def format_of(path: Path) -> Format:
    """The format that the ending of a name says; a path inside a .zarr is one."""
    ending = path.suffix.lower()
    if ending in FORMATS:
        return FORMATS[ending]
    if zarr_store.in_zarr(path):
        return FORMATS[".zarr"]
    if ending in _picture_endings():
        write = partial(pictures.write_picture, ending=ending)
        return Format(write, picture=pictures.read_picture)
    raise FileError(
        f"the ending of {path}",
        f"must be one of {' '.join(FORMATS)}, or of a picture, such as .png .jpg .tiff",
        got=repr(path.suffix) if path.suffix else "none",
    )


def _picture_endings() -> Mapping[str, str] | tuple[str, ...]:
    """Those that Pillow knows; without Pillow the commonest, which then say what is missing."""
    try:
        return pictures.endings()
    except MissingDependencyError:
        return ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"
