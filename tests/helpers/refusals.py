"""Errors in parts: how tests state that something is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lrnorm import LRNormError


def refusal(kind: type[BaseException], text: str) -> Any:
    """An error of this kind whose text contains `text`: subject, rule and value, not all of it."""
    return pytest.raises(kind, match=re.escape(text))


def check_parts(
    error: LRNormError,
    kind: type[LRNormError],
    subject: str,
    rule: str = "",
    value: Any = ...,
    way_out: str = "",
    got: str = "",
    where: tuple[str, ...] | None = None,
) -> None:
    """Exactly this kind, subject, value and place; the other parts contain the texts."""
    assert type(error) is kind, error
    assert error.subject == subject, error
    assert rule in error.rule, error
    assert way_out in error.way_out, error
    assert got in (error.got or ""), error
    assert value is ... or error.value == value, error
    assert where is None or error.where == where, error


@contextmanager
def refused(kind: type[LRNormError], *parts: Any, **more: Any) -> Iterator[None]:
    """A block that must raise an error with these parts, as `check_parts` takes them."""
    with pytest.raises(kind) as caught:
        yield
    check_parts(caught.value, kind, *parts, **more)
