"""The five numbers that define an LRN, and their checks."""

from __future__ import annotations

import functools
import math
import numbers
import operator
from dataclasses import dataclass
from typing import Any, Self

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

    Source: Krizhevsky, Sutskever & Hinton (2012), section 3.3, with the divisor and the window
    left free.

    Errors: a number that is not finite or a negative end is a ParameterError (a ValueError), any
    other kind of value a KindError (a TypeError).

    >>> spec = LRNSpec(scale=0.2, beta=0.5, bias=1.0, before=2, after=2)
    >>> spec
    LRNSpec(scale=0.2, beta=0.5, bias=1.0, before=2, after=2)
    >>> spec == LRNSpec.from_keywords(alpha=1.0, channel_window_size=2)
    True
    """

    scale: float
    beta: float
    bias: float
    before: int | None
    after: int | None

    def __post_init__(self) -> None:
        for name in ("scale", "beta", "bias"):
            object.__setattr__(self, name, real_number(name, getattr(self, name)))
        for name in ("before", "after"):
            object.__setattr__(self, name, _end(name, getattr(self, name)))

    @functools.cached_property
    def numbers(self) -> tuple[float, float, float, int, int] | None:
        """The five numbers as the core takes them; None where they depend on the axis."""
        if self.before is None or self.after is None or max(self.before, self.after) >= 2**31:
            return None
        return self.scale, self.beta, self.bias, self.before, self.after

    @classmethod
    def from_keywords(
        cls,
        alpha: float = 1.0,
        beta: float = 0.5,
        bias: float = 1.0,
        channel_window_size: int | tuple[int, int] = 2,
    ) -> Self:
        """The spec of lrnorm's own keywords: scale = alpha / (before + after + 1).

        `channel_window_size` is a radius, or a pair (before, after) for an asymmetric window.

        >>> LRNSpec.from_keywords(alpha=1.0, channel_window_size=(2, 1))
        LRNSpec(scale=0.25, beta=0.5, bias=1.0, before=2, after=1)
        """
        before, after = window_ends(channel_window_size)
        try:
            scale = real_number("alpha", alpha) / (before + after + 1)
        except OverflowError:  # a window size beyond any float
            scale = 0.0
        return cls(
            scale,
            real_number("beta", beta),
            real_number("bias", bias),
            before,
            after,
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
        last = max(channels - 1, 0)
        return (
            last if self.before is None else self.before,
            last if self.after is None else self.after,
        )

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


_CHANNELS_THIRD_FROM_LAST = {3: 0, 4: 1}


def resolve_axis(axis: Any, rank: int) -> int:
    """The channel axis counted from 0; without one, that of (…, channels, height, width)."""
    if not rank:
        way_out = "Pass for example x[None] with axis=0."
        rule = "of rank 0 has no axis for the channels"
        raise ShapeError("an array", rule, value=0, got="", way_out=way_out)
    if axis is None:
        if rank in _CHANNELS_THIRD_FROM_LAST:
            return _CHANNELS_THIRD_FROM_LAST[rank]
        raise ShapeError(
            "axis",
            "can be left out for (channels, height, width) and (batch, channels, height, width)",
            value=rank,
            got=f"an array of rank {rank}",
            way_out="Pass the axis of the channels, for example axis=-1.",
        )
    if type(axis) is not int and not is_integer(axis):
        if isinstance(axis, tuple):
            way_out = "Windows over several axes are not available yet."
            raise KindError("axis", "must be one integer", value=axis, way_out=way_out)
        raise KindError("axis", "must be an integer", value=axis, way_out="Write axis=-1.")
    if not -rank <= axis < rank:
        rule = f"must lie in {-rank} … {rank - 1} for an array of rank {rank}"
        way_out = "Count from 0, or from -1 backwards."
        raise ShapeError("axis", rule, value=axis, way_out=way_out)
    return int(axis) % rank


@functools.lru_cache(maxsize=256, typed=True)
def _cached(alpha: Any, beta: Any, bias: Any, channel_window_size: Any, *ends: Any) -> LRNSpec:
    return LRNSpec.from_keywords(alpha, beta, bias, channel_window_size)


def spec_from_keywords(alpha: Any, beta: Any, bias: Any, channel_window_size: Any) -> LRNSpec:
    """LRNSpec.from_keywords with a cache: a call with the same numbers costs a look-up."""
    # typed=True distinguishes 1 from 1.0 in a pair only if its items are arguments themselves.
    ends = channel_window_size if isinstance(channel_window_size, tuple) else ()
    try:
        return _cached(alpha, beta, bias, channel_window_size, *ends)
    except TypeError:  # not hashable, or refused with a KindError
        return LRNSpec.from_keywords(alpha, beta, bias, channel_window_size)
