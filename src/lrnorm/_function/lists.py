"""Nested lists of numbers, as an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrnorm._fronts.checks import wrong_kind
from lrnorm._function.dispatch import array_instead, follows_the_standard
from lrnorm._spec.errors import ShapeError

# What to pass instead of an array of any library of the array API standard.
_COPIED = "numpy.from_dlpack(x), of a copy on the CPU if it lies elsewhere"


def array_of_lists(x: Any, name: str = "x") -> np.ndarray[Any, Any]:
    """Nested lists or tuples of numbers as an array; an array as it is."""
    if isinstance(x, (list, tuple)):
        try:
            _check_items(x, name)
        except RecursionError as error:
            raise ShapeError(
                name,
                "must be nested lists of numbers",
                got="lists nested without an end",
                way_out="One of them contains itself: pass a copy without it.",
            ) from error
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ShapeError(
            name,
            f"must be nested lists of one length at each level: {error}",
            way_out="Pad the shorter lists, or pass arrays of different sizes one by one.",
        ) from error


def _check_items(x: Any, name: str) -> None:
    """Refuse objects in the lists that NumPy would convert and spoil."""
    for kind in set(map(type, x)):
        if issubclass(kind, (list, tuple)):
            for item in x:
                if isinstance(item, kind):
                    _check_items(item, name)
        elif instead := array_instead(kind) or (follows_the_standard(kind) and _COPIED):
            item = next(item for item in x if type(item) is kind)
            rule = "must be nested lists of numbers or NumPy arrays"
            raise wrong_kind(name, rule, item, f"For each such x, pass {instead}.")
