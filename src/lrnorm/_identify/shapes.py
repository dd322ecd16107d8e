"""Measures along an axis that is not known, and with other shapes than the first."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnorm._identify import exact
from lrnorm._identify.found import Identification
from lrnorm._identify.independence import same
from lrnorm._identify.subject import Subject
from lrnorm._spec.errors import IdentificationError
from lrnorm._spec.spec import LRNSpec

WIDER = (64, 256)  # channels, where a window reaches from end to end of fewer


def axis_of(f: Callable[[Any], Any], shape: tuple[int, ...], dtype: str) -> int:
    """The one axis along which a value changes others; axis 1 where it changes none.

    Errors: IdentificationError where it changes others along several axes.
    """
    subject = Subject(f, shape, 0, dtype)
    rng = np.random.default_rng(0)
    place = tuple(n // 2 for n in shape)
    moved: set[int] = set()
    for size in (1.0, 60.0) if dtype == "float16" else (1.0, 1e3, 1e6):
        x = rng.uniform(0.5, 1.5, shape) * size
        other = x.copy()
        other[place] *= 4
        y, changed = subject.values(x), subject.values(other)
        places = np.argwhere(~same(changed, y, 8 * subject.precision.eps))
        moved |= {axis for axis, at in enumerate(place) if np.any(places[:, axis] != at)}
    if len(moved) > 1:
        raise IdentificationError(
            f"a value changes others along the axes {sorted(moved)}", "other_pixels"
        )
    return moved.pop() if moved else min(1, len(shape) - 1)


def _open_ends(found: Identification) -> int:
    return (found.spec.before is None) + (found.spec.after is None)


def seen_whole(found: Identification, again: Callable[[int], Identification]) -> Identification:
    """The same, measured again with more channels until both ends of the window are seen, or as
    many as there are to see."""
    for channels in WIDER:
        if _open_ends(found):
            with contextlib.suppress(IdentificationError):
                found = min(found, again(channels), key=_open_ends)
    return found


def computes(
    f: Callable[[Any], Any], spec: LRNSpec, shape: tuple[int, ...], axis: int, dtype: str
) -> bool:
    """Whether a callable computes this LRN on arrays of this shape too."""
    subject = Subject(f, shape, axis, dtype)
    size = math.sqrt(abs((spec.bias or 1.0) / spec.scale)) if spec.scale else 1.0
    x = np.random.default_rng(2).standard_normal((subject.columns, subject.channels))
    x = subject.precision.rounded(x * min(size, 1e3))
    try:
        y = subject.full(x)
    except IdentificationError:
        return False
    return bool(same(y, exact.forward(x, spec), 1e3 * subject.precision.eps).all())
