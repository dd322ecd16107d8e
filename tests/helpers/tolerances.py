"""The tolerances of the suites: one table, each with its reason."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Significant digits, and the exponent of the smallest subnormal, of the types of the core.
_TYPES = {
    "float16": (11, -24),
    "bfloat16": (8, -133),
    "float32": (24, -149),
    "float64": (53, -1074),
}


class Tolerance(NamedTuple):
    """`ulp` units in the last place of the result's own type, and `double` of float64."""

    ulp: float
    double: float
    reason: str


TOLERANCES = {
    "oracle": Tolerance(
        0, 40, "plain float64 sums of up to ten terms, and one power that multiplies their error"
    ),
    "forward": Tolerance(4, 40, "promised to 4 while |beta| <= 1/2; the oracle errs beside it"),
    "steep forward": Tolerance(8, 40, "promised to 3 + 2 |beta|, for |beta| up to 2.5"),
    "half": Tolerance(1, 0, "promised to one unit for types of 16 bits"),
    "derivative": Tolerance(8, 40, "promised to 8 of the sum of the magnitudes of the terms"),
    "derivative twice": Tolerance(16, 40, "two derivatives, each with its own errors"),
    "total": Tolerance(0, 40, "a parameter gradient, of the sum of the magnitudes of its terms"),
    "rounded total": Tolerance(
        0, 2**18, "the same for smaller types: powers good to 2**-36, added in float64"
    ),
    "float32 total": Tolerance(
        0, 2**33, "the same added in float32, by a library that is given no wider type"
    ),
    "transposed": Tolerance(0, 400, "two sums of the same hundreds of products, in float64"),
    "difference": Tolerance(0, 2**29, "central differences in float64: half of the digits"),
    "framework": Tolerance(
        100, 0, "what other frameworks compute in float32 without a promise, about 1e-5"
    ),
    "long double": Tolerance(0, 2**-5, "64 bits of mantissa against 53, and a short sum"),
}


def units(size: Any, name: str) -> Any:
    """The distance between neighbours of `size` in the type of that name, as float64."""
    digits, smallest = _TYPES[name]
    _, exponent = np.frexp(np.abs(size))
    exponent = np.where(size == 0, smallest, np.maximum(exponent - digits, smallest))
    return np.ldexp(1.0, exponent)


def for_forward(dtype: np.dtype[Any], beta: float) -> str:
    """The name of the tolerance of a forward result."""
    if dtype.itemsize == 2:
        return "half"
    return "forward" if abs(beta) <= 0.5 else "steep forward"


def assert_close(actual: Any, expected: Any, name: str, size: Any = None, note: Any = "") -> None:
    """Every element is within the tolerance of that name. Errors are measured in units of
    `size`, which is the expected value itself where it is not given."""
    actual, expected = np.asarray(actual), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape, note
    size = np.abs(expected if size is None else size).astype(np.float64)
    tolerance = TOLERANCES[name]
    allowed = tolerance.ulp * units(size, actual.dtype.name) + tolerance.double * units(
        size, "float64"
    )
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    worst = float(np.max(np.where(same, 0, error / allowed), initial=0))
    assert worst <= 1, f"{worst:.3g} times the tolerance {name!r}: {tolerance.reason}. {note}"
