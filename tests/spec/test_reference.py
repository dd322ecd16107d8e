"""The oracle itself: against numbers worked by hand, 50 digits, and differences.

tests/exact.py, the long double that measures units in the last place, is held to the same.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import exact
import numpy as np
import pytest
from mpmath import mp, mpf
from tolerances import TOLERANCES, assert_close

from lrnorm import LRNSpec
from lrnorm._spec import reference as reference

DIGITS = 50

# Windows that lean either way, even ones, open ends, ones wider than the axis; beta of every kind.
WINDOWS = [(2, 2), (2, 1), (0, 3), (3, 0), (0, 0), (None, 1), (1, None), (None, None), (40, 60)]
NUMBERS = [(0.2, 0.5, 1.0), (0.7, 0.75, 0.3), (1.3, 1.0, 0.0), (0.4, -0.6, 1.1), (0.9, 2.5, 0.8)]
CASES = [LRNSpec(*n, *w) for i, w in enumerate(WINDOWS) for n in NUMBERS[i % 2 :: 2]]
CHANNELS = [1, 2, 3, 8]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_size = pytest.mark.parametrize("channels", CHANNELS)


def arrays(channels: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed + channels)
    x, g, t = rng.normal(size=(3, channels)) * 1.5
    return x, g, t


# Numbers worked by hand


@pytest.mark.parametrize("source", [reference.forward, lambda x, s, axis: exact.forward(x, s)])
@pytest.mark.parametrize(
    ("case", "x", "expected"),
    [
        (
            LRNSpec.from_keywords(),
            [-2, -1, 0, 1, 2],
            [-1.41421356, -0.67419986, 0, 0.67419986, 1.41421356],
        ),
        (LRNSpec.from_keywords(), [1, 2, 3], [0.51298918, 1.02597835, 1.53896753]),
        (
            LRNSpec.from_keywords(2, 0.75, 0.5, 1),
            [1, 2, 3],
            [0.36502076, 0.36016742, 0.56945928],
        ),
    ],
)
def test_values_worked_by_hand(source: Any, case: LRNSpec, x: Any, expected: Any) -> None:
    np.testing.assert_allclose(source(x, case, 0).astype(float), expected, rtol=0, atol=5e-9)


def test_leaning_windows_worked_by_hand() -> None:
    """beta = -1 makes y = x D, so that D can be read off."""
    x = [1.0, 10.0, 100.0, 1000.0]
    back, ahead = LRNSpec(1, -1, 0, 1, 0), LRNSpec(1, -1, 0, 0, 2)
    assert reference.forward(x, back, 0).tolist() == [1, 1010, 1010000, 1010000000]
    assert reference.forward(x, ahead, 0).tolist() == [10101, 10101000, 101000000, 1000000000]


def test_every_axis_is_the_first_one_moved() -> None:
    x = np.random.default_rng(1).normal(size=(4, 5, 6))
    case = LRNSpec(0.4, 0.75, 1.1, 2, 0)
    by_hand = [reference.forward(x[:, j, k], case, 0) for j in range(5) for k in range(6)]
    first = reference.forward(x, case, 0)
    assert np.array_equal(first.reshape(4, 30), np.transpose(by_hand))
    for axis in (1, 2, -1, -2):
        moved = np.moveaxis(reference.forward(np.moveaxis(x, 0, axis), case, axis), axis, 0)
        assert np.array_equal(moved, first)


# 50 digits: forward straight from the formula, the derivatives as differences of it


class FineSpec:
    """The five numbers with 50 digits, which LRNSpec would round to 16."""

    def __init__(self, scale: Any, beta: Any, bias: Any, before: int, after: int) -> None:
        self.scale, self.beta, self.bias, self.before, self.after = scale, beta, bias, before, after

    def ends(self, channels: int) -> tuple[int, int]:
        return self.before, self.after


def mp_energy(x: Any, case: LRNSpec) -> list[Any]:
    before, after = case.ends(len(x))
    return [
        mpf(case.bias) + mpf(case.scale) * sum(v**2 for v in x[max(0, c - before) : c + after + 1])
        for c in range(len(x))
    ]


def mp_forward(x: Any, case: LRNSpec) -> list[Any]:
    return [v * d ** -mpf(case.beta) for v, d in zip(x, mp_energy(x, case), strict=True)]


def mp_jacobian(x: Any, case: LRNSpec) -> Any:
    """dy[c]/dx[j], by mpmath's differences: with 50 digits good for more than 20."""
    size = len(x)
    matrix = mp.matrix(size, size)
    for j in range(size):

        def along(value: Any, j: int = j) -> Any:
            return mp.matrix(mp_forward([*x[:j], value, *x[j + 1 :]], case))

        step = mpf(10) ** -15
        column = (along(x[j] + step) - along(x[j] - step)) / (2 * step)
        for c in range(size):
            matrix[c, j] = column[c]
    return matrix


@every_case
@every_size
def test_forward_to_50_digits(case: LRNSpec, channels: int) -> None:
    x, _, _ = arrays(channels)
    with mp.workdps(DIGITS):
        expected = [float(v) for v in mp_forward([mpf(v) for v in x], case)]
    assert_close(reference.forward(x, case, 0), expected, "oracle")


@every_case
@every_size
def test_derivatives_to_50_digits(case: LRNSpec, channels: int) -> None:
    x, g, t = arrays(channels)
    with mp.workdps(DIGITS):
        jacobian = mp_jacobian([mpf(v) for v in x], case)
        dx = [float(v) for v in jacobian.T * mp.matrix(g.tolist())]
        dy = [float(v) for v in jacobian * mp.matrix(t.tolist())]
    sizes = exact.vjp(x, g, case)[1], exact.jvp(x, t, case)[1]
    assert_close(reference.vjp(x, g, case, 0), dx, "oracle", sizes[0])
    assert_close(reference.jvp(x, t, case, 0), dy, "oracle", sizes[1])


