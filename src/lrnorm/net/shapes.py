"""Shapes with unknown sizes: None for a size, None for a whole shape."""

from __future__ import annotations

from lrnorm._layers.facts import Shape


class RefusedError(Exception):
    """A layer does not take a shape; the text says why."""


def contradict(one: Shape | None, other: Shape | None) -> bool:
    """Whether no shape can be both."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(
        a != b and None not in (a, b) for a, b in zip(one, other, strict=True)
    )


def merged(one: Shape | None, other: Shape | None) -> Shape | None:
    """What both say, which do not contradict each other."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def is_known(shape: Shape | None) -> bool:
    """Whether no size is left unknown."""
    return shape is not None and None not in shape
