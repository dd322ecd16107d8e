"""The formula in NumPy's long double, for measuring errors in units in the last place.

On x86 a long double has 64 bits and an exponent that holds every square of a float64.
test_exact.py compares it with mpmath at 50 digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lrnorm import LRNSpec

Real = np.longdouble


def _sums(terms: Any, before: int, after: int) -> Any:
    channels = len(terms)
    padded = np.zeros((before + channels + after, *terms.shape[1:]), Real)
    padded[before : before + channels] = terms
    total = np.zeros_like(terms)
    for shift in range(before + after + 1):
        total += padded[shift : shift + channels]
    return total


def _energy(x: Any, spec: LRNSpec) -> Any:
    before, after = (min(end, len(x) - 1) for end in spec.ends(len(x)))
    return Real(spec.bias) + Real(spec.scale) * _sums(x * x, before, after), before, after


@np.errstate(all="ignore")
def forward(x: Any, spec: LRNSpec) -> Any:
    """Channels on axis 0."""
    x = np.asarray(x).astype(Real)
    energy, _, _ = _energy(x, spec)
    return x * energy ** -Real(spec.beta)


@np.errstate(all="ignore")
def vjp(x: Any, g: Any, spec: LRNSpec) -> tuple[Any, Any]:
    """dx, and the sum of the magnitudes of its terms."""
    x, g = np.asarray(x).astype(Real), np.asarray(g).astype(Real)
    energy, before, after = _energy(x, spec)
    beta = Real(spec.beta)
    direct = g * energy**-beta
    through = g * x * energy ** (-beta - 1)
    factor = 2 * Real(spec.scale) * beta
    dx = direct - factor * x * _sums(through, after, before)
    size = np.abs(direct) + abs(factor) * np.abs(x) * _sums(np.abs(through), after, before)
    return dx, size


@np.errstate(all="ignore")
def jvp(x: Any, t: Any, spec: LRNSpec) -> tuple[Any, Any]:
    """dy, and the sum of the magnitudes of its terms."""
    x, t = np.asarray(x).astype(Real), np.asarray(t).astype(Real)
    energy, before, after = _energy(x, spec)
    beta = Real(spec.beta)
    direct = t * energy**-beta
    factor = 2 * Real(spec.scale) * beta * x * energy ** (-beta - 1)
    dy = direct - factor * _sums(x * t, before, after)
    size = np.abs(direct) + np.abs(factor) * _sums(np.abs(x * t), before, after)
    return dy, size


def spacing(y: Any, dtype: Any) -> Any:
    """The distance between neighbours of |y| in dtype, as long doubles."""
    name = np.dtype(dtype).name
    digits, smallest = {
        "float16": (11, -24),
        "bfloat16": (8, -133),
        "float32": (24, -149),
        "float64": (53, -1074),
    }[name]
    _, exponent = np.frexp(np.abs(y))
    exponent = np.where(y == 0, smallest, exponent - digits)
    return np.ldexp(Real(1), np.maximum(exponent, smallest))


def worst_ulp(actual: Any, exact: Any, size: Any = None) -> float:
    """The largest error, in units in the last place of `size` (default: of the exact value).

    What overflows its type has no unit: there the result has to be infinite, of the same sign.
    """
    size = np.abs(exact if size is None else size)
    dtype = actual.dtype
    largest = Real(np.ldexp(Real(2), {"float16": 15, "float64": 1023}.get(dtype.name, 127)))
    inside = size < largest * (1 - Real(2) ** -9)
    errors = np.abs(actual.astype(Real) - exact)[inside] / spacing(size[inside], dtype)
    if np.isnan(errors).any():
        return float("nan")
    return float(errors.max()) if errors.size else 0.0
