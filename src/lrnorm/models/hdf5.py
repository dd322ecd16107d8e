"""HDF5 through h5py, for the formats that stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lrnorm._spec.errors import MissingDependencyError
from lrnorm.models.found import one_line
from lrnorm.models.source import DamagedError, Source

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(source: Source) -> bool:
    return source.head.startswith(_SIGNATURE)


@contextmanager
def opened(source: Source) -> Iterator[Any]:
    """The file, open for reading; whatever h5py raises becomes a DamagedError."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            str(source.path),
            "is HDF5, which needs the package h5py",
            way_out="Run pip install 'lrnorm[models]'.",
        ) from error
    try:
        with h5py.File(source.path, "r") as file:
            yield file
    except DamagedError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise DamagedError(f"its HDF5 cannot be read: {one_line(error)[:200]}") from None
