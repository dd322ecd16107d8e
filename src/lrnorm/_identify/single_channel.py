"""Estimates scale, beta and bias from a single channel, whose other channels are 0.

y(t) = t · (bias + scale · t²)^-beta     for sizes t over many decades
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lrnorm._identify.subject import Array, Precision, Subject
from lrnorm._spec.errors import IdentificationError

STEEPEST = 50  # a larger beta fits exponentials, which are the limit of ever larger ones

# Relative error beyond which the formula does not fit. |t| in place of t² fits worse than this even
# at beta 0.1.
WORST = 3e-3


@dataclass
class Estimate:
    """The numbers that fit a single channel, and the relative error that remains."""

    scale: float
    beta: float
    bias: float
    noise: float
    low: float = 0.0  # sizes of one channel between which the results are ordinary
    high: float = 0.0

    @property
    def is_constant(self) -> bool:
        """True if the result does not depend on the sum of squares."""
        return self.scale == 0


def ordinary(x: Any, y: Any, precision: Precision) -> Any:
    """Where the result has the sign of x, and it and D^±beta are normal numbers: for a fit."""
    with np.errstate(all="ignore"):
        power = y / x
        good = (power >= 4 * precision.tiny) & (power <= 0.25 / precision.tiny)
        return good & (np.abs(y) >= 4 * precision.tiny) & np.isfinite(y)


def sizes(precision: Precision, count: int) -> Array:
    """Sizes over every decade in which the squares fit the type, or float16 does."""
    low, high = (1e-4, 6e4) if precision.name == "float16" else (1e-12, 1e12)
    return precision.rounded(np.geomspace(low, high, count))


def measure(subject: Subject) -> Estimate:
    """Send one channel of many sizes, and fit the formula to what comes back."""
    t = sizes(subject.precision, 72 if subject.columns > 1 else 36)
    centre = subject.channels // 2
    columns = np.zeros((len(t), subject.channels))
    columns[:, centre] = t
    answer = subject(columns)
    y = answer[:, centre]
    good = ordinary(t, y, subject.precision)
    others = np.delete(answer, centre, axis=1)
    if np.any((others != 0) & ~np.isnan(others)):
        raise IdentificationError("a channel that is 0 does not stay 0", "not_odd")
    fits: list[tuple[Estimate, Any]] = []
    for low, high in _ranges(subject.precision):
        inside = good & (t >= low) & (t <= high)
        try:
            fits.append((fitted(t, y, inside, subject.precision), inside))
        except IdentificationError as error:
            refusal = error
        if fits and fits[-1][0].noise <= 64 * subject.precision.eps:
            break
    if not fits:
        raise refusal
    estimate, good = min(fits, key=lambda fit: fit[0].noise)
    estimate.low, estimate.high = float(t[good][0]), float(t[good][-1])
    return estimate


def _ranges(precision: Precision) -> list[tuple[float, float]]:
    """Where a callable may compute well: every size; those whose squares are normal numbers; those
    whose sixth powers are, as D**0.75 may be computed as the fourth root of D**3."""
    return [(0.0, np.inf)] + [
        (4 * float(precision.tiny ** (1 / n)), float(precision.largest ** (1 / n)) / 4)
        for n in (2, 6)
    ]


def fitted(t: Array, y: Array, good: npt.NDArray[np.bool_], precision: Precision) -> Estimate:
    """The numbers that fit ln(t / y) = beta · ln(bias + scale · t²) best at the `good` sizes.

    Errors: IdentificationError where too few results are ordinary, or no numbers fit."""
    if np.count_nonzero(good) < 8:
        raise IdentificationError(
            "one channel alone has hardly any ordinary results with its own sign", "size_law"
        )
    t, y, valid = t[good], y[good], good
    u = np.log(t / y)
    floor = 8 * precision.eps
    if np.ptp(u) <= floor:
        factor = float(np.exp(np.mean(u)))
        changes = abs(factor - 1) > floor
        return Estimate(0.0, float(changes), factor if changes else 1.0, floor / 8)
    squares = t * t
    start = np.log10(squares[0]) - 3, np.log10(squares[-1]) + 3
    candidates = 10 ** -np.linspace(*start, 600)
    if not valid.all():  # a negative number somewhere: the sum changes its sign where y ends
        candidates = np.concatenate([candidates, *_negative(t, valid)])
    best = _refined(squares, u, candidates)
    line = _linear(np.log(squares)[None], u)
    if line[2][0] <= max(2 * best[3], floor) and line[1][0] != 0:
        intercept, slope, rest = (float(part[0]) for part in line)
        estimate = Estimate(float(np.exp(intercept / slope)), slope, 0.0, rest)
    else:
        q, intercept, slope, rest = best
        sign = np.sign(1 + q * squares[0])
        bias = float(sign * np.exp(intercept / slope)) if slope else 1.0
        estimate = Estimate(q * bias, slope, bias, rest)
    if abs(estimate.beta) > STEEPEST or not (
        estimate.noise <= max(WORST, floor)
        and np.isfinite([estimate.scale, estimate.beta, estimate.bias]).all()
    ):
        raise IdentificationError(
            "one channel of size t does not give t · (bias + scale · t²)^-beta: the best numbers "
            f"(scale {estimate.scale:.3g}, beta {estimate.beta:.3g}, bias {estimate.bias:.3g}) are "
            f"off by {estimate.noise:.1g}, relative",
            "size_law",
        )
    estimate.noise = max(estimate.noise, precision.eps / 4)
    return estimate


def _negative(t: Array, valid: npt.NDArray[np.bool_]) -> list[Array]:
    """Values of scale / bias < 0 for which bias + scale · t² changes its sign beyond the last, or
    before the first, ordinary result."""
    ratio = t[1] / t[0]
    fine = np.linspace(1e-6, 1.5, 400)
    ends = []
    if not valid[-1]:
        ends.append(-1 / (t[-1] * ratio**fine) ** 2)
    if not valid[0]:
        ends.append(-1 / (t[0] / ratio**fine) ** 2)
    return ends


def _linear(features: Array, u: Array) -> tuple[Array, Array, Array]:
    """Least squares of u on each row of features: intercepts, slopes, root mean square errors."""
    mean = features.mean(axis=1, keepdims=True)
    centred = features - mean
    variance = (centred**2).sum(axis=1)
    with np.errstate(all="ignore"):
        slope = np.where(variance > 0, centred @ (u - u.mean()) / variance, 0.0)
    intercept = u.mean() - slope * mean[:, 0]
    rest = u - intercept[:, None] - slope[:, None] * features
    return intercept, slope, np.sqrt((rest**2).mean(axis=1))


def _refined(squares: Array, u: Array, q: Array) -> tuple[float, float, float, float]:
    """(q, intercept, slope, error) of the q = scale / bias that fits best."""
    for _ in range(12):
        with np.errstate(all="ignore"):
            features = np.log(np.abs(1 + q[:, None] * squares))
            features = np.where(
                np.abs(q[:, None] * squares) < 0.5, np.log1p(q[:, None] * squares), features
            )
        features[~np.isfinite(features).all(axis=1)] = 0
        intercept, slope, rest = _linear(features, u)
        i = int(np.argmin(rest))
        best = float(q[i]), float(intercept[i]), float(slope[i]), float(rest[i])
        low, high = q[max(i - 1, 0)], q[min(i + 1, len(q) - 1)]
        if low * high <= 0:
            break
        q = np.sign(q[i]) * np.geomspace(abs(low), abs(high), 21)
    return best
