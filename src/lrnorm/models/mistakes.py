"""Known mistakes of converters and of people, each with the numbers that it leads to.

For every number that differs at most one mistake is named: of the window, then of alpha, given that
window, then of beta and bias. What none explains is left unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lrnorm._spec.spec import LRNSpec
from lrnorm.conventions.measures import Row
from lrnorm.conventions.table import ROWS
from lrnorm.models.found import Found, Remark
from lrnorm.models.rules import title

Ends = tuple[int, int]

NAMED = 4  # frameworks listed for a default that several share


@dataclass(frozen=True)
class Case:
    """An LRN as it was and as it became."""

    was: LRNSpec
    became: LRNSpec
    was_row: Row | None
    became_row: Row | None
    words: dict[str, object]  # of what it became

    @property
    def widths(self) -> tuple[int, int] | None:
        """Channels, or pixels of a box, that the windows sum over."""
        sizes = [_ends(spec) for spec in (self.was, self.became)]
        if None in sizes:
            return None
        was, became = (math.prod(b + a + 1 for b, a in ends or ()) for ends in sizes)
        return was, became


def _ends(spec: LRNSpec) -> list[Ends] | None:
    """(before, after) along each axis; None where a window reaches to the end of the axis."""
    before: Any = spec.before if isinstance(spec.before, tuple) else (spec.before,)
    after: Any = spec.after if isinstance(spec.after, tuple) else (spec.after,)
    return None if None in (*before, *after) else list(zip(before, after, strict=True))


def mistakes(expected: Found, found: Found) -> Iterator[Remark]:
    """The mistakes that lead from one LRN to the other."""
    if expected.spec is None or found.spec is None:
        return
    case = Case(
        expected.spec,
        found.spec,
        ROWS.get(expected.convention or ""),
        ROWS.get(found.convention or ""),
        found.words,
    )
    for rule in (_window, _alpha, _beta, _bias):
        if (remark := rule(case)) is not None:
            yield remark


# Windows


@dataclass(frozen=True)
class WindowMistake:
    """`becomes` maps (before, after) to the wrong window; None where the mistake cannot happen."""

    code: str
    becomes: Callable[[int, int], Ends | None]
    text: str


def _both(radius: int) -> Ends:
    return radius, radius


def _of_radius(width: Callable[[int], int], *, back: bool = False) -> Callable[..., Ends | None]:
    """A radius r from which a width was made; an even one leans forward or back."""

    def becomes(before: int, after: int) -> Ends | None:
        if before != after or before == 0:
            return None
        size = width(before)
        return (size // 2, (size - 1) // 2) if back else ((size - 1) // 2, size // 2)

    return becomes


_TWO_SHORT = WindowMistake(
    "width_two_short",
    _of_radius(lambda r: 2 * r - 1),
    "the radius {radius} became a width of 2·{radius} - 1: the right one is 2·{radius} + 1",
)
_WINDOWS = (
    WindowMistake("leans_other_way", lambda b, a: (a, b), "the even window leans the other way"),
    WindowMistake(
        "width_read_as_radius",
        lambda b, a: _both(b + a + 1),
        "the width {width} was read as a radius",
    ),
    WindowMistake(
        "half_rounded_up",
        lambda b, a: _both(b + 1) if b == a else None,
        "half of the width {width}, rounded up, was taken for the radius, as Wolfram's importer of "
        "Torch7 does",
    ),
    WindowMistake(
        "radius_read_as_width",
        _of_radius(lambda r: r),
        "the radius {radius} was read as a width",
    ),
    WindowMistake(
        "radius_read_as_width",
        _of_radius(lambda r: r, back=True),
        "the radius {radius} was read as a width",
    ),
    WindowMistake(
        "radius_plus_one",
        _of_radius(lambda r: r + 1),
        "the radius {radius} became a width of {radius} + 1: the right one is 2·{radius} + 1",
    ),
    WindowMistake(
        "radius_plus_one",
        _of_radius(lambda r: r + 1, back=True),
        "the radius {radius} became a width of {radius} + 1: the right one is 2·{radius} + 1",
    ),
    _TWO_SHORT,
    WindowMistake(
        "term_dropped",
        lambda b, a: _both(min(b, a)) if b != a else None,
        "the last term of the even window was dropped",
    ),
    WindowMistake(
        "term_added",
        lambda b, a: _both(max(b, a)) if b != a else None,
        "the even window got one term more",
    ),
)


def _window(case: Case) -> Remark | None:
    """The mistake that turned one window into the other."""
    was, became = _ends(case.was), _ends(case.became)
    if was is None or became is None or was == became:
        return None
    if len(was) != len(became):
        return _region(len(was), len(became))
    if len(was) > 1 and (len(set(was)) > 1 or len(set(became)) > 1):
        return None
    openvino = case.became_row is ROWS["openvino"]  # its TensorFlow frontend makes 2·r - 1
    for mistake in (_TWO_SHORT, *_WINDOWS) if openvino else _WINDOWS:
        if mistake.becomes(*was[0]) == became[0]:
            width = was[0][0] + was[0][1] + 1
            return Remark(mistake.code, mistake.text.format(width=width, radius=was[0][0]))
    row = case.became_row
    size = case.words.get(row.words[0]) if row is not None else None
    if row is not None and size is not None and size == row.defaults[0]:
        return _default("window_default", row.words[0], size, [title(row)])
    return None


def _region(was: int, became: int) -> Remark | None:
    """The mistake where one window has more axes than the other."""
    if became == 1:
        text = "the region was dropped: the window runs over channels in place of height and width"
        return Remark("region_dropped", text)
    if was == 1:
        text = "the window runs over several axes in place of the channels"
        return Remark("region_added", text)
    return None


# Numbers


def _alpha(case: Case) -> Remark | None:
    """The mistake that explains the scale, given the width of the new window."""
    if case.widths is None:
        return None
    was, became = case.was.scale, case.became.scale
    width, new_width = case.widths
    # The same alpha, or the same scale, is no mistake of its own in a window of another width.
    if any(same(became, right) for right in (was, was * width / new_width)):
        return None
    divided, divides = _divides(case.was_row), _divides(case.became_row)
    if same(became, was / new_width):
        if divided is False and divides:
            return Remark(
                "alpha_not_multiplied",
                f"{_title(case.was_row)} does not divide alpha and {_title(case.became_row)} does: "
                f"alpha had to be multiplied by the width of the window, {new_width}",
            )
        return Remark("alpha_divided_twice", "alpha was divided by the size twice")
    if same(became, was * width):
        if divided and divides is False:
            return Remark(
                "alpha_not_divided",
                f"{_title(case.was_row)} divides alpha by the size and {_title(case.became_row)} "
                f"does not: alpha had to be divided by {width}",
            )
        return Remark("alpha_not_divided", "alpha was not divided by the size")
    row = case.became_row
    alpha = case.words.get(row.words[1]) if row is not None else None
    return _of_defaults("alpha", 1, alpha, row) if isinstance(alpha, float) else None


def _divides(row: Row | None) -> bool | None:
    """True if alpha is divided; None where the convention is not known or has a switch for it."""
    return None if row is None or row.divides_if else row.divides


def _title(row: Row | None) -> str:
    return "the framework" if row is None else title(row)


def _beta(case: Case) -> Remark | None:
    """beta replaced by a default."""
    was, became = case.was.beta, case.became.beta
    return None if same(was, became) else _of_defaults("beta", 2, became, case.became_row)


def _bias(case: Case) -> Remark | None:
    """The bias dropped, cut to an integer, or replaced by a default."""
    was, became = case.was.bias, case.became.bias
    if same(was, became):
        return None
    if became == 1:
        text = f"the bias (k) {was:g} was dropped: 1 is the default"
        return Remark("bias_dropped", text)
    if became == int(was):
        return Remark("bias_cut", f"the bias {was:g} was cut to an integer")
    return _of_defaults("bias", 3, became, case.became_row)


def _of_defaults(name: str, place: int, value: float, row: Row | None) -> Remark | None:
    """A number that is the default of the framework itself, or else of others."""
    word = name if row is None else row.words[place]
    if row is not None and row.defaults[place] == value:
        return _default(f"{name}_default", word, value, [title(row)])
    owners = sorted({title(r) for r in ROWS.values() if r.defaults[place] == value})
    return _default(f"{name}_default", word, value, owners) if owners else None


def _default(code: str, word: str, value: object, owners: list[str]) -> Remark:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    more = " and others" if len(owners) > NAMED else ""
    names = ", ".join(owners[:NAMED]) + more
    text = f"{word} {shown} is the default of {names}: the number of the first model was left out"
    return Remark(code, text)


def same(a: Any, b: Any) -> bool:
    """True for numbers that are equal but for rounding; ends of windows have to be equal."""
    return bool(a == b) or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-6))
