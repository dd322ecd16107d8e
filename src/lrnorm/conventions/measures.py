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
    # Where one value holds a number for each axis of a box: these, and the value for all ends, or
    # None where one of them cannot be said.
    each: Callable[[Any, int], list[Any]] | None = None
    together: Callable[[list[Ends]], Any] | None = None

    def of_axes(self, size: Any, axes: int) -> list[Any]:
        """The number for each axis of a box."""
        if self.each is not None and isinstance(size, (list, tuple)):
            return self.each(size, axes)
        return [size] * axes


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
    for size in value if _is_list_of_windows(value) else [value]:
        window_ends(size)


def _is_list_of_windows(value: Any) -> bool:
    """Whether it holds a window for each axis; a list of two integers may be a pair too."""
    return isinstance(value, list) and (len(value) != 2 or not all(map(is_integer, value)))


def _each_window(size: Any, axes: int) -> list[Any]:
    return list(size) if isinstance(size, list) and axes > 1 else [size] * axes


def _pairs(before: int, after: int) -> tuple[int | Ends, ...]:
    if before == after == 0:
        return ()
    return (before if before == after else (before, after),)


def _together(ends: list[Ends]) -> list[int | Ends] | None:
    """[1, (2, 0)] of [(1, 1), (2, 0)]; None where an axis has a window of one index."""
    windows = [size for pair in ends for size in _pairs(*pair)]
    return windows if len(windows) == len(ends) else None


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
    each=_each_window,
    together=_together,
)
SIZES = Measure(
    "{n} is a list of widths, one for each axis; an even one reaches one further ahead",
    "∏{n}",
    _check_sizes,
    _volume,
    lambda sizes: _ahead(_volume(sizes)),
    lambda before, after: ([1, before + after + 1, 1, 1],),
    lambda before, after: ([1, max(n, 1), 1, 1] for n in _widths_near(before, after)),
    each=lambda sizes, axes: [width for width in sizes if width > 1] or [1],
    together=lambda ends: [1, 1, *(before + after + 1 for before, after in ends)],
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
    if len(set(several)) != len(several):
        raise ParameterError(word, "must be different axes", value=value)


def spell_c(value: Any) -> str:
    """A value as C and its children write it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def spell_wolfram(value: Any) -> str:
    """A value as the Wolfram Language writes it."""
    return repr(value).replace("e", "*^")  # 2e-05 would be read as 2 times e, less 5


class Box(NamedTuple):
    """How a framework says a window over several axes. `axes`: how many axes its words name;
    `switches`: the switches that name so many, or None where it cannot; `fixed_bias`: what the
    bias is over a box, whatever its word says; `call`: to paste, where it is another."""

    text: str
    axes: Callable[[Mapping[str, Any]], int]
    switches: Callable[[int], Mapping[str, Any] | None]
    fixed_bias: float | None = None
    call: str = ""


def square(text: str, **rest: Any) -> Box:
    """A row that is a box over two axes and nothing else."""
    return Box(text, lambda given: 2, lambda axes: {} if axes == 2 else None, **rest)


def switched(text: str, word: str, across: Any, within: Any, **rest: Any) -> Box:
    """A row whose switch `word` says whether it is a box over two axes."""
    says = {1: {word: across}, 2: {word: within}}
    return Box(text, lambda given: 2 if given.get(word) == within else 1, says.get, **rest)


def by_rank(text: str, word: str) -> Box:
    """A box over the spatial axes: two of them at rank 4, three at rank 5, which `word` tells."""
    return Box(
        text,
        lambda given: given.get(word, 4) - 2,
        lambda axes: {2: {}, 3: {word: 5}}.get(axes),
    )


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
    box: Box | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)  # other words for a word
    packed: tuple[str, tuple[str, ...]] | None = None  # one word that holds a list of several
    layout: str = "NCHW"  # of its arrays, a letter an axis; empty: any
    axis: str = ""  # of the channels, where the layout does not say all
    call: str  # to paste, $word for each word
    spell: Callable[[Any], str] = repr  # a value in the language of the call
    source: str
    remark: str = ""
    way_out: str = ""  # for what its words cannot say; {spec} is that
