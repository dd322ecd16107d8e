"""What must hold before any fit: the same twice, odd, and no value from another place."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrnorm._identify.subject import Array, Subject
from lrnorm._spec.errors import IdentificationError

MAGNITUDES = {"float16": (1e-2, 1.0, 60.0), "float64": (1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9)}
USUAL = (1e-6, 1e-3, 1.0, 1e3, 1e6)


def check(subject: Subject) -> None:
    """Runs the callable on random values of several magnitudes, as an LRN of any numbers shows its
    effect at one of them."""
    rng = np.random.default_rng(1)
    tolerance = 16 * subject.precision.eps
    for i, size in enumerate(MAGNITUDES.get(subject.dtype, USUAL)):
        x = subject.precision.rounded(
            rng.standard_normal((subject.columns, subject.channels)) * size
        )
        y = subject.full(x)
        if i == 0:
            again = subject.full(x)
            if not np.array_equal(y, again, equal_nan=True):
                raise IdentificationError(
                    "the same input gives other results when it is run again", "random"
                )
        tolerance = max(tolerance, 16 * subject.precision.eps)
        if not same(subject.full(-x), -y, tolerance).all():
            raise IdentificationError("f(-x) is not -f(x)", "not_odd")
        _check_columns(subject, x, y, tolerance, rng)


def _check_columns(
    subject: Subject, x: Array, y: Array, tolerance: float, rng: np.random.Generator
) -> None:
    """Changes a random half of the columns and looks at the other half."""
    if subject.columns == 1:
        return
    for _ in range(2):
        changed = rng.random(subject.columns) < 0.5
        changed[rng.integers(subject.columns)] = True
        changed[rng.integers(subject.columns)] = False
        other = x.copy()
        other[changed] = subject.precision.rounded(3 * x[changed][:, ::-1])
        kept = ~changed
        if not same(subject.full(other)[kept], y[kept], tolerance).all():
            raise IdentificationError(
                "a result depends on values at other places than its own (other pixels, or other "
                f"examples: the axes besides {subject.axis})",
                "other_pixels",
                "If its window runs along another axis, pass that as axis=.",
            )


def same(a: Array, b: Array, tolerance: float) -> Any:
    """Where two results are equal within a relative tolerance."""
    with np.errstate(all="ignore"):
        close = np.abs(a - b) <= tolerance * np.abs(b)
    return close | (a == b) | (np.isnan(a) & np.isnan(b))
