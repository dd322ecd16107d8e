"""The memory of arrays: how large outputs reuse it, and which elements share it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np

# Outputs of this many bytes or more are allocated by `_core.Memory`, which hands on pages that the
# system need not clear again. Below it, the C library reuses freed memory by itself, and faster.
LARGE = 32 << 20


def has_own_places(strides: Iterable[int], shape: Iterable[int], item: int = 1) -> bool:
    """True where every element has an address of its own: each axis steps over all that the axes
    with smaller steps reach. An element takes `item` units of a stride.

    >>> has_own_places((3, 1), (2, 3)), has_own_places((1, 1), (2, 3))
    (True, False)
    """
    steps = list(zip((abs(stride) for stride in strides), shape, strict=True))
    empty = any(size == 0 for _, size in steps)
    reach = item
    for stride, size in sorted(steps):
        if size > 1:
            if stride < reach:
                return empty
            reach += stride * (size - 1)
    return True


class Sharing(Enum):
    """How two arrays share memory."""

    NONE = "no element of both"
    SAME = "element by element, as views of the same elements do"
    OVERLAP = "in any other way"


def sharing(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Sharing:
    """How two NumPy arrays share memory."""

    def places(v: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        strides = [stride for stride, size in zip(v.strides, v.shape, strict=True) if size > 1]
        return v.__array_interface__["data"][0], strides, v.dtype

    if not np.may_share_memory(a, b):
        return Sharing.NONE
    if places(a) == places(b):
        return Sharing.SAME
    return Sharing.OVERLAP if np.shares_memory(a, b) else Sharing.NONE
