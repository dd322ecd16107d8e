"""Exception classes; each also derives from a built-in exception.

An error is made of parts, and its text is made of them here alone:

    where: subject rule, got value. Way out.

    net.npy: axis must be an integer, got 1.5. Write for example axis=-1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

_NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "<nothing>"})()


class LRNormError(Exception):
    """The base class of every error that lrnorm raises on purpose.

    Attributes
    ----------
    subject : str
        What is wrong: "axis", "port 'Input'", a file.
    rule : str
        What must hold: "must be an integer".
    value : Any
        What came instead; None where there is nothing to show.
    way_out : str
        What to do: one or more whole sentences that work as they stand.
    where : tuple of str
        Where it was found, the outermost place first: a file, an array in it, a layer of a net.

    `str(error)` joins them. `error.at(place)` is the same error, found in a place.

    >>> from lrnorm import ShapeError
    >>> error = ShapeError("axis", "must lie in -3 … 2", value=7, way_out="Pass axis=-1.")
    >>> print(error.at("photo.npy"))
    photo.npy: axis must lie in -3 … 2, got 7. Pass axis=-1.
    """

    def __init__(
        self,
        subject: str,
        rule: str,
        *,
        value: Any = _NOTHING,
        got: str | None = None,
        way_out: str = "",
    ) -> None:
        super().__init__()
        self.subject = subject
        self.rule = rule
        self.value = None if value is _NOTHING else value
        self.got = got if got is not None or value is _NOTHING else repr(value)
        self.way_out = way_out
        self.where: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = " ".join(part for part in (self.subject, self.rule) if part)
        said = ": ".join((*self.where, said)) + (f", got {self.got}" if self.got else "")
        return f"{said if said[-1:] in tuple('.?!') else said + '.'} {self.way_out}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unmade, (type(self),), self.__dict__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def at(self, place: str) -> Self:
        """The same error, found in `place`."""
        return self._changed(where=(place, *self.where))

    def about(self, subject: str) -> Self:
        """The same error with another subject: a port in place of x."""
        return self._changed(subject=subject)

    def advising(self, way_out: str) -> Self:
        """The same error with another way out."""
        return self._changed(way_out=way_out)

    def _changed(self, **parts: Any) -> Self:
        changed = copy.copy(self)
        changed.__dict__.update(parts)
        changed.__traceback__ = None
        return changed


def _unmade(kind: type[LRNormError]) -> LRNormError:
    """An error without its parts, for pickle and copy to fill."""
    return kind.__new__(kind)


def missing(door: str, needs: str, install: str, *, otherwise: str = "") -> MissingDependencyError:
    """The error for an optional dependency of `door`; `install` is what pip is given, `otherwise`
    what to do without it."""
    way_out = f"Run pip install {install}{f', or {otherwise}' if otherwise else ''}."
    return MissingDependencyError(door, f"needs {needs}", way_out=way_out)


class ParameterError(LRNormError, ValueError):
    """A parameter or option has a value that the rule does not allow."""


class ConventionError(ParameterError):
    """A framework has no parameters for it. `reason` says why; `nearest` holds keywords that the
    framework accepts and that come close."""

    def __init__(self, reason: str, nearest: Mapping[str, Any] | None = None) -> None:
        self.nearest = dict(nearest or {})
        words = ", ".join(f"{word}={value!r}" for word, value in self.nearest.items())
        super().__init__("", reason, way_out=f"Nearest: {words}." if words else "")

    @property
    def reason(self) -> str:
        """Why the framework has no parameters for it."""
        return self.rule


class IdentificationError(LRNormError, ValueError):
    """What a callable computes is not a local response normalization. `reason` says what was seen;
    `code` is one word for it that stays the same between versions: raises, shape, random, not_odd,
    other_pixels, size_law, unequal_weights, edge_divisor or unverified."""

    def __init__(self, reason: str, code: str, way_out: str = "") -> None:
        self.code = code
        super().__init__("this is not a local response normalization:", reason, way_out=way_out)

    @property
    def reason(self) -> str:
        """What was seen."""
        return self.rule


class ShapeError(LRNormError, ValueError):
    """A rank, a size or an axis does not fit."""


class KindError(LRNormError, TypeError):
    """An argument has a type or dtype that cannot be used, or comes in a wrong combination."""


class OutputError(LRNormError, ValueError):
    """The array given as `out` cannot hold the result."""


class DeviceError(LRNormError, RuntimeError):
    """The requested device is not available."""


class FileError(LRNormError, OSError):
    """A file cannot be read or written as requested."""


class MissingDependencyError(LRNormError, ImportError):
    """An optional dependency is not installed."""


# A traceback and a pickle name these classes as users import them: lrnorm.ShapeError.
for _class in (
    *(LRNormError, ParameterError, ConventionError, ShapeError, KindError, OutputError),
    *(DeviceError, FileError, IdentificationError, MissingDependencyError),
):
    _class.__module__ = "lrnorm"
