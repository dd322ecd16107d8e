"""Translates the parameters of each framework to an LRNSpec, and back.

    read(name, **words) -> LRNSpec        write(name, spec) -> words

    D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)
    y[c] = x[c] * D[c]**-beta

Frameworks differ in the number that gives the window, in the side to which an even window
extends further, and in whether alpha is divided by the window size. `table.py`, `radius_table.py`
and `box_table.py` have a row for each. A box is a window along each of several axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from string import Template
from typing import Any

from lrnorm._spec.errors import ConventionError, KindError, ParameterError
from lrnorm._spec.spec import LRNSpec, ends_along, real_number
from lrnorm.conventions.measures import Ends, Row
from lrnorm.conventions.naming import folded, row_of

__all__ = ["call", "convert", "read", "write"]

WHOLE_AXIS = 1023  # to either side: what stands for "to the end" where only a number will do


def read(name: str, /, **words: Any) -> LRNSpec:
    """What these words of a framework mean.

        y[c] = x[c] * (bias + scale * sum(x[j]**2 for j in c-before … c+after)) ** -beta

    Parameters
    ----------
    name : str
        One of `names()`, or what people say for it.
    **words : int, float
        The framework's own, as `describe(name)` lists them; capitals and underscores do not
        matter. What is left out has the framework's default, where it has one.

    Errors: ParameterError (a ValueError) for an unknown name or a value that means nothing;
    ConventionError (a ParameterError) for one that the framework refuses, with `.reason` and
    `.nearest`; KindError (a TypeError) for unknown or missing
    words and values of the wrong kind.

    Source: `describe(name).source`.

    >>> import lrnorm
    >>> lrnorm.conventions.read("torch", size=5, alpha=1e-4, beta=0.75, k=2.0)
    LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=2, after=2)
    >>> lrnorm.conventions.read("tensorflow", depth_radius=2, alpha=1e-4)
    LRNSpec(scale=0.0001, beta=0.5, bias=1.0, before=2, after=2)
    >>> lrnorm.conventions.read("caffe", local_size=3, alpha=0.9, norm_region="WITHIN_CHANNEL")
    LRNSpec(scale=0.1, beta=0.75, bias=1.0, before=(1, 1), after=(1, 1))
    """
    key, row = row_of(name)
    given = _checked(key, row, words)
    axes = row.box.axes(given) if row.box else 1
    ends = _ends(key, row, given, axes)
    size, alpha, beta, bias = (given[word] for word in row.words)
    divides = given.get(row.divides_if, row.divides)
    fixed = fixed_bias(row, axes)
    return LRNSpec(
        _quotient(alpha, _width(row, size, axes) if divides else 1),
        beta,
        bias if fixed is None else fixed,
        tuple(before for before, _ in ends),
        tuple(after for _, after in ends),
    )


def write(name: str, spec: LRNSpec, /) -> dict[str, Any]:
    """The words of a framework that mean this: `read(name, **write(name, spec)) == spec`.

        alpha = scale * width, where the framework divides by the width; else alpha = scale

    The alpha given is one that divided by the width gives `scale` to the bit. Where the width is
    no power of two, about one scale in eight has none (0.1 is not a / 3 for any float64 a): then
    alpha is the nearest, and `read` gives a scale that is one unit in the last place off.

    Errors: ConventionError (a ValueError) where the framework cannot say it. Its `.reason` tells
    why, and `.nearest` holds words that the framework takes and that come near: the window nearest,
    with the same scale. ParameterError (a ValueError) for an unknown name, KindError (a TypeError)
    for what is not an LRNSpec.

    Source: `describe(name).source`.

    >>> import lrnorm
    >>> spec = lrnorm.LRNSpec(scale=2e-05, beta=0.75, bias=2.0, before=2, after=2)
    >>> lrnorm.conventions.write("tensorflow", spec)
    {'depth_radius': 2, 'alpha': 2e-05, 'beta': 0.75, 'bias': 2.0}
    >>> lrnorm.conventions.write("torch", spec)
    {'size': 5, 'alpha': 0.0001, 'beta': 0.75, 'k': 2.0}
    """
    key, row = row_of(name)
    if not isinstance(spec, LRNSpec):
        raise KindError("write", "takes an LRNSpec", value=spec)
    reasons: list[str] = []
    axes, switches = _axes(key, row, spec, reasons)
    sizes = _sizes(key, row, spec, axes, reasons)
    bias, fixed = spec.bias, fixed_bias(row, axes)
    if fixed is not None and bias != fixed:
        reasons.append(f"{key} ignores {row.words[3]}: it is always {fixed:g}, not {bias}")
        bias = fixed
    size, divides, alpha = _alpha(row, spec.scale, sizes, axes)
    if math.isinf(alpha):
        reasons.append(f"{row.words[1]} = {spec.scale!r} · {_width(row, size, axes)} is infinite")
        alpha = math.copysign(1.7976931348623157e308, alpha)
    said = dict(zip(row.words, (size, alpha, spec.beta, bias), strict=True))
    for word in row.limits:
        said[word] = _within(key, row, word, said[word], reasons)
    said |= {word: switch.default for word, switch in row.switches.items() if switch.written}
    said |= {word: value for word, value in switches.items() if value != row.switches[word].default}
    if row.divides_if:
        said[row.divides_if] = divides
    if reasons:
        way_out = f". {row.way_out.format(spec=spec)}" if row.way_out else ""
        raise ConventionError("; ".join(reasons) + way_out, said)
    return said


def convert(source: str, target: str, /, **words: Any) -> dict[str, Any]:
    """The words of `target` for what these words of `source` mean: write(target, read(source, …)).

        y[c] = x[c] * D[c]**-beta is the same function in both

    The frameworks may keep the channels on different axes: `describe(name).axis` says where.

    Errors: those of `read` and `write`. Source: `describe(name).source`.

    >>> import lrnorm
    >>> lrnorm.conventions.convert("caffe", "tf", local_size=5, alpha=1e-4)
    {'depth_radius': 2, 'alpha': 2e-05, 'beta': 0.75, 'bias': 1.0}
    """
    return write(target, read(source, **words))


def call(name: str, spec: LRNSpec, /) -> str:
    """The line to paste that computes this in a framework, in the framework's own language.

        y[c] = x[c] * D[c]**-beta with the parameters of write(name, spec)

    Errors: those of `write`. Source: `describe(name).source`.

    >>> import lrnorm
    >>> lrnorm.conventions.call("torch", lrnorm.LRNSpec(2e-5, 0.75, 1, 2, 2))
    'torch.nn.LocalResponseNorm(size=5, alpha=0.0001, beta=0.75, k=1.0)'
    """
    row, words = row_of(name)[1], write(name, spec)
    unsaid = {word: switch.default for word, switch in row.switches.items()}
    spelled = {word: row.spell(value) for word, value in (unsaid | words).items()}
    template = row.box.call if row.box and spec.axes > 1 else ""
    return Template(template or row.call).substitute(spelled)


def layer_arguments(name: str, words: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a layer that computes this."""
    return write("lrnorm", read(name, **words))


