"""The five numbers that define an LRN, and their checks."""

from __future__ import annotations

import functools
import math
import numbers
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from lrnorm._spec.errors import KindError, ParameterError, ShapeError

WINDOW_RULE = "It is a radius: 2 averages over 5 channels."
_NUMBER = "must be a finite real number"


def real_number(name: str, value: Any) -> float:
    """`value` as a finite float; `name` is what errors call it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        framework = type(value).__module__.split(".")[0].removesuffix("lib")
        way_out = (
            f"A tensor or a traced number goes to lrnorm.{framework}.local_response_norm."
            if framework in ("torch", "jax")
            else ""
        )
        raise KindError(name, _NUMBER, value=value, way_out=way_out)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ParameterError(name, _NUMBER, value=value)
    return number


def is_integer(value: Any) -> bool:
    """True for the integers of Python and NumPy; False for booleans and floats."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _end(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if not is_integer(value):
        rule = "must be an integer, or None for the end of the axis"
        raise KindError(name, rule, value=value)
    if value < 0:
        way_out = "It counts channels from the centre."
        raise ParameterError(name, "must be at least 0", value=value, way_out=way_out)
    return operator.index(value)


End = int | None


def _end_or_ends(name: str, value: Any) -> End | tuple[End, ...]:
    """One end, or one for each axis of a box; a box along one axis is a window along it."""
    if not isinstance(value, (tuple, list)):
        return _end(name, value)
    ends = tuple(_end(f"{name}[{i}]", v) for i, v in enumerate(value))
    if not ends:
        raise ParameterError(
            name, "must hold one end for each axis", value=value, way_out="Pass one at least."
        )
    return ends[0] if len(ends) == 1 else ends


