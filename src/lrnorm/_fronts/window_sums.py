"""Sums over a window of neighbours, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def window_sum(
    padded: Any,
    channels: int,
    width: int,
    part: Callable[[Any, int, int], Any],
    plus: Callable[[Any, Any], Any],
) -> Any:
    """The sums of `width` neighbours, one for each of `channels`.

    `padded` holds channels + width - 1 numbers along its axis; part(v, start, stop) cuts it there.
    Sums of one, two, four … neighbours, each of two of the last, make up a window of any width: it
    only adds, and as often as the width has binary digits.

    >>> from lrnorm._fronts.window_sums import window_sum
    >>> plus = lambda a, b: [x + y for x, y in zip(a, b)]
    >>> window_sum([0, 1, 2, 3, 0], 3, 3, lambda v, start, stop: v[start:stop], plus)
    [3, 6, 5]
    """
    length = channels + width - 1
    total, start, reach = None, 0, 1
    while True:
        if width & reach:
            piece = part(padded, start, start + channels)
            total = piece if total is None else plus(total, piece)
            start += reach
        if start == width:
            return total
        padded = plus(part(padded, 0, length - reach), part(padded, reach, length))
        length, reach = length - reach, 2 * reach
