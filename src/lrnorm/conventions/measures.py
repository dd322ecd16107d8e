"""What a row of the table of conventions says: the words, the window, the divisor, the limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer, window_ends

Ends = tuple[int, int]  # (before, after)
SMALLEST = 2.0**-149  # the smallest positive float32: the limit of what must be above 0


class Measure(NamedTuple):
    """What a framework's number for the window means. In the texts {n} is its word for it."""

    text: str
    divisor: str
    check: Callable[[str, Any], None]
    width: Callable[[Any], int]  # what alpha is divided by, where it is
    ends: Callable[[Any], Ends | None]  # None: a window that is refused
    say: Callable[[int, int], Iterable[Any]]  # numbers that may give this (before, after)
    near: Callable[[int, int], Iterable[Any]]  # and such as may come near it
    narrowest: int = 1


def _whole(smallest: int) -> Callable[[str, Any], None]:
    def check(word: str, value: Any) -> None:
        if not is_integer(value):
            raise KindError(word, "must be an integer", value=value)
        if value < smallest:
            raise ParameterError(word, f"must be at least {smallest}", value=value)

    return check


def _widths(before: int, after: int) -> list[int]:
    """The window's width, and its neighbours for frameworks that keep another divisor; an odd one
    first, since every framework reads it alike."""
    width = before + after + 1
    return sorted((width - 1, width, width + 1), key=lambda n: (n % 2 == 0, abs(n - width)))


def _widths_near(before: int, after: int) -> list[int]:
    width = before + after + 1
    return sorted(range(width - 2, width + 3), key=lambda n: n % 2 == 0)


def _width(text: str, ends: Callable[[int], Ends | None]) -> Measure:
    return Measure(text, "{n}", _whole(1), lambda n: n, ends, _widths, _widths_near)


def _radius(smallest: int) -> Measure:
    return Measure(
        "{n} is a radius: as many channels on either side",
        "(2·{n}+1)",
        _whole(smallest),
        lambda r: 2 * r + 1,
        lambda r: (r, r),
        lambda before, after: (before,),
        lambda before, after: ((before + after) // 2, (before + after + 1) // 2, smallest),
        narrowest=2 * smallest + 1,
    )


def _centred(n: int) -> Ends | None:
    return (n // 2, n // 2) if n % 2 else None


def _ahead(n: int) -> Ends:
    return (n - 1) // 2, n // 2


def _check_pair(word: str, value: Any) -> None:
    window_ends(value)


def _pairs(before: int, after: int) -> tuple[int | Ends, ...]:
    if before == after == 0:
        return ()
    return (before if before == after else (before, after),)


def _check_sizes(word: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)):
        _whole(1)(word, value)
    elif not value:
        raise ParameterError(word, "must be a list with a width for each axis", value=value)
    else:
        for i, width in enumerate(value):
            _whole(1)(f"{word}[{i}]", width)


def _volume(sizes: Any) -> int:
    return math.prod(sizes) if isinstance(sizes, (list, tuple)) else sizes


_EVEN = "{n} is a width; an even one reaches "
WIDTH_R = _width(_EVEN + "one further ahead: before = ({n}-1)//2, after = {n}//2", _ahead)
WIDTH_L = _width(
    _EVEN + "one further back: before = {n}//2, after = ({n}-1)//2",
    lambda n: (n // 2, (n - 1) // 2),
)
WIDTH_NARROWED = _width(
    _EVEN + "({n}-1)//2 to either side, one channel less than {n}, and the divisor stays {n}",
    lambda n: ((n - 1) // 2, (n - 1) // 2),
)
WIDTH_WIDENED = _width(
    _EVEN + "{n}//2 to either side, one channel more than {n}", lambda n: (n // 2, n // 2)
)
WIDTH_ODD = _width("{n} is a width and must be odd: {n}//2 to either side", _centred)
WIDTH_ODD_KNOWN = _width(
    "{n} is a width: {n}//2 to either side; it must be odd, since no document says which way an "
    "even one leans",
    _centred,
)
RADIUS = _radius(0)
RADIUS_POSITIVE = _radius(1)
RADIUS_OR_PAIR = Measure(
    "{n} is a radius from 1 on, or a pair (before, after)",
    "(before + after + 1)",
    _check_pair,
    lambda size: sum(window_ends(size)) + 1,
    window_ends,
    _pairs,
    lambda before, after: (1,),
)
SIZES = Measure(
    "{n} is a list of widths, one for each axis; an even one reaches one further ahead",
    "∏{n}",
    _check_sizes,
    _volume,
    lambda sizes: _ahead(_volume(sizes)),
    lambda before, after: ([1, before + after + 1, 1, 1],),
    lambda before, after: ([1, max(n, 1), 1, 1] for n in _widths_near(before, after)),
)


class Limit(NamedTuple):
    """What a number may be: both ends belong to it."""

    low: float = -math.inf
    high: float = math.inf

    def nearest(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def text(self, word: str) -> str:
        if self.low == SMALLEST:
            return f"{word} > 0"
        low = f"{self.low:g} ≤ " if math.isfinite(self.low) else ""
        high = f" ≤ {self.high:g}" if math.isfinite(self.high) else ""
        return low + word + high


class Switch(NamedTuple):
    """A word beside the four. `written`: whether it belongs to what `write` gives."""

    default: Any
    check: Callable[[str, Any], None]
    written: bool = True


def one_of(*values: Any) -> Callable[[str, Any], None]:
    """A check that a switch has one of these values."""

    def check(word: str, value: Any) -> None:
        if type(value) is not type(values[0]) or value not in values:
            allowed = " or ".join(map(repr, values))
            raise ParameterError(word, f"must be {allowed}", value=value)

    return check


def axes(word: str, value: Any) -> None:
    """The check of a switch that names axes."""
    several = value if isinstance(value, (list, tuple)) else [value]
    if not several or not all(map(is_integer, several)):
        raise KindError(word, "must be an axis or a list of axes", value=value)


def spell_c(value: Any) -> str:
    """A value as C and its children write it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def spell_wolfram(value: Any) -> str:
    """A value as the Wolfram Language writes it."""
    return repr(value).replace("e", "*^")  # 2e-05 would be read as 2 times e, less 5


def _never(arguments: Mapping[str, Any]) -> bool:
    return False


def always(arguments: Mapping[str, Any]) -> bool:
    """For rows that are boxes whatever their switches say."""
    return True


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a framework's words mean."""

    title: str
    words: tuple[str, str, str, str]  # for the window, alpha, beta and bias
    defaults: tuple[Any, Any, Any, Any]  # None: has to be given
    measure: Measure
    divides: bool = True  # whether alpha is divided by the width of the window
    divides_if: str = ""  # the switch that says so, where there is one
    switches: Mapping[str, Switch] = field(default_factory=dict)
    largest: int | None = None  # number for the window
    limits: Mapping[str, Limit] = field(default_factory=dict)
    fixed_bias: float | None = None  # whatever its word says
    box: str = ""  # what it sums over instead of the channels, where `several` axes say so
    several: Callable[[Mapping[str, Any]], bool] = _never
    layout: str = "NCHW"  # of its arrays, a letter an axis; empty: any
    axis: str = ""  # of the channels, where the layout does not say all
    call: str  # to paste, $word for each word
    spell: Callable[[Any], str] = repr  # a value in the language of the call
    source: str
    remark: str = ""
    way_out: str = ""  # for what its words cannot say; {spec} is that
