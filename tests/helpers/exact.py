"""The formula in NumPy's long double, for measuring errors in units in the last place.

On x86 a long double has 64 bits and an exponent that holds every square of a float64.
test_exact.py compares it with mpmath at 50 digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lrnorm import LRNSpec
from lrnorm._spec.spec import Window, window_in

Real = np.longdouble


def _sums(terms: Any, window: Window) -> Any:
    for before, after, axis in zip(*window, strict=True):
        terms = np.moveaxis(terms, axis, 0)
        size = len(terms)
        before, after = min(before, size - 1), min(after, size - 1)
        padded = np.zeros((before + size + after, *terms.shape[1:]), Real)
        padded[before : before + size] = terms
        total = np.zeros_like(terms)
        for shift in range(before + after + 1):
            total += padded[shift : shift + size]
        terms = np.moveaxis(total, 0, axis)
    return terms


def _mirrored(window: Window) -> Window:
    return Window(window.after, window.before, window.axes)


def _energy(x: Any, spec: LRNSpec, axis: Any) -> Any:
    window = window_in(x.shape, spec, axis)
    return Real(spec.bias) + Real(spec.scale) * _sums(x * x, window), window


@np.errstate(all="ignore")
def forward(x: Any, spec: LRNSpec, axis: Any = 0) -> Any:
    """Channels on axis 0, or a box along several axes."""
    x = np.asarray(x).astype(Real)
    energy, _ = _energy(x, spec, axis)
    return x * energy ** -Real(spec.beta)


@np.errstate(all="ignore")
def vjp(x: Any, g: Any, spec: LRNSpec, axis: Any = 0) -> tuple[Any, Any]:
    """dx, and the sum of the magnitudes of its terms."""
    x, g = np.asarray(x).astype(Real), np.asarray(g).astype(Real)
    energy, window = _energy(x, spec, axis)
    beta = Real(spec.beta)
    direct = g * energy**-beta
    through = g * x * energy ** (-beta - 1)
    factor = 2 * Real(spec.scale) * beta
    dx = direct - factor * x * _sums(through, _mirrored(window))
    size = np.abs(direct) + abs(factor) * np.abs(x) * _sums(np.abs(through), _mirrored(window))
    return dx, size


@np.errstate(all="ignore")
def jvp(x: Any, t: Any, spec: LRNSpec, axis: Any = 0) -> tuple[Any, Any]:
    """dy, and the sum of the magnitudes of its terms."""
    x, t = np.asarray(x).astype(Real), np.asarray(t).astype(Real)
    energy, window = _energy(x, spec, axis)
    beta = Real(spec.beta)
    direct = t * energy**-beta
    factor = 2 * Real(spec.scale) * beta * x * energy ** (-beta - 1)
    dy = direct - factor * _sums(x * t, window)
    size = np.abs(direct) + np.abs(factor) * _sums(np.abs(x * t), window)
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
