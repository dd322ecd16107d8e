"""Shapes of ports, in which unknown sizes are None: compared, merged, checked and printed."""

from __future__ import annotations

from typing import Any

from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import is_integer

Shape = tuple[int | None, ...]
ANY_SIZES = "expects sizes, such as (3, None, 224) with None for an unknown one"


def contradict(one: Shape | None, other: Shape | None) -> bool:
    """True if no shape agrees with both."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(
        a != b and None not in (a, b) for a, b in zip(one, other, strict=True)
    )


def merged(one: Shape | None, other: Shape | None) -> Shape | None:
    """The shape that follows from two which do not contradict each other."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def is_known(shape: Shape | None) -> bool:
    """True if all sizes are known."""
    return shape is not None and None not in shape


def sizes_of(port: str, value: Any, rule: str = ANY_SIZES, rank: int | None = None) -> Shape | None:
    """The shape that input= or output= gives to a port; None for an unknown size."""
    if value is None:
        return None
    subject, way_out = f"port {port!r}", "Leave out the batch: a layer takes one in any case."
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    if not all(size is None or is_integer(size) for size in sizes):
        raise KindError(subject, rule, value=value)
    if any(size is not None and size < 0 for size in sizes) or rank not in (None, len(sizes)):
        raise ShapeError(subject, rule, value=value, way_out=way_out if rank else "")
    return tuple(None if size is None else int(size) for size in sizes)


def shape_text(shape: Shape | None) -> str:
    """A shape for people; "?" for what is unknown.

    >>> shape_text((5, None, 1)), shape_text(None), shape_text(())
    ('5 × ? × 1', '?', 'a number')
    """
    if shape is None:
        return "?"
    return " × ".join("?" if n is None else str(n) for n in shape) or "a number"
