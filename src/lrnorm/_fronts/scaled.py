"""Numbers in the operations of the array API standard: those that stay in the range of their type,
and those that carry an exponent of their own. Both have the same operations, for one formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Plain:
    """Numbers in the range of their type, cut and padded along `axis`."""

    def __init__(self, xp: Any, value: Any, axis: int) -> None:
        self.xp, self.value, self.axis = xp, value, axis

    def along(self, axis: int) -> Plain:
        return Plain(self.xp, self.value, axis)

    def _new(self, value: Any) -> Plain:
        return Plain(self.xp, value, self.axis)

    def number(self, value: float) -> Plain:
        return self._new(value)

    def __mul__(self, other: Plain) -> Plain:
        return self._new(self.value * other.value)

    def __add__(self, other: Plain) -> Plain:
        return self._new(self.value + other.value)

    def __truediv__(self, other: Plain) -> Plain:
        return self._new(self.value / other.value)

    def part(self, start: int, stop: int) -> Plain:
        return self._new(_part(self.value, self.axis, start, stop))

    def padded(self, before: int, after: int) -> Plain:
        return self._new(_padded(self.xp, self.value, self.axis, before, after, 0.0))

    def halves_of_power(self, exponent: float) -> tuple[Plain, Plain]:
        """Two factors of self**exponent: their product may leave the range where that of three
        does not."""
        xp, value = self.xp, self.value
        half = xp.pow(xp.abs(value), xp.full_like(value, exponent / 2))
        return self._new(half), self._new(_signed(xp, half, value, exponent))

    def log(self) -> Any:
        return self.xp.log(self.value)

    def plain(self) -> Any:
        return self.value


# Bits of exponent that one step of a Scaled number stands for: half of what the type has, so that
# no product of two mantissas leaves its range.
_STEP = {"float32": 64, "float64": 512}
# The steps of a zero: fewer than any number has, so that it never decides the scale of a sum.
_LOWEST = -64.0


class Scaled:
    """Numbers mantissa * 2**(step * steps), the mantissa between 2**(-step/2) and 2**(step/2):
    as numbers of the type, and without end on both sides. Scaling by powers of two is exact, so
    that numbers whose steps are 0 have the very bits that Plain gives."""

    def __init__(self, xp: Any, mantissa: Any, steps: Any, axis: int, step: int) -> None:
        self.xp, self.mantissa, self.steps, self.axis, self.step = xp, mantissa, steps, axis, step

    @classmethod
    def of(cls, xp: Any, value: Any, axis: int) -> Scaled:
        step = _STEP["float64" if value.dtype == xp.float64 else "float32"]
        whole = cls(xp, value, xp.zeros_like(value), axis, step)
        return whole._settled()._settled()  # the smallest subnormal is two steps away

    def along(self, axis: int) -> Scaled:
        return Scaled(self.xp, self.mantissa, self.steps, axis, self.step)

    def _new(self, mantissa: Any, steps: Any) -> Scaled:
        return Scaled(self.xp, mantissa, steps, self.axis, self.step)

    def _settled(self) -> Scaled:
        """The same numbers, their mantissas a step nearer to 1 where they are too large or too
        small."""
        xp, value, steps = self.xp, self.mantissa, self.steps
        size = xp.abs(value)
        large, small = size > 2.0 ** (self.step // 2), size < 2.0 ** -(self.step // 2)
        value = xp.where(large, value * 2.0**-self.step, value)
        value = xp.where(small, value * 2.0**self.step, value)
        steps = steps + xp.astype(large, steps.dtype) - xp.astype(small, steps.dtype)
        return self._new(value, xp.where(value == 0, xp.full_like(steps, _LOWEST), steps))

    def number(self, value: float) -> Scaled:
        steps = 0.0 if value else _LOWEST
        while abs(value) > 2.0 ** (self.step // 2):
            value, steps = value * 2.0**-self.step, steps + 1
        while 0 < abs(value) < 2.0 ** -(self.step // 2):
            value, steps = value * 2.0**self.step, steps - 1
        return self._new(value, steps)

    def __mul__(self, other: Scaled) -> Scaled:
        return self._new(self.mantissa * other.mantissa, self.steps + other.steps)._settled()

    def __truediv__(self, other: Scaled) -> Scaled:
        return self._new(self.mantissa / other.mantissa, self.steps - other.steps)._settled()

    def __add__(self, other: Scaled) -> Scaled:
        xp = self.xp
        ones = xp.ones_like(self.mantissa)
        steps = xp.maximum(self.steps, ones * other.steps)

        def lowered(v: Scaled) -> Any:
            behind, mantissa = steps - v.steps, ones * v.mantissa
            mantissa = xp.where(behind > 0, mantissa * 2.0**-self.step, mantissa)
            # What lies two steps behind does not count, however it is scaled; nan and inf do.
            return xp.where(behind > 1, mantissa * 2.0 ** -(self.step // 2), mantissa)

        return self._new(lowered(self) + lowered(other), steps)._settled()

    def part(self, start: int, stop: int) -> Scaled:
        return self._new(*(_part(v, self.axis, start, stop) for v in (self.mantissa, self.steps)))

    def padded(self, before: int, after: int) -> Scaled:
        how = self.axis, before, after
        return self._new(
            _padded(self.xp, self.mantissa, *how, 0.0), _padded(self.xp, self.steps, *how, _LOWEST)
        )

    def _shifted(self, value: Any, bits: int, times: int) -> Any:
        """value * 2**(bits * steps), the steps limited to -times … times."""
        for n in range(times):
            value = self.xp.where(self.steps > n, value * 2.0**bits, value)
            value = self.xp.where(self.steps < -n, value * 2.0**-bits, value)
        return value

    def _parts(self, exponent: float) -> tuple[float, ...]:
        """The exponent as a sum of numbers of the type: one rounded to float32 would cost dozens of
        units in the last place of the power of a large number."""
        if self.step == _STEP["float64"]:
            return (exponent,)
        rounded = float(np.float32(exponent))
        return rounded, exponent - rounded

    def halves_of_power(self, exponent: float) -> tuple[Scaled, Scaled]:
        """Two factors of self**exponent, by the fourth root of self where that alone is in range:
        up to eight steps of a quarter each."""
        xp = self.xp
        size = xp.abs(self.mantissa)
        root = self._shifted(xp.sqrt(xp.sqrt(size)), self.step // 4, 7)
        in_range = self.steps == 0
        base = xp.where(in_range, size, root)
        half = xp.ones_like(base)
        for part in self._parts(exponent):
            parts = xp.full_like(base, part / 2), xp.full_like(base, part * 2)
            half = half * xp.pow(base, xp.where(in_range, *parts))
        # Where the power itself leaves the range, a number so large that only a factor of 0 keeps
        # the product from leaving it too.
        beyond = xp.isinf(half) & xp.isfinite(size) & (size != 0)
        half = Scaled.of(xp, xp.where(beyond, xp.ones_like(half), half), self.axis)
        half.steps = half.steps + 8 * xp.astype(beyond, half.steps.dtype)
        signed = _signed(xp, half.mantissa, self.mantissa, exponent)
        return half, self._new(signed, half.steps)

    def log(self) -> Any:
        xp = self.xp
        return xp.log(self.mantissa) + self.steps * (self.step * math.log(2))

    def plain(self) -> Any:
        return self._shifted(self.mantissa, self.step, 4)


Numbers = Any  # Plain or Scaled: the same operations


def _part(value: Any, axis: int, start: int, stop: int) -> Any:
    return value[(slice(None),) * axis + (slice(start, stop), ...)]


def _padded(xp: Any, value: Any, axis: int, before: int, after: int, fill: float) -> Any:
    def border(width: int) -> Any:  # no wider than the array itself
        return xp.full_like(_part(value, axis, 0, width), fill)

    return xp.concat([border(before), value, border(after)], axis=axis)


def _signed(xp: Any, half: Any, value: Any, exponent: float) -> Any:
    """`half` with the sign that value**exponent has: none but nan where value is negative and the
    exponent is not whole."""
    negative = math.nan if exponent % 1 else 1.0 - 2 * (exponent % 2)
    return half if negative == 1 else xp.where(value < 0, half * negative, half)
