"""What is fed to a port: one example, a batch of them, or a list of examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lrnorm._function.dispatch import Front, array_of_lists, front_of
from lrnorm._spec.errors import LRNormError, ParameterError, ShapeError


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """Errors that speak of x speak of the port instead."""
    try:
        yield
    except LRNormError as error:
        raise error.about(where) from error


class Operand(NamedTuple):
    """What is fed to a port: the input, or what goes along with it through a derivative."""

    value: Any
    port: str
    role: str = ""
    item: str = ""
    rank: int = 3  # of one example

    @property
    def where(self) -> str:
        return f"{self.role}port {self.port!r}{self.item}"

    def taken_out(self) -> Operand:
        """The value that a mapping holds under the port's name."""
        if type(self.value) is np.ndarray or not isinstance(self.value, Mapping):
            return self
        if list(self.value) != [self.port]:
            unknown = [name for name in self.value if name != self.port]
            got = f"there is no port {unknown[0]!r} to feed" if unknown else "got an empty mapping"
            raise ParameterError(f"{self.where} takes {{{self.port!r}: …}}: {got}.")
        return self._replace(value=self.value[self.port])

    def holds_examples(self) -> bool:
        """Whether the value is a list of examples. With arrays among its items it is; nested lists
        are one example at as many levels as its rank, and several at one more."""
        inner, levels = self.value, 0
        if not isinstance(inner, (list, tuple)):
            return False
        if not inner:
            raise ShapeError(f"{self.where} expects at least one example, got an empty list.")
        if any(getattr(item, "ndim", 0) for item in inner):
            return True
        while isinstance(inner, (list, tuple)):
            inner, levels = inner[0] if inner else None, levels + 1
        return levels + int(getattr(inner, "ndim", 0)) == self.rank + 1

    def examples(self, count: int) -> list[Operand]:
        """One operand for each example of a list, of which there must be `count`."""
        value = self.value
        batch = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == self.rank + 1
        if not batch or len(value) != count:
            got = len(value) if batch else f"one {type(value).__name__}"
            raise ShapeError(f"{self.where} expects a list of {count}, as the input is, got {got}.")
        return [self._replace(value=v, item=f" (item {i})") for i, v in enumerate(value)]

    def unlisted(self) -> Any:
        """The value, or the array that nested lists are."""
        if not isinstance(self.value, (list, tuple)):
            return self.value
        with told_of(self.where):
            return array_of_lists(self.value)

    def array(self) -> tuple[Front | None, Any]:
        """The front, None for nested lists, and the array."""
        with told_of(self.where):
            front = front_of(self.value)
        return front, self.unlisted()
