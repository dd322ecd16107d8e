"""Numbers m * 2**e whose exponent never runs out: squares and powers that leave the range of
their type, while what they end in does not.

Every operation can be differentiated to any order: exponents are constants to it, and enter as
powers of two, which are exact.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from lrnorm._fronts.window_sums import window_sum


class _Format(NamedTuple):
    """How a floating-point type lies in its bits."""

    bits: Any
    digits: int
    bias: int


_FORMATS = {
    "float32": _Format(np.int32, 23, 127),
    "float64": _Format(np.int64, 52, 1023),
}

# An exponent below all others, of a zero that is known to be one.
_LOWEST = -(1 << 20)
_BETA_DIGITS = 11  # of the part of beta whose product with an exponent is exact


class Wide(NamedTuple):
    """m * 2**e."""

    m: Array
    e: Array


def _format(v: Array) -> _Format:
    return _FORMATS[v.dtype.name]


def _exponent(v: Array) -> Array:
    """That of the leading digit; below the smallest normal number, the lowest there is."""
    bits, digits, bias = _format(v)
    pattern = lax.bitcast_convert_type(lax.stop_gradient(v), bits)
    field = lax.shift_right_logical(pattern, bits(digits)) & bits(2 * bias + 1)
    exponent: Array = field.astype(np.int32) - np.int32(bias)
    return exponent


def _power_of_two(e: Array, like: Array) -> Array:
    """2**e, 0 for what is smaller than any normal number."""
    bits, digits, bias = _format(like)
    field = jnp.clip(e + np.int32(bias), 0, 2 * bias).astype(bits)
    return lax.bitcast_convert_type(lax.shift_left(field, bits(digits)), like.dtype)


def _shifted(v: Array, e: Array) -> Array:
    """v * 2**e, rounded once at most, in two steps: one power of two would leave the range."""
    half = e >> 1
    return v * _power_of_two(half, v) * _power_of_two(e - half, v)


def wide(v: Array, lowest: int) -> Wide:
    """v itself, with an exponent not below `lowest`."""
    e = jnp.maximum(_exponent(v), lowest)
    return Wide(_shifted(v, -e), e)


def lowest_exponent(like: Array, *, differentiated: bool) -> int:
    """Half-way to the smallest number the square of a mantissa is still a number. A derivative
    multiplies by the inverse of that power, a second one by its square: there a quarter has to do.
    """
    return -(_format(like).bias // (4 if differentiated else 2) + 1)


def constant(value: float, like: Array) -> Wide:
    """A number in full, however large or small."""
    m, e = math.frexp(value)
    return Wide(jnp.asarray(m, like.dtype), jnp.int32(e if m else _LOWEST))


def settled(a: Wide, lowest: int) -> Wide:
    """a with a mantissa near 1 again, as far as `wide` would make it."""
    m, e = wide(a.m, lowest)
    return Wide(m, a.e + e)


def _normal(a: Wide) -> Wide:
    """a with a mantissa from 1 to 2, except zero and what is not finite."""
    e = _exponent(a.m)
    return Wide(_shifted(a.m, -e), a.e + e)


def number(a: Wide) -> Array:
    """a in its type, as far as that reaches."""
    return _shifted(a.m, a.e)


def times(*factors: Wide) -> Wide:
    """The product."""
    return functools.reduce(lambda a, b: Wide(a.m * b.m, a.e + b.e), factors)


def plus(a: Wide, b: Wide) -> Wide:
    """The sum, at the larger exponent."""
    e = jnp.maximum(a.e, b.e)
    return Wide(
        a.m * _power_of_two(a.e - e, a.m) + b.m * _power_of_two(b.e - e, b.m),
        e,
    )


def over(a: Wide, b: Wide) -> Wide:
    """The quotient."""
    return Wide(a.m / b.m, a.e - b.e)


def log(a: Wide) -> Wide:
    """The natural logarithm."""
    a = _normal(a)
    return Wide(lax.log(a.m) + a.e.astype(a.m.dtype) * math.log(2), jnp.zeros_like(a.e))


def _two_parts(beta: float | Array, like: Array) -> tuple[Any, Any]:
    """beta as a sum, the first with so few digits that its product with an exponent is exact."""
    if isinstance(beta, float):
        m, e = math.frexp(beta)
        first = math.ldexp(round(math.ldexp(m, _BETA_DIGITS)), e - _BETA_DIGITS)
        return first, beta - first
    beta = beta.astype(like.dtype)
    exponent_bits = (_format(like).bias + 1).bit_length()
    leading = lax.stop_gradient(lax.reduce_precision(beta, exponent_bits, _BETA_DIGITS))
    return leading, beta - leading


def inverse_power(a: Wide, beta: float | Array) -> Wide:
    """a**-beta, which is m**-beta * 2**(-beta e), the whole part of that exponent apart."""
    a = _normal(a)
    exponent = a.e.astype(a.m.dtype)
    first, second = _two_parts(beta, a.m)
    whole = lax.stop_gradient(lax.round(-exponent * first))
    rest = (-exponent * first - whole) - exponent * second
    m = jnp.power(a.m, -jnp.asarray(beta, a.m.dtype))
    return Wide(m * lax.exp2(rest), jnp.clip(whole, _LOWEST, -_LOWEST).astype(np.int32))


def sum_over_window(a: Wide, before: int, after: int, axis: int) -> Wide:
    """The sum over c - before … c + after along the axis, what lies outside being zero."""
    edges = [(0, 0, 0)] * a.m.ndim
    edges[axis] = (before, after, 0)
    padded = Wide(
        lax.pad(a.m, np.zeros((), a.m.dtype), edges), lax.pad(a.e, np.int32(_LOWEST), edges)
    )

    def part(of: Wide, start: int, stop: int) -> Wide:
        return Wide(*(lax.slice_in_dim(v, start, stop, axis=axis) for v in of))

    total: Wide = window_sum(padded, a.m.shape[axis], before + after + 1, part, plus)
    return total
