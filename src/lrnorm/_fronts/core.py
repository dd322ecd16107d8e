"""The compiled core; where it cannot be loaded, its stand-in over NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["core", "why_not"]

if TYPE_CHECKING:
    from lrnorm import _core as core

_reason: str | None = None

if not TYPE_CHECKING:
    try:
        from lrnorm import _core as core
    except ImportError as error:
        from lrnorm._fronts import stand_in as core

        # What the loader says of a file that is there, such as one of another processor.
        _reason = str(error.__cause__ or error)
        core.reason = _reason


def why_not() -> str | None:
    """Why the compiled core is not in use, or None where it is.

    >>> from lrnorm._fronts.core import why_not
    >>> print(why_not())
    None
    """
    return None if _reason is None else f"computing with NumPy: {_reason}"
