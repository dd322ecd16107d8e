"""The memory of arrays: how large outputs reuse it, and which elements share it."""

from __future__ import annotations

from collections.abc import Iterable
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


def overlap(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """True where two arrays share memory, except for arrays that lie in the same places."""

    def places(v: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        strides = [stride for stride, size in zip(v.strides, v.shape, strict=True) if size > 1]
        return v.__array_interface__["data"][0], strides, v.dtype

    return np.may_share_memory(a, b) and places(a) != places(b) and np.shares_memory(a, b)
