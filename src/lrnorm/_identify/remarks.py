"""What a callable does beyond ordinary numbers: nan, huge and tiny values, one large activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lrnorm._identify import exact
from lrnorm._identify.found import Remark
from lrnorm._identify.single_channel import Estimate
from lrnorm._identify.subject import Array, Subject
from lrnorm._spec.spec import LRNSpec

# Attributes by which modules of several frameworks hold the additive constant.
BIAS_NAMES = ("bias", "k", "knorm", "kappa", "lrnK", "K")


def remarks(
    subject: Subject,
    estimate: Estimate,
    spec: LRNSpec,
    typical: Array,
    tolerance: float,
    max_ulp: float,
) -> Iterator[Remark]:
    """All remarks about a callable that was verified to compute `spec`. `typical` holds ordinary
    columns, as many as one array has."""
    yield from _leaks(subject, spec, typical, tolerance)
    yield from _overflows(subject, spec)
    yield from _running_sum(subject, estimate, spec, typical, tolerance)
    yield from _low_precision(subject, spec, max_ulp)
    yield from _ignores_bias(subject.f, spec)


def _off(y: Array, right: Any, precision: Any) -> Any:
    """Where a result is wrong in its first digits, among those that are ordinary numbers."""
    with np.errstate(all="ignore"):
        shown = (np.abs(right) >= precision.tiny) & (np.abs(right) <= precision.largest)
        return shown & ~(np.abs(y - right) <= 0.01 * np.abs(right))


def _leaks(subject: Subject, spec: LRNSpec, typical: Array, tolerance: float) -> Iterator[Remark]:
    """One nan or inf changes results whose windows do not hold it."""
    calm = subject.full(typical)
    column, channel = subject.columns // 2, subject.channels // 2
    outside = np.ones((subject.columns, subject.channels), dtype=bool)
    outside[column] = ~exact.membership(spec, subject.channels)[:, channel]
    worse = []
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        x = typical.copy()
        x[column, channel] = value
        y = subject.full(x)
        with np.errstate(all="ignore"):
            same = np.abs(y - calm) <= tolerance * np.abs(calm)
        if np.any(outside & ~same):
            worse.append((name, int(np.count_nonzero(outside & ~same))))
    if worse:
        what = " or ".join(name for name, _ in worse)
        yield Remark(
            "leaks_nan",
            f"one {what} changes {worse[0][1]} results whose windows do not hold it",
        )


def _overflows(subject: Subject, spec: LRNSpec) -> Iterator[Remark]:
    """Results are wrong at sizes where the exact ones are ordinary numbers."""
    name = subject.precision.name
    far = {"float16": 4.5, "float64": 160.0}.get(name, 20.0)
    exponents = np.linspace(-far, far, 81 if subject.columns > 1 else 27)
    rng = np.random.default_rng(7)
    x = rng.uniform(0.5, 1.0, (len(exponents), subject.channels)) * 10.0 ** exponents[:, None]
    x = subject.precision.rounded(x)
    off = _off(subject(x), exact.forward(x, spec), subject.precision).any(axis=1)
    big, small = exponents[off & (exponents > 0)], exponents[off & (exponents < 0)]
    said = []
    if len(big):
        said.append(f"inputs of about 1e{big.min():.0f} and more give 0, inf, nan or wrong digits")
    if len(small):
        said.append(
            f"so do inputs of about 1e{small.max():.0f} and less"
            if said
            else f"inputs of about 1e{small.max():.0f} and less give 0, inf or nan"
        )
    if said:
        yield Remark("overflows", "; ".join(said) + ", where the exact result is ordinary")


def _running_sum(
    subject: Subject, estimate: Estimate, spec: LRNSpec, typical: Array, tolerance: float
) -> Iterator[Remark]:
    """One large channel spoils others far away: sums are updated by adding and subtracting."""
    size = float(np.median(np.abs(typical)))
    peak = min(100 * size / np.sqrt(subject.precision.eps), estimate.high / 4)
    x = typical.copy()
    channel = subject.channels // 4
    x[:, channel] = subject.precision.rounded(np.full(subject.columns, peak))
    right = exact.forward(x, spec)
    outside = ~exact.membership(spec, subject.channels)[:, channel]
    with np.errstate(all="ignore"):
        error = np.abs(subject.full(x) - right) / np.abs(right)
    worst = np.max(np.where(np.isnan(error), np.inf, error)[:, outside], initial=0.0)
    if worst > 50 * tolerance:
        yield Remark(
            "running_sum",
            f"one channel of {peak:.0e} spoils channels whose windows do not hold it (relative "
            f"error {worst:.1g}): the sums are updated by addition and subtraction",
        )


def _low_precision(subject: Subject, spec: LRNSpec, max_ulp: float) -> Iterator[Remark]:
    """The dtype of the results, or their distance from the exact ones."""
    precision = subject.precision
    if precision.name != subject.dtype:
        yield Remark("low_precision", f"{subject.dtype} inputs give {precision.name} results")
    elif max_ulp > (1.5 if precision.eps > 1e-4 else 4 * max(4, 3 + 2 * abs(spec.beta))):
        yield Remark(
            "low_precision",
            f"results of ordinary inputs are up to {max_ulp:.3g} ulp of {precision.name} from the "
            "exact ones",
        )


def _ignores_bias(f: Any, spec: LRNSpec) -> Iterator[Remark]:
    """An attribute of the callable says another bias than was measured."""
    for name in BIAS_NAMES:
        try:
            said = float(getattr(f, name, spec.bias))
        except Exception:  # an attribute of another kind, or one that cannot be read
            continue
        if not np.isclose(said, spec.bias, rtol=1e-3) and spec.bias in (1.0, float(int(said))):
            yield Remark("ignores_bias", f"{name} is {said:g}, and the bias measured {spec.bias:g}")
