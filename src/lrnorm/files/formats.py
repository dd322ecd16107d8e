"""The kinds of files: how each is read and written.

A further format is one row in FORMATS. No file can make this module run code: Python objects in
an array file are refused.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from lrnorm._function.dispatch import front_of
from lrnorm._function.lists import array_of_lists
from lrnorm._spec.errors import (
    FileError,
    KindError,
    LRNormError,
    MissingDependencyError,
    ShapeError,
)
from lrnorm.files import zarr_store
from lrnorm.files.atomic import reason, writing, writing_folder

Array = npt.NDArray[Any]


def ending(path: Path) -> str:
    """The key in FORMATS of a file's name; what lies in a .zarr is one."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS and zarr_store.in_zarr(path):
        return ".zarr"
    if suffix not in FORMATS:
        got = repr(path.suffix) if path.suffix else "none"
        raise FileError(f"the ending of {path} must be one of {' '.join(FORMATS)}, got {got}.")
    return suffix


@contextmanager
def named(name: object) -> Iterator[None]:
    """Errors of ours then say which file, or which array of it, they are about."""
    try:
        yield
    except LRNormError as error:
        raise error.at(str(name)) from error


@contextmanager
def reading(source: Path, kind: str = "") -> Iterator[None]:
    """Whatever a decoder makes of a bad file becomes a FileError."""
    if os.path.isdir(source) and not zarr_store.in_zarr(source):
        raise FileError(f"{source} is a folder. Give the name of a file in it.")
    if not os.path.exists(source):  # Path's own raises for a name too long
        raise FileError(f"there is no file {source}. Check its name and folder.")
    try:
        yield
    except LRNormError:
        raise
    except PermissionError as error:
        raise FileError(f"{source} cannot be read: {reason(error)}.") from error
    except MemoryError as error:
        raise FileError(f"{source} does not fit into memory: {reason(error)}.") from error
    except Exception as error:  # decoders raise nearly every kind there is, SyntaxError included
        if isinstance(error, ValueError) and "bject" in str(error):  # NumPy has two wordings
            raise FileError(
                f"{source} holds Python objects, which are not loaded because they can run code. "
                "Save numbers, for example numpy.save(path, x.astype('float32'))."
            ) from error
        raise FileError(
            f"{source} is not a readable {kind or source.suffix or '.zarr'} file: {reason(error)}. "
            "It may be cut short, or of another kind than its name says."
        ) from error


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> from lrnorm.files.formats import shape_text
    >>> shape_text((3, 600, 512))
    '3 × 600 × 512'
    """
    return " × ".join(map(str, shape)) or "one number"


def count_text(arrays: Collection[Any]) -> str:
    """How many arrays, in words."""
    return f"{len(arrays)} array{'s' * (len(arrays) != 1)}"


def numbers(array: Any) -> Array:
    """An array of a dtype that files name without doubt: bfloat16 is not among them."""
    if isinstance(array, np.ndarray):
        front_of(array, "the array")  # a masked array and the like is refused
    checked: Array = array_of_lists(array, "the array")
    if checked.dtype.kind not in "biufc":
        raise KindError(
            f"files take arrays of numbers, got dtype {checked.dtype}. "
            "Convert it first, for example array.astype('float32')."
        )
    return checked


# .npy and .npz


def map_npy(source: Path) -> Array:
    """The array of a .npy as a map of the file, read where it is touched."""
    with reading(source):
        mapped: Array = np.lib.format.open_memmap(source, mode="r")
        return mapped


def _read_npy(source: Path) -> Array:
    with open(source, "rb") as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _write_npy(stream: IO[bytes], array: Any) -> str:
    array = numbers(array)
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return f"{shape_text(array.shape)}, {array.dtype}"


def npz_names(archive: zipfile.ZipFile) -> list[str]:
    """The arrays of an .npz; a member that is no .npy is none."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_member(archive: zipfile.ZipFile, name: str) -> Array:
    """One array of an .npz."""
    with archive.open(name + ".npy") as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def write_member(archive: zipfile.ZipFile, entry: str | zipfile.ZipInfo, array: Array) -> None:
    """One array into an .npz."""
    with archive.open(entry, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _read_npz(source: Path) -> dict[str, Array]:
    with zipfile.ZipFile(source) as archive:
        return {name: read_member(archive, name) for name in npz_names(archive)}


def _write_npz(stream: IO[bytes], arrays: Any) -> str:
    arrays = arrays if isinstance(arrays, Mapping) else {"arr_0": arrays}  # numpy.savez's name
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            write_member(archive, f"{name}.npy", numbers(array))
    return count_text(arrays)


# Pictures


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise MissingDependencyError("pictures need Pillow: pip install 'lrnorm[cli]'.") from error
    return PIL


def _read_picture(source: Path) -> Array:
    pil = _pillow()
    with pil.Image.open(source, formats=("PNG", "JPEG")) as opened:
        picture = pil.ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I"):  # gray of 16 bits
        return (np.asarray(picture, np.float32) / np.float32(65535))[np.newaxis]
    if picture.mode == "P":  # by way of RGBA: Pillow warns of transparent palettes otherwise
        picture = picture.convert("RGBA")
    picture = picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
    values = np.atleast_3d(np.asarray(picture, np.float32) / np.float32(255))
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def has_transparency(source: Path) -> bool:
    """Whether reading the picture leaves something out; only its head is read."""
    pil = _pillow()
    with reading(source), pil.Image.open(source, formats=("PNG", "JPEG")) as picture:
        return "A" in picture.getbands() or "transparency" in picture.info


def _write_picture(stream: IO[bytes], array: Any, kind: str, **options: Any) -> str:
    pil = _pillow()
    array = numbers(array)
    if array.dtype.kind == "c":
        raise KindError(f"a picture takes real numbers, got {array.dtype}. Pass abs(array).")
    if array.ndim != 3 or array.shape[0] not in (1, 3) or not array.size:
        raise ShapeError(
            f"a picture takes (1 or 3 channels, height, width), got {array.shape}. "
            "Write it as .npy, or bring it to such a shape."
        )
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ShapeError("a picture takes finite numbers, got nan or inf. Write it as .npy.")
    largest = values.max()
    scaled = np.clip(values / largest, 0, 1) * 255 if largest > 0 else np.zeros_like(values)
    pixels = np.moveaxis(np.rint(scaled).astype(np.uint8), 0, -1)
    pixels = pixels[..., 0] if len(array) == 1 else pixels
    pil.Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind, **options)
    below = ", values below 0 as 0" if values.min() < 0 else ""
    return f"{shape_text(array.shape)}, its largest value, {largest:.6g}, as 255{below}"


