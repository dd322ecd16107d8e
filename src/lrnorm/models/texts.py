"""Numbers and JSON that stand as text in a model file."""

from __future__ import annotations

import json
from typing import Any

from lrnorm.models.found import one_line
from lrnorm.models.source import DamagedError


def number_of(text: Any, name: str) -> float:
    """A text as a float; errors call it `name`."""
    try:
        return float(text)
    except ValueError:
        raise DamagedError(f"{name} is {str(text)[:40]!r}, which is no number") from None


def digits_of(text: str) -> int | None:
    """A row of digits as an integer; None for any other text, and for sizes beyond any array."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def integer_of(text: str, name: str) -> int:
    """A row of digits as an integer; errors call it `name`."""
    number = digits_of(text)
    if number is None:
        raise DamagedError(f"{name} is {text[:40]!r}, which is no whole number")
    return number


def whole(number: float) -> float:
    """A size that a format keeps as a float, as the integer it is. Any other number stays, for the
    convention to refuse.

    >>> whole(5.0), whole(5.5)
    (5, 5.5)
    """
    return int(number) if number == number // 1 and abs(number) < 2**53 else number


def json_of(text: str | bytes, name: str = "it") -> Any:
    """The value that a JSON text writes; errors call the text `name`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name} is no JSON: {one_line(error)}") from None
