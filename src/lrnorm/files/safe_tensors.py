"""The .safetensors of Hugging Face: several arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from lrnorm._spec.errors import KindError, missing
from lrnorm.files.checks import Array, count_text, numbers, reading

_DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64"


def _safetensors() -> Any:
    try:
        return import_module("safetensors.numpy")
    except ImportError as error:
        raise missing(".safetensors", "safetensors", "'lrnorm[safetensors]'") from error


@contextmanager
def safetensors_members(source: Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of a .safetensors by name, each loaded when it is called."""
    open_file = _safetensors().safe_open
    with reading(source):
        opened = open_file(source, framework="numpy")

    def load(name: str) -> Array:
        with reading(source):
            array: Array = np.asarray(opened.get_tensor(name))
            return array

    with opened as file:
        yield {name: partial(load, name) for name in file.keys()}  # noqa: SIM118


def write_safetensors(stream: IO[bytes], arrays: Any) -> str:
    """Write arrays by name; one array is called "array"."""
    arrays = arrays if isinstance(arrays, Mapping) else {"array": arrays}
    stored = {name: _stored(array) for name, array in arrays.items()}
    stream.write(_safetensors().save(stored))
    return count_text(stored)


def _stored(array: Any) -> Array:
    """The array as the format can store it; refuses a dtype that it lacks."""
    array = numbers(array)
    if array.dtype.name not in _DTYPES.split():
        raise KindError(
            "an array of a .safetensors",
            f"must have one of the dtypes {_DTYPES.replace(' ', ', ')}",
            got=str(array.dtype),
            way_out="Convert it first, for example array.astype('float32').",
        )
    # Contiguous and in the processor's byte order: safetensors writes the bytes as they stand.
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
