"""Errors that every format shares, and how sizes are written in texts."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._function.dispatch import front_of
from lrnorm._function.lists import array_of_lists
from lrnorm._spec.errors import FileError, KindError, LRNormError
from lrnorm.files import zarr_store
from lrnorm.files.atomic import reason

Array = npt.NDArray[Any]


@contextmanager
def named(name: object) -> Iterator[None]:
    """Errors of lrnorm then say in which file, or which array of it, they were found."""
    try:
        yield
    except LRNormError as error:
        raise error.at(str(name)) from error


@contextmanager
def reading(source: Path, kind: str = "") -> Iterator[None]:
    """Every error that a decoder raises for a bad file becomes a FileError."""
    if os.path.isdir(source) and not zarr_store.in_zarr(source):
        raise FileError(str(source), "is a folder", way_out="Give the name of a file in it.")
    if not os.path.exists(source):  # Path's own raises for a name too long
        raise FileError(str(source), "does not exist", way_out="Check its name and folder.")
    try:
        yield
    except LRNormError:
        raise
    except PermissionError as error:
        raise FileError(str(source), f"cannot be read: {reason(error)}") from error
    except MemoryError as error:
        raise FileError(str(source), f"does not fit into memory: {reason(error)}") from error
    except Exception as error:  # decoders raise nearly every kind there is, SyntaxError included
        if isinstance(error, ValueError) and "bject" in str(error):  # NumPy has two wordings
            raise FileError(
                str(source),
                "holds Python objects, which are not loaded because they can run code",
                way_out="Save numbers, for example numpy.save(path, x.astype('float32')).",
            ) from error
        raise FileError(
            str(source),
            f"is not a readable {kind or source.suffix or '.zarr'} file: {reason(error)}",
            way_out="It may be cut short, or of another format than its name says.",
        ) from error


def numbers(array: Any) -> Array:
    """An array of a dtype that every file format can name: not bfloat16, for example."""
    if isinstance(array, np.ndarray):
        front_of(array, "the array")  # refuses masked arrays and the like
    checked: Array = array_of_lists(array, "the array")
    if checked.dtype.kind not in "biufc":
        raise KindError(
            "the array",
            "must hold numbers to be written to a file",
            got=f"dtype {checked.dtype}",
            way_out="Convert it first, for example array.astype('float32').",
        )
    return checked


def count_text(arrays: Collection[Any]) -> str:
    """How many arrays, in words."""
    return f"{len(arrays)} array{'s' * (len(arrays) != 1)}"
