"""Base class of immutable values, for layers, nets and ports."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, Never


class Frozen:
    """Base class of values: immutable, equal and hashable by `_key()`."""

    _instead = ""  # what to do in place of changing one

    def _key(self) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._key() == other._key())

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __setattr__(self, name: str, value: Any) -> Never:
        raise FrozenInstanceError(f"{name!r} cannot be set: {self._instead}")

    def __delattr__(self, name: str) -> Never:
        raise FrozenInstanceError(f"{name!r} cannot be deleted: {self._instead}")