def _write_png(stream: IO[bytes], array: Any) -> str:
    return _write_picture(stream, array, "PNG")


def _write_jpg(stream: IO[bytes], array: Any) -> str:
    return _write_picture(stream, array, "JPEG", quality=95, subsampling=0)


# Zarr


def map_zarr(source: Path) -> zarr_store.Stored:
    """The array of a .zarr, read where it is indexed."""
    with reading(source):
        return zarr_store.Stored(source)


def _read_zarr(source: Path) -> Array:
    return map_zarr(source)[...]


def _write_zarr(folder: Path, array: Any) -> str:
    array = numbers(array)
    zarr_store.create(folder, array.shape, array.dtype, "auto")
    if array.size:
        zarr_store.Stored(folder, "r+")[...] = array
    return f"{shape_text(array.shape)}, {array.dtype}"


PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Format:
    """How a kind of file is read, how it is written to what `place` gives, a stream or a folder,
    and put in place. What `write` returns is a remark."""

    read: Callable[[Path], Any]
    write: Callable[[Any, Any], str]
    place: Callable[..., AbstractContextManager[Any]] = writing


FORMATS = {
    ".npy": Format(_read_npy, _write_npy),
    ".npz": Format(_read_npz, _write_npz),
    ".zarr": Format(_read_zarr, _write_zarr, writing_folder),
    ".png": Format(_read_picture, _write_png),
    ".jpg": Format(_read_picture, _write_jpg),
    ".jpeg": Format(_read_picture, _write_jpg),
}
