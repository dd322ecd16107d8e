"""Fits scale, beta and bias to many outputs, and rounds each to its shortest decimal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lrnorm._identify import exact
from lrnorm._identify.single_channel import Estimate, ordinary
from lrnorm._identify.subject import Array, Subject
from lrnorm._spec.spec import LRNSpec

NAMES = ("scale", "beta", "bias")


@dataclass
class Data:
    """The data of the fit: u = ln(x / y), and the sum of squares, at every ordinary result."""

    u: Any
    sums: Any


@dataclass
class Fit:
    """Fitted numbers by name, with their uncertainties and the error that remains."""

    values: dict[str, float]
    uncertainty: dict[str, float]
    rest: float  # the root mean square error of ln(x / y)


def random_columns(
    estimate: Estimate, spec: LRNSpec, channels: int, count: int, low: float, high: float, seed: int
) -> Array:
    """Columns of random values for which scale · Σ x² lies between low and high times the bias
    (times 1 where the bias is 0), as far as the sizes stay ordinary."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 1.8, (count, channels)) * rng.choice([-1.0, 1.0], (count, channels))
    sums = np.asarray(exact.sums(x, spec), dtype=np.float64)
    if estimate.bias * estimate.scale >= 0:
        size, bounds = sums.mean(axis=1), (low, high)
    elif estimate.scale < 0:  # the largest sum must stay below bias / -scale
        size, bounds = sums.max(axis=1), (min(low, 0.1), 0.6)
    else:  # the smallest must stay above it
        size, bounds = sums.min(axis=1), (2.0, max(high, 4.0))
    wanted = (
        np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), count))
        * abs(estimate.bias or 1.0)
        / abs(estimate.scale)
    )
    factor = np.sqrt(wanted / size)
    most = estimate.high / (2 * np.sqrt(size.max() + 1))
    scaled: Array = x * np.clip(factor, 2 * estimate.low, max(most, 4 * estimate.low))[:, None]
    return scaled


def observe(subject: Subject, columns: Array, spec: LRNSpec) -> Data:
    """Run the callable on columns, and keep ordinary results and the sums over their windows."""
    columns = subject.precision.rounded(columns)
    y = subject(columns)
    good = ordinary(columns, y, subject.precision)
    with np.errstate(all="ignore"):
        u = np.log(columns.astype(np.longdouble) / y)
    return Data(u[good], exact.sums(columns, spec)[good])


def _rest(data: Data, values: dict[str, Any]) -> Any:
    scale, beta, bias = (np.longdouble(values[name]) for name in NAMES)
    energy = bias + scale * data.sums
    return data.u - beta * np.log(np.abs(energy)), energy


def fit(data: Data, start: dict[str, float], free: tuple[str, ...], eps: float) -> Fit:
    """Gauss-Newton least squares of ln(x / y) = beta · ln(bias + scale · S) in the free numbers."""
    values: dict[str, Any] = {name: np.longdouble(start[name]) for name in NAMES}
    for _ in range(8):
        rest, energy = _rest(data, values)
        d, beta = energy.astype(np.float64), float(values["beta"])
        slopes = {
            "scale": beta * data.sums.astype(np.float64) / d,
            "beta": np.log(np.abs(d)),
            "bias": beta / d,
        }
        jacobian = np.stack([slopes[name] for name in free], axis=1)
        norms = np.linalg.norm(jacobian, axis=0)
        norms[norms == 0] = 1
        step, *_ = np.linalg.lstsq(jacobian / norms, rest.astype(np.float64), rcond=None)
        changes = dict(zip(free, step / norms, strict=True))
        for name, change in changes.items():
            values[name] += change
        if all(abs(change) <= eps / 32 * abs(values[name]) for name, change in changes.items()):
            break
    rest, _ = _rest(data, values)
    error = float(np.sqrt(np.mean(rest.astype(np.float64) ** 2)))
    covariance = np.linalg.pinv((jacobian / norms).T @ (jacobian / norms))
    spread = np.sqrt(np.diag(covariance)) / norms * max(error, eps / 4)
    found = {name: float(values[name]) for name in NAMES}
    # The callable's own constants are rounded to its type: no measurement sees below that. Where
    # bias and sum cancel, their rounding shows tenfold.
    rounding = eps * (3 if found["scale"] * found["bias"] >= 0 else 30)
    uncertainty = {
        name: 4 * float(deviation) + rounding * abs(found[name])
        for name, deviation in zip(free, spread, strict=True)
    }
    return Fit(found, uncertainty, error)


def shortest(value: float, uncertainty: float) -> tuple[float, int]:
    """The decimal of fewest digits within the uncertainty, and how many digits it has."""
    if abs(value) <= uncertainty:
        return 0.0, 0
    for digits in range(1, 17):
        rounded = float(f"{value:.{digits - 1}e}")
        if abs(rounded - value) <= uncertainty:
            return rounded, digits
    return value, 17


def as_decimals(
    data: Data, estimate: Estimate, window: tuple[int | None, int | None], channels: int, eps: float
) -> tuple[dict[str, float], dict[str, float], float]:
    """(values, uncertainties, error): each number as its shortest decimal. Beta is rounded first,
    for that sharpens the others; the scale may be a short alpha divided by a window's size."""
    start = {"scale": estimate.scale, "beta": estimate.beta, "bias": estimate.bias}
    free = NAMES if estimate.bias else ("scale", "beta")
    whole = fit(data, start, free, eps)
    for share in (1.0, 0.25, 0.05):
        values, last = dict(whole.values), whole
        for i, name in enumerate(name for name in ("beta", "bias") if name in free):
            values[name], _ = shortest(values[name], share * last.uncertainty[name])
            rest = ("scale", "bias")[: 2 - i] if estimate.bias else ("scale",)
            last = fit(data, values, rest, eps)
            values = dict(last.values)
        values["scale"] = _short_scale(
            values["scale"], share * last.uncertainty["scale"], window, channels
        )
        rest, energy = _rest(data, values)
        error = float(np.sqrt(np.mean(rest.astype(np.float64) ** 2)))
        # The callable's own beta is rounded to its type, which the logarithm of D multiplies.
        logarithm = float(np.sqrt(np.mean(np.log(np.abs(energy)).astype(np.float64) ** 2)))
        if error <= 1.5 * whole.rest + eps * (1 + abs(values["beta"]) * (1 + logarithm)):
            # That rounding moves the scale and the bias that fit the decimal of beta.
            moved = eps / 2 * logarithm
            uncertainty = {
                name: spread + (0 if name == "beta" else moved * abs(values[name]))
                for name, spread in whole.uncertainty.items()
            }
            return values, uncertainty, error
    return whole.values, whole.uncertainty, whole.rest


def _short_scale(
    scale: float, uncertainty: float, window: tuple[int | None, int | None], channels: int
) -> float:
    """The scale itself, or alpha / n for the sizes n of which frameworks make this window:
    whichever has the fewest digits."""
    before, after = window
    if before is None or after is None:
        divisors = [channels]
    else:
        width = before + after + 1
        divisors = [width, width + 1, max(width - 1, 1)] if before == after else [width]
    choices = [(shortest(scale * n, uncertainty * n), n) for n in (1, *divisors)]
    (number, _), n = min(choices, key=lambda choice: choice[0][1])
    return number / n
