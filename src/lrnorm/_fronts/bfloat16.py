"""The bfloat16 of NumPy arrays, which the package ml_dtypes defines."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from lrnorm._spec.errors import MissingDependencyError, missing


def loaded_bfloat16() -> np.dtype[Any] | None:
    """The dtype, if ml_dtypes is loaded; otherwise no array can have it."""
    ml_dtypes = sys.modules.get("ml_dtypes")
    return np.dtype(ml_dtypes.bfloat16) if ml_dtypes else None


def bfloat16() -> np.dtype[Any]:
    """The dtype; loads ml_dtypes.

    Errors: MissingDependencyError (an ImportError) where it is not installed.
    """
    try:
        import ml_dtypes
    except ImportError as error:
        raise missing("dtype='bfloat16' of NumPy arrays", "ml_dtypes", "ml_dtypes") from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def has_bfloat16() -> bool:
    """True where ml_dtypes is installed."""
    try:
        return bfloat16() is not None
    except MissingDependencyError:
        return False
