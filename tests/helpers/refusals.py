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


@contextmanager
def refused(
    kind: type[LRNormError], subject: str, rule: str = "", value: Any = ..., way_out: str = ""
) -> Iterator[None]:
    """An error of exactly this kind, subject and value; its rule and way out contain the texts."""
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert error.subject == subject, error
    assert rule in error.rule, error
    assert way_out in error.way_out, error
    assert value is ... or error.value == value, error