@every_case
@every_size
def test_parameter_gradients_to_50_digits(case: LRNSpec, channels: int) -> None:
    x, g, _ = arrays(channels)
    got = reference.parameter_gradients(x, g, case, 0)
    assert list(got) == ["scale", "beta", "bias"]
    with mp.workdps(DIGITS):
        high = [mpf(v) for v in x]

        def total(scale: Any, beta: Any, bias: Any) -> Any:
            case_here = FineSpec(scale, beta, bias, *case.ends(channels))
            y = mp_forward(high, case_here)  # type: ignore[arg-type]
            return mp.fsum(mpf(a) * b for a, b in zip(g, y, strict=True))

        at = (mpf(case.scale), mpf(case.beta), mpf(case.bias))
        for i, name in enumerate(got):
            step = [mpf(0)] * 3
            step[i] = mpf(10) ** -15
            up = total(*(a + s for a, s in zip(at, step, strict=True)))
            down = total(*(a - s for a, s in zip(at, step, strict=True)))
            slope = float((up - down) / (2 * step[i]))
            size = sum_of_magnitudes(x, g, case)[name]
            assert_close(got[name], slope, "oracle", size, name)


def sum_of_magnitudes(x: Any, g: Any, case: LRNSpec) -> dict[str, float]:
    """Of the terms of each gradient: what its rounding error grows with."""
    before, after = case.ends(len(x))
    sums = np.array([np.sum(x[max(0, c - before) : c + after + 1] ** 2) for c in range(len(x))])
    energy = case.bias + case.scale * sums
    slope = np.abs(case.beta * g * x) * energy ** (-case.beta - 1)
    by_beta = np.abs(g * x * energy**-case.beta) * (1 + np.abs(np.log(energy)))
    return {"scale": (slope * sums).sum(), "beta": by_beta.sum(), "bias": slope.sum()}


# Differences in float64: coarse, but by way of nothing else than forward


@every_case
def test_derivatives_against_differences(case: LRNSpec) -> None:
    x, g, t = (np.random.default_rng(i).normal(size=(6, 2)) + 1.5 for i in range(3))
    step = 2.0**-18

    def slope(f: Callable[[float], Any]) -> Any:
        return (f(step) - f(-step)) / (2 * step)

    dy = slope(lambda s: reference.forward(x + s * t, case, 0))
    assert_close(reference.jvp(x, t, case, 0), dy, "difference", np.abs(dy).max())
    dx = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1
        dx[place] = slope(lambda s, u=unit: np.sum(g * reference.forward(x + s * u, case, 0)))
    assert_close(reference.vjp(x, g, case, 0), dx, "difference", np.abs(dx).max())
    gradients = reference.parameter_gradients(x, g, case, 0)
    for name, gradient in gradients.items():

        def total(s: float, name: str = name) -> Any:
            fields = {n: getattr(case, n) for n in LRNSpec.__dataclass_fields__}
            fields[name] += s
            return np.sum(g * reference.forward(x, LRNSpec(**fields), 0))

        assert_close(gradient, slope(total), "difference", 10 * abs(gradient), name)


@every_size
def test_vjp_uses_the_mirrored_window(channels: int) -> None:
    """What a symmetric window would hide: the window of a gradient leans the other way."""
    x, g, _ = arrays(channels)
    case, mirrored = LRNSpec(0.7, 0.75, 1.1, 3, 0), LRNSpec(0.7, 0.75, 1.1, 0, 3)
    dx = reference.vjp(x, g, case, 0)
    flipped = reference.vjp(x[::-1], g[::-1], mirrored, 0)[::-1]
    assert_close(dx, flipped, "oracle", exact.vjp(x, g, case)[1])
    if channels > 1:
        assert not np.allclose(dx, reference.vjp(x, g, mirrored, 0), rtol=1e-3)


# The long double


@pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63 or platform.machine() not in ("x86_64", "AMD64"),
    reason="long double is no wider than 64 bits of mantissa here",
)
@every_case
@every_size
def test_long_double_to_50_digits(case: LRNSpec, channels: int) -> None:
    x, g, t = arrays(channels, seed=9)
    with mp.workdps(DIGITS):
        high = [mpf(v) for v in x]
        jacobian = mp_jacobian(high, case)
        results = [
            (exact.forward(x, case), None, mp_forward(high, case)),
            (*exact.vjp(x, g, case), jacobian.T * mp.matrix(g.tolist())),
            (*exact.jvp(x, t, case), jacobian * mp.matrix(t.tolist())),
        ]
        for value, size, expected in results:
            size = value if size is None else size
            for c in range(channels):
                # A long double goes to mpmath in two parts: no float64 holds it.
                head = float(value[c])
                error = mpf(head) + mpf(float(value[c] - np.longdouble(head))) - expected[c]
                allowed = TOLERANCES["long double"].double * float(np.spacing(abs(float(size[c]))))
                assert abs(error) <= allowed


def test_units_of_the_measure() -> None:
    for dtype in (np.float32, np.float64, np.float16):
        for value in (1.0, 1.5, 0.7, 6e4, 1e-7, 2.0**-14):
            number = dtype(value)
            assert float(exact.spacing(np.longdouble(number), dtype)) == float(np.spacing(number))
    exact_values = np.array([1.0, 3.0], np.longdouble)
    off = np.array([1 + 2**-22, 3.0], np.float32)
    assert exact.worst_ulp(off, exact_values) == 2.0
    assert np.isnan(exact.worst_ulp(np.array([np.nan, 3], np.float32), exact_values))
