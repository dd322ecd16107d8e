"""Shapes with unknown sizes: None for a size, None for a whole shape."""

from __future__ import annotations

from lrnorm._information import Shape


class ClashError(Exception):
    """Two shapes contradict each other."""


class RefusedError(Exception):
    """A layer does not take a shape; the text says why."""


def merged(one: Shape | None, other: Shape | None) -> Shape | None:
    """What both say."""
    if one is None or other is None:
        return other if one is None else one
    if len(one) != len(other) or any(
        a != b and None not in (a, b) for a, b in zip(one, other, strict=True)
    ):
        raise ClashError
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def contradict(one: Shape | None, other: Shape | None) -> bool:
    try:
        merged(one, other)
    except ClashError:
        return True
    return False


def is_known(shape: Shape | None) -> bool:
    """Whether no size is left unknown."""
    return shape is not None and None not in shape
