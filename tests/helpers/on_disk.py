"""Arrays on disk, for the tests that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def saved(folder: Path, array: Any, name: str = "x.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def stored(name: str, array: Any, **how: Any) -> str:
    """The array as a .zarr, in chunks of all channels unless `how` says otherwise."""
    zarr = pytest.importorskip("zarr")
    how = {"chunks": (1, 12, 4, 9)} | how
    zarr.create_array(name, shape=array.shape, dtype=array.dtype, **how)[...] = array
    return name


def tree(folder: Path | str) -> dict[str, bytes]:
    """Every file under a folder, by name: its bytes."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def times(folder: Path | str) -> dict[str, int]:
    """When every file of an array was written, by name; without what records a run."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in files
        if ".lrnorm" not in path.parts
    }