def _checked(key: str, row: Row, words: Mapping[str, Any]) -> dict[str, Any]:
    """Every word of the row with its value, given or the default, and of the right kind."""
    known = {folded(word): word for word in (*row.words, *row.switches)}
    spelled = known | {folded(other): word for other, word in row.spellings.items()}
    given: dict[str, Any] = {}
    for word, value in _unpacked(row, words).items():
        ours = spelled.get(folded(word))
        if ours is None:
            way_out = f"It takes {', '.join(known.values())}."
            raise KindError(key, f"has no word {word!r}", value=value, got="", way_out=way_out)
        if ours in given:
            raise KindError(key, f"got {ours} twice, the second time as {word!r}")
        given[ours] = value
    for word, default in zip(row.words, row.defaults, strict=True):
        if given.setdefault(word, default) is None:
            raise KindError(key, f"needs {word}, which has no default")
    row.measure.check(row.words[0], given[row.words[0]])
    for word in row.words[1:]:
        given[word] = real_number(word, given[word])
    for word, switch in row.switches.items():
        switch.check(word, given.setdefault(word, switch.default))
    return given


def _unpacked(row: Row, words: Mapping[str, Any]) -> dict[str, Any]:
    """The words, and those that one of them holds as a list."""
    if row.packed is None:
        return dict(words)
    packed, names = row.packed
    loose: dict[str, Any] = {}
    unpacked: dict[str, Any] = {}
    for word, value in words.items():
        if folded(word) != folded(packed):
            loose[word] = value
        elif isinstance(value, (list, tuple)) and len(value) == len(names):
            unpacked = dict(zip(names, value, strict=True))
        else:
            raise ParameterError(packed, f"must be [{' '.join(names)}]", value=value)
    held = {folded(name) for name in unpacked}
    for word in loose:
        if folded(word) in held:
            raise KindError(packed, f"holds {word} too", got="", way_out="Give it once.")
    return unpacked | loose


def fixed_bias(row: Row, axes: int) -> float | None:
    """The bias that a framework fixes over a box; None where it can be given."""
    return row.box.fixed_bias if row.box and axes > 1 else None


def _width(row: Row, size: Any, axes: int) -> int:
    """What alpha is divided by, where it is: over a box the product of the widths."""
    return math.prod(map(row.measure.width, row.measure.of_axes(size, axes)))


