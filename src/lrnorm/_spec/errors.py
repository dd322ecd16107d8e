"""What goes wrong, as few kinds as it takes. Each is also the built-in kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LRNormError(Exception):
    """The root of every error that lrnorm raises on purpose."""


class ParameterError(LRNormError, ValueError):
    """A parameter or option has a value that the rule does not allow."""


class ConventionError(ParameterError):
    """A framework's words cannot say it: `reason` tells why, and `nearest` holds words that the
    framework takes and that come near."""

    def __init__(self, reason: str, nearest: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.nearest = dict(nearest or {})

    def __str__(self) -> str:
        words = ", ".join(f"{word}={value!r}" for word, value in self.nearest.items())
        return f"{self.reason}." + (f" Nearest: {words}." if words else "")


class ShapeError(LRNormError, ValueError):
    """A rank, a size or an axis does not fit."""


class KindError(LRNormError, TypeError):
    """An argument is of a kind that cannot be used: wrong type, dtype, or combination."""


class OutputError(LRNormError, ValueError):
    """The `out` array given cannot take the result."""


class DeviceError(LRNormError, RuntimeError):
    """The device asked for is not there."""


class FileError(LRNormError, OSError):
    """A file cannot be read or written as asked."""


class MissingDependencyError(LRNormError, ImportError):
    """An optional dependency is not installed."""


# A traceback and a pickle name these classes as users import them: lrnorm.ShapeError.
for _class in (
    *(LRNormError, ParameterError, ConventionError, ShapeError, KindError, OutputError),
    *(DeviceError, FileError, MissingDependencyError),
):
    _class.__module__ = "lrnorm"