@dataclass(frozen=True)
class LRNSpec:
    """The five numbers of a normalization, without any framework's parameter names.

        D[c] = bias + scale * sum(x[j]**2 for j in c-before … c+after)
        y[c] = x[c] * D[c] ** -beta

    Channels beyond either end of the axis count as zero, and `scale` does not change there.
    `before=None` and `after=None` reach to the end of the axis, whatever its length. The windows
    of channel 2 of five:

        before=1, after=1    1 2 3          before=2, after=1       0 1 2 3
        before=0, after=2    2 3 4          before=None, after=0    0 1 2

    Tuples of equal length for `before` and `after` make the window a box along as many axes, in
    the order in which `axis` names them.

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3, with the divisor and the window
    left free.

    Errors: a number that is not finite or a negative end is a ParameterError (a ValueError), any
    other kind of value a KindError (a TypeError).

    >>> spec = LRNSpec(scale=0.2, beta=0.5, bias=1.0, before=2, after=2)
    >>> spec
    LRNSpec(scale=0.2, beta=0.5, bias=1.0, before=2, after=2)
    >>> spec == LRNSpec.from_keywords(alpha=1.0, channel_window_size=2)
    True
    >>> LRNSpec(scale=0.1, beta=0.75, bias=1.0, before=(1, 1), after=(1, 1)).axes
    2
    """

    scale: float
    beta: float
    bias: float
    before: End | tuple[End, ...]
    after: End | tuple[End, ...]

    def __post_init__(self) -> None:
        for name in ("scale", "beta", "bias"):
            object.__setattr__(self, name, real_number(name, getattr(self, name)))
        for name in ("before", "after"):
            object.__setattr__(self, name, _end_or_ends(name, getattr(self, name)))
        before, after = self._every_end()
        if len(before) != len(after):
            raise ParameterError(
                "before and after",
                "must hold as many ends as each other",
                got=f"{len(before)} and {len(after)}",
                way_out="Give one of each for every axis of the box.",
            )

    def _every_end(self) -> tuple[tuple[End, ...], tuple[End, ...]]:
        before, after = (
            ends if isinstance(ends, tuple) else (ends,) for ends in (self.before, self.after)
        )
        return before, after

    @property
    def axes(self) -> int:
        """How many axes the window has: 1, or those of a box."""
        return len(self.before) if isinstance(self.before, tuple) else 1

    @property
    def width(self) -> int | None:
        """How many values a window holds: the product of the widths along its axes. None where it
        depends on the length of an axis."""
        width = 1
        for before, after in zip(*self._every_end(), strict=True):
            if before is None or after is None:
                return None
            width *= before + after + 1
        return width

    @functools.cached_property
    def numbers(self) -> tuple[float, float, float, int, int] | None:
        """All five, where they do not depend on the axis: what most calls hand to the core."""
        before, after = self.before, self.after
        if not isinstance(before, int) or not isinstance(after, int) or max(before, after) >= 2**31:
            return None
        return self.scale, self.beta, self.bias, before, after

    @classmethod
    def from_keywords(
        cls,
        alpha: float = 1.0,
        beta: float = 0.5,
        bias: float = 1.0,
        channel_window_size: WindowSize = 2,
        axes: int = 1,
    ) -> Self:
        """The spec of lrnorm's own keywords: scale = alpha / (before + after + 1).

        `channel_window_size` is a radius, or a pair (before, after) for an asymmetric window. For a
        box along several `axes` it holds for each of them, or is a list with one for each, and
        alpha is divided by the product of the widths.

        >>> LRNSpec.from_keywords(alpha=1.0, channel_window_size=(2, 1))
        LRNSpec(scale=0.25, beta=0.5, bias=1.0, before=2, after=1)
        >>> LRNSpec.from_keywords(alpha=9.0, channel_window_size=[1, (2, 0)], axes=2)
        LRNSpec(scale=1.0, beta=0.5, bias=1.0, before=(1, 2), after=(1, 0))
        """
        ends = _ends_of_axes(channel_window_size, axes)
        width = math.prod(before + after + 1 for before, after in ends)
        try:
            scale = real_number("alpha", alpha) / width
        except OverflowError:  # a window wider than any float: alpha is spread over it to nothing
            scale = 0.0
        return cls(
            scale,
            real_number("beta", beta),
            real_number("bias", bias),
            tuple(before for before, _ in ends),
            tuple(after for _, after in ends),
        )

    @classmethod
    def divisive(cls, sigma: float) -> Self:
        """Divisive normalization with the whole axis as pool: y = x / sqrt(sigma² + Σ x²).

        >>> LRNSpec.divisive(0.5)
        LRNSpec(scale=1.0, beta=0.5, bias=0.25, before=None, after=None)
        """
        sigma = real_number("sigma", sigma)
        if sigma < 0:
            way_out = f"The formula uses its square: pass {-sigma!r}."
            raise ParameterError("sigma", "must be at least 0", value=sigma, way_out=way_out)
        if math.isinf(sigma * sigma):
            way_out = "Pass a number up to 1.3e154."
            raise ParameterError("sigma", "must have a finite square", value=sigma, way_out=way_out)
        return cls(1.0, 0.5, sigma * sigma, None, None)

    def ends(self, channels: int) -> tuple[int, int]:
        """(before, after) on an axis of `channels` entries.

        >>> LRNSpec(1, 0.5, 1, None, 3).ends(10)
        (9, 3)
        """
        (before,), (after,) = ends_along(self, (channels,))
        return before, after

    def isclose(self, other: LRNSpec, *, rel_tol: float = 1e-6) -> bool:
        """True where the windows are equal and the numbers agree to `rel_tol`, for example after
        a conversion to a framework that keeps them in float32.

        >>> LRNSpec(2e-5, 0.75, 1, 2, 2).isclose(LRNSpec(2.0000001e-5, 0.75, 1, 2, 2))
        True
        """
        if not isinstance(other, LRNSpec):
            way_out = "Write LRNSpec(scale, beta, bias, before, after)."
            raise KindError("isclose", "compares with an LRNSpec", value=other, way_out=way_out)
        return (self.before, self.after) == (other.before, other.after) and all(
            math.isclose(getattr(self, name), getattr(other, name), rel_tol=rel_tol)
            for name in ("scale", "beta", "bias")
        )


LRNSpec.__module__ = "lrnorm"  # as users import it


