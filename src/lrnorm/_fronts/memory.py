"""Where the elements of an array lie."""

from __future__ import annotations

from collections.abc import Iterable

# Results of so many bytes and more lie in `_core.Memory`, where the next one finds pages that the
# system need not clear again. Below, the C library keeps what is freed by itself, and is faster.
LARGE = 32 << 20


def has_own_places(strides: Iterable[int], shape: Iterable[int], item: int = 1) -> bool:
    """Whether each axis steps over all that the axes with smaller steps reach: then every element
    has a place of its own. Strides count in units of which an element takes `item`.

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