def _ends(key: str, row: Row, given: dict[str, Any], axes: int) -> list[Ends]:
    """(before, after) along each axis, of these words; a ConventionError for what the framework
    refuses."""
    reasons: list[str] = []
    nearest = dict(given)
    word = row.words[0]
    size = given[word]
    each = row.measure.of_axes(size, axes)
    if len(each) != axes:
        raise ParameterError(word, f"must hold a window for each of the {axes} axes", value=size)
    if len(_allowed(row, each)) < axes:
        reasons.append(f"{key}: {_window_rule(row)}, got {size!r}")
        width = row.measure.width(size)
        nearest[word] = _nearest(row, width // 2, width // 2)
    for limited in row.limits:
        nearest[limited] = _within(key, row, limited, given[limited], reasons)
    ends = [found for one in each if (found := row.measure.ends(one)) is not None]
    if reasons:
        raise ConventionError("; ".join(reasons), nearest)
    return ends


def _window_rule(row: Row) -> str:
    text = row.measure.text.format(n=row.words[0])
    return text + (f", and at most {row.largest}" if row.largest else "")


def _allowed(row: Row, sizes: Iterable[Any]) -> list[Any]:
    """Those that the framework takes as a number for the window."""
    return [
        size
        for size in sizes
        if row.measure.width(size) >= row.measure.narrowest
        if row.largest is None or size <= row.largest
        if row.measure.ends(size) is not None
    ]


def _within(key: str, row: Row, word: str, value: float, reasons: list[str]) -> float:
    limit = row.limits[word]
    nearest = limit.nearest(value)
    if nearest != value:
        reasons.append(f"{key} takes {limit.text(word)}, got {value!r}")
    return nearest


def _axes(key: str, row: Row, spec: LRNSpec, reasons: list[str]) -> tuple[int, Mapping[str, Any]]:
    """Over how many axes the words will sum, those of the spec where the framework can, and the
    switches that say so."""
    if row.box is None:
        if spec.axes > 1:
            reasons.append(
                f"{key} sums along the channels alone, not over a box of {spec.axes} axes"
            )
        return 1, {}
    switches = row.box.switches(spec.axes)
    if switches is not None:
        return spec.axes, switches
    along = "along one axis" if spec.axes == 1 else f"over {spec.axes} axes"
    reasons.append(f"{key} sums over {row.box.text}, not {along}")
    return row.box.axes({}), {}


def _sizes(key: str, row: Row, spec: LRNSpec, axes: int, reasons: list[str]) -> list[Any]:
    """The numbers for the window that give that of the spec, or else the one that comes nearest."""
    before, after = ends_along(spec, (WHOLE_AXIS + 1,) * spec.axes)
    every = list(zip(before, after, strict=True))
    open_ended = spec.width is None
    if spec.axes == axes > 1 and row.measure.together is not None and not open_ended:
        size = row.measure.together(every)
        if size is not None and every == [*map(row.measure.ends, row.measure.of_axes(size, axes))]:
            return [size]
    if len(set(every)) > 1:
        reasons.append(
            f"{key} has no box of before={before}, after={after}: {_window_rule(row)}"
            + ("" if row.measure.together else ", the same along each axis")
        )
        return [_nearest(row, *max(every, key=sum))]
    ends = every[0]
    if spec.axes == 1 and axes > 1:
        return [_nearest(row, *ends)]
    if open_ended:
        reasons.append(
            f"{key} cannot say a window that reaches to the end of the axis: for N channels put "
            f"N - 1 for None (the nearest reaches at most {WHOLE_AXIS})"
        )
    sizes = [n for n in _allowed(row, row.measure.say(*ends)) if row.measure.ends(n) == ends]
    if sizes:
        return sizes
    if not open_ended:
        reasons.append(
            f"{key} has no window of before={ends[0]}, after={ends[1]}: {_window_rule(row)}"
        )
    return [_nearest(row, *ends)]


def _nearest(row: Row, before: int, after: int) -> Any:
    """The number whose window differs least from this one; of several the one of nearest width,
    and of two of those the wider."""

    def distance(size: Any) -> tuple[int, int, int]:
        b, a = row.measure.ends(size) or (0, 0)
        return abs(b - before) + abs(a - after), abs(a + b - before - after), -(a + b)

    largest = [] if row.largest is None else [row.largest, row.largest - 1]
    return min(_allowed(row, [*row.measure.near(before, after), *largest]), key=distance)


def _quotient(alpha: float, divisor: int) -> float:
    try:
        return alpha / divisor
    except OverflowError:  # wider than any float: alpha is spread over it to nothing
        return 0.0


def _alpha(row: Row, scale: float, sizes: list[Any], axes: int) -> tuple[Any, bool, float]:
    """(number for the window, whether it divides, alpha): the first that gives the scale to the
    bit, or else the first."""
    choices = [
        (size, divides, _numerator(scale, _width(row, size, axes) if divides else 1))
        for divides in ((True, False) if row.divides_if else (row.divides,))
        for size in sizes
    ]
    for size, divides, alpha in choices:
        if _quotient(alpha, _width(row, size, axes) if divides else 1) == scale:
            return size, divides, alpha
    return choices[0]


def _numerator(scale: float, divisor: int) -> float:
    """The number that divided by `divisor` comes nearest to `scale`, the shortest to write of
    several. There are fewer numbers than quotients where the leading digits of the number are
    small, so that not every scale can be met."""
    try:
        product = float(Fraction(scale) * divisor)
    except OverflowError:
        return math.copysign(math.inf, scale)
    around = (math.nextafter(product, -math.inf), product, math.nextafter(product, math.inf))

    def distance(alpha: float) -> tuple[Fraction, int]:
        return abs(Fraction(_quotient(alpha, divisor)) - Fraction(scale)), len(repr(alpha))

    return min(filter(math.isfinite, around), key=distance)