def ends_along(spec: LRNSpec, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ends before and after along each axis of a window, given the lengths of these axes.

    >>> ends_along(LRNSpec(1, 0.5, 1, (None, 2), (3, 2)), (10, 20))
    ((9, 2), (3, 2))
    """
    before, after = spec._every_end()
    if len(before) != len(sizes):
        raise ShapeError(
            "axis",
            f"must name as many axes as the window of spec has, {len(before)}",
            got=f"{len(sizes)} for {spec!r}",
            way_out="Pass another axis, or tuples of that length for before and after.",
        )

    def known(ends: tuple[End, ...]) -> tuple[int, ...]:
        return tuple(
            max(size - 1, 0) if end is None else end for end, size in zip(ends, sizes, strict=True)
        )

    return known(before), known(after)


# What channel_window_size may be: a radius, a pair, or for a box a list of them.
WindowSize = int | tuple[int, int] | list[int | tuple[int, int]]


def _ends_of_axes(channel_window_size: Any, axes: int) -> list[tuple[int, int]]:
    """(before, after) along each axis of a box."""
    if isinstance(channel_window_size, list) and (axes > 1 or len(channel_window_size) == 1):
        if len(channel_window_size) != axes:
            raise ShapeError(
                "channel_window_size",
                f"must hold one radius or pair for each of the {axes} axes",
                value=channel_window_size,
                way_out="A single radius or pair holds for each axis.",
            )
        return [window_ends(size) for size in channel_window_size]
    return [window_ends(channel_window_size)] * axes


def window_ends(channel_window_size: Any) -> tuple[int, int]:
    """(before, after) of a radius or a pair; the only check of `channel_window_size`."""
    value = channel_window_size
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ParameterError(
                "channel_window_size",
                "must be a positive integer or a pair (before, after)",
                value=value,
                got=f"{len(value)} numbers: {value!r}",
                way_out=WINDOW_RULE,
            )
        if any(isinstance(one, (tuple, list)) for one in value):
            raise KindError(
                "channel_window_size",
                "must be a positive integer or a pair (before, after) for one axis",
                value=value,
                way_out="A list of them belongs to a box, one for each axis: "
                "lrnorm.local_response_norm(x, axis=(2, 3), channel_window_size=[1, (2, 0)]).",
            )
        before, after = (_end(f"channel_window_size[{i}]", v) for i, v in enumerate(value))
        if before is None or after is None:
            raise KindError(
                "channel_window_size",
                "must hold integers",
                value=value,
                way_out="For a window that reaches to the end of the axis use "
                "spec=LRNSpec(…, before=None, after=None).",
            )
        if before == after == 0:
            raise ParameterError(
                "channel_window_size",
                "must not be (0, 0): a window of one channel averages over none of its neighbours",
                value=value,
                got="",
                way_out="Use spec=LRNSpec(…, before=0, after=0) to say just that.",
            )
        return before, after
    if is_integer(value) and value > 0:
        return operator.index(value), operator.index(value)
    raise (ParameterError if isinstance(value, numbers.Real) else KindError)(
        "channel_window_size", "must be a positive integer", value=value, way_out=WINDOW_RULE
    )


# What axis may be: an int, several for a box, or None for the channels.
Axis = int | tuple[int, ...] | None

_CHANNELS_THIRD_FROM_LAST = {3: (0,), 4: (1,)}


def resolve_axis(axis: Axis, rank: int) -> int:
    """The channel axis as a number from 0: given, or the channels of (…, channels, h, w)."""
    resolved = resolve_axes(axis, rank)
    if len(resolved) > 1:
        raise KindError("axis", "must be one integer here", value=axis)
    return resolved[0]


def resolve_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    """The axes of a window as numbers from 0: given, one or several of them, or the channels of
    (…, channels, height, width)."""
    if axis is None and rank in _CHANNELS_THIRD_FROM_LAST:
        return _CHANNELS_THIRD_FROM_LAST[rank]
    if type(axis) is int and -rank <= axis < rank:
        return (axis % rank,)
    if not rank:
        way_out = "Pass for example x[None] with axis=0."
        rule = "of rank 0 has no axis for the channels"
        raise ShapeError("an array", rule, value=0, got="", way_out=way_out)
    if axis is None:
        raise ShapeError(
            "axis",
            "can be left out for (channels, height, width) and (batch, channels, height, width)",
            value=rank,
            got=f"an array of rank {rank}",
            way_out="Pass the axis of the channels, for example axis=-1.",
        )
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    resolved = tuple(_one_axis(one, axis, rank) for one in axes)
    if not resolved or len(set(resolved)) < len(resolved):
        raise ShapeError(
            "axis",
            "must be an integer or a tuple of different ones",
            value=axis,
            way_out="For a box over the last two axes pass axis=(-2, -1).",
        )
    return resolved


def _one_axis(axis: Any, given: Any, rank: int) -> int:
    if type(axis) is not int and not is_integer(axis):
        several = " or a tuple of integers" if isinstance(given, (tuple, list)) else ""
        rule = f"must be an integer{several}"
        raise KindError("axis", rule, value=given, way_out="Write axis=-1.")
    if not -rank <= axis < rank:
        rule = f"must lie in {-rank} … {rank - 1} for an array of rank {rank}"
        raise ShapeError("axis", rule, value=given, way_out="Count from 0, or from -1 backwards.")
    return int(axis) % rank


def count_axes(axis: Any) -> int:
    """How many axes `axis` names, checked or not."""
    return max(len(axis), 1) if isinstance(axis, (tuple, list)) else 1


class Window(NamedTuple):
    """Where a window lies in an array: `before` … `after` around each index of each of `axes`."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    axes: tuple[int, ...]

    def mirrored(self) -> Self:
        """The indices whose windows hold an index: before and after exchange their places."""
        return type(self)(self.after, self.before, self.axes)

    def within(self, shape: Sequence[int]) -> Self:
        """The window with no end longer than its axis, which gives the same sums: (19,) of
        before in 5 channels is (4,)."""
        last = [max(shape[axis] - 1, 0) for axis in self.axes]
        before, after = (tuple(map(min, ends, last)) for ends in (self.before, self.after))
        return type(self)(before, after, self.axes)


def window_in(shape: Sequence[int], spec: LRNSpec, axis: Axis) -> Window:
    """The window of a spec in an array of that shape, along one or several axes.

    >>> window_in((4, 7, 5, 5), LRNSpec(1.0, 0.5, 1.0, (1, None), (1, 0)), (2, -1))
    Window(before=(1, 4), after=(1, 0), axes=(2, 3))
    """
    axes = resolve_axes(axis, len(shape))
    before, after = ends_along(spec, [shape[a] for a in axes])
    return Window(_bounded(before), _bounded(after), axes)


_WIDEST = 1 << 60  # in 64 bits, and wider than any axis


def _bounded(ends: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(end, _WIDEST) for end in ends)


@functools.lru_cache(maxsize=256, typed=True)
def _cached(alpha: Any, beta: Any, bias: Any, channel_window_size: Any, *ends: Any) -> LRNSpec:
    return LRNSpec.from_keywords(alpha, beta, bias, channel_window_size)


@functools.lru_cache(maxsize=256, typed=True)
def _cached_box(axes: int, alpha: Any, beta: Any, bias: Any, kind: Any, *sizes: Any) -> LRNSpec:
    if any(isinstance(each, (tuple, list)) for each in sizes):
        raise TypeError("the numbers of a pair are not told apart by their types")
    # A list holds a window for each axis, a tuple is one pair for all of them.
    return LRNSpec.from_keywords(alpha, beta, bias, sizes[0] if kind is None else kind(sizes), axes)


def spec_from_keywords(
    alpha: Any, beta: Any, bias: Any, channel_window_size: Any, axis: Any = None
) -> LRNSpec:
    """LRNSpec.from_keywords for that axis, with a cache: a call with the same numbers costs a
    look-up."""
    if axis is not None and isinstance(axis, (tuple, list)):
        axes = count_axes(axis)
        try:
            if isinstance(channel_window_size, (tuple, list)):
                kind = type(channel_window_size)
                return _cached_box(axes, alpha, beta, bias, kind, *channel_window_size)
            return _cached_box(axes, alpha, beta, bias, None, channel_window_size)
        except TypeError:
            return LRNSpec.from_keywords(alpha, beta, bias, channel_window_size, axes)
    try:
        if not isinstance(channel_window_size, tuple):
            return _cached(alpha, beta, bias, channel_window_size)
        # typed=True distinguishes 1 from 1.0 in a pair only if its items are arguments themselves.
        return _cached(alpha, beta, bias, channel_window_size, *channel_window_size)
    except TypeError:  # not hashable, or refused with a KindError
        return LRNSpec.from_keywords(alpha, beta, bias, channel_window_size)
