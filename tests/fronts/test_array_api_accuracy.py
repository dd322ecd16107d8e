"""Arrays of the array API standard: how exact the results are, for numbers of any size.

NumPy follows the standard too, and has the types of 16 bits: handed to the front directly, it
stands for libraries that have them.
"""

from __future__ import annotations

import warnings
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from refusals import refusal
from strict import DEVICES, SPEC, numpy_of, sample, strict, xp

import lrnorm
from lrnorm import LRNSpec, ParameterError, array_api
from lrnorm._spec import reference as reference

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

EXTREME_SPECS = [
    LRNSpec(0.2, 0.5, 1.0, 2, 2),
    LRNSpec(0.2, 0.75, 0.0, 2, 2),
    LRNSpec(1.0, 3.0, 1e-20, 1, 1),
    LRNSpec(1e-200, 0.25, 1e-30, 1, 2),
    LRNSpec(3.0, 1.0, 0.0, None, None),
    LRNSpec(0.3, -0.4, 1.3, 3, 1),
    LRNSpec(0.0, 11.0, 1e-30, 1, 1),
    LRNSpec(0.2, 40.0, 1e-8, 2, 2),
    LRNSpec(1e300, 0.05, 0.0, 1, 1),
]
MAGNITUDES = {
    "float32": [1e-40, 1e-30, 1e-8, 1e20, 1e30, 3e38],
    "float64": [5e-324, 1e-300, 1e-200, 1e-20, 1e20, 1e150, 1e200, 1.7e308],
}


def of_all_sizes(dtype: str) -> Any:
    rng = np.random.default_rng(3)
    size = rng.choice([0, 1, *MAGNITUDES[dtype]], size=(12, 60))
    return (rng.uniform(-1, 1, size=size.shape) * size).astype(dtype)


def worst(actual: Any, exactly: Any, size: Any = None) -> float:
    """In units in the last place of `size`. What the type cannot hold is infinite or nan in the
    same places."""
    actual = numpy_of(actual)
    size = exactly if size is None else size
    with np.errstate(all="ignore"):
        rounded = exactly.astype(actual.dtype)
        number = np.isfinite(size.astype(actual.dtype))
    if size is exactly:
        assert np.array_equal(actual[~number], rounded[~number], equal_nan=True)
    return exact.worst_ulp(actual[number], exactly[number], size[number])


@pytest.mark.parametrize("spec", EXTREME_SPECS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "device"),
    [("float32", "CPU_DEVICE"), ("float32", "no_float64"), ("float64", "CPU_DEVICE")],
)
def test_values_of_any_size(dtype: str, device: str, spec: LRNSpec) -> None:
    """Squares and powers that leave the type spoil no result that is a number of it."""
    values, other = of_all_sizes(dtype), sample(12, 60, seed=1, dtype=dtype)
    x, g = strict(values, device), strict(other, device)
    if device == "no_float64" and not 1e-45 < spec.scale + (spec.scale == 0) < 3e38:
        with refusal(
            ParameterError,
            f"scale must be 0 or a number that float32 can hold, as {x.device} has no float64, "
            f"got {spec.scale!r}. Move x to another device.",
        ):
            forward(x, spec=spec, axis=0)
        return
    words: dict[str, Any] = {"spec": spec, "axis": 0}
    assert worst(forward(x, **words), exact.forward(values, spec)) <= 4 + 2 * abs(spec.beta)
    assert worst(vjp(x, g, **words), *exact.vjp(values, other, spec)) <= 8 + 2 * abs(spec.beta)
    assert worst(jvp(x, g, **words), *exact.jvp(values, other, spec)) <= 8 + 2 * abs(spec.beta)


def test_a_zero_beside_a_large_number_hides_no_small_one() -> None:
    values, along = np.array([0.0, 1e-300, 3e-300]), np.array([1e300, 2e-300, -1e-300])
    spec = LRNSpec(0.5, 0.5, 0.0, 2, 2)
    y = jvp(strict(values), strict(along), spec=spec, axis=0)
    assert worst(y, *exact.jvp(values, along, spec)) <= 10


@pytest.mark.parametrize("size", [1e-100, 1.0, 1e100])
def test_gradients_of_parameters_at_any_size(size: float) -> None:
    values, other = sample(9, 4) * size, sample(9, 4, seed=1)
    spec = LRNSpec(0.3, 0.75, 0.0, 2, 1)
    by = vjp(strict(values), strict(other), spec=spec, axis=0, parameters=True)[1]
    # y is size**(1 - 2 beta) times the y of values of size 1, ln D greater by 2 ln(size).
    plain = reference.parameter_gradients(values / size, other, spec, 0)
    y = np.sum(other * reference.forward(values / size, spec, 0))
    expected = {
        "scale": plain["scale"],
        "beta": plain["beta"] - 2 * np.log(size) * y,
        "bias": plain["bias"] / size / size,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(float(by[name]), value * size**-0.5, rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_ordinary_values(device: str, specs: dict[str, LRNSpec]) -> None:
    """float32 is exact to half a unit where the device has float64."""
    values, other = (sample(9, 4, 5, seed=seed, dtype="float32") for seed in (0, 1))
    x, g = strict(values, device), strict(other, device)
    limit = 0.51 if device == "CPU_DEVICE" else 8
    for spec in specs.values():
        words: dict[str, Any] = {"spec": spec, "axis": 0}
        assert worst(forward(x, **words), exact.forward(values, spec)) <= limit
        assert worst(vjp(x, g, **words), *exact.vjp(values, other, spec)) <= limit
        assert worst(jvp(x, g, **words), *exact.jvp(values, other, spec)) <= limit


@pytest.mark.parametrize("spec", [SPEC, LRNSpec(0.01, 0.5, 1.0, 60, 70), LRNSpec.divisive(0.5)])
def test_one_large_value_changes_no_bit_beyond_its_reach(spec: LRNSpec) -> None:
    for dtype in ("float32", "float64"):
        values, other = (sample(300, seed=seed, dtype=dtype) for seed in (0, 1))
        spoiled = values.copy()
        spoiled[150] = np.finfo(dtype).max
        before, after = spec.ends(300)
        far = np.abs(np.arange(300) - 150) > 2 * max(before, after)
        for verb in (
            lambda x: forward(strict(x), spec=spec, axis=0),
            lambda x, g=other: vjp(strict(x), strict(g), spec=spec, axis=0),
            lambda x, g=other: jvp(strict(x), strict(g), spec=spec, axis=0),
        ):
            plain, beside = numpy_of(verb(values)), numpy_of(verb(spoiled))
            assert plain[far].tobytes() == beside[far].tobytes()
            assert np.isfinite(beside).all()


def test_no_sum_forgets() -> None:
    """One large value leaves a window without a trace."""
    for dtype in ("float32", "float64"):
        values = np.ones(64, dtype)
        values[5] = 1e7
        y = numpy_of(forward(strict(values), spec=SPEC, axis=0))
        assert len(set(y[10:60].tolist())) == 1


def test_a_lazy_array_takes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sample(9, 5)
    eager = numpy_of(forward(strict(values), spec=SPEC, axis=0))

    def unknown(self: Any) -> bool:
        raise ValueError("not computed yet")

    monkeypatch.setattr(type(strict(values)), "__bool__", unknown)
    assert numpy_of(forward(strict(values), spec=SPEC, axis=0)).tobytes() == eager.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_types_of_sixteen_bits(dtype: Any, specs: dict[str, LRNSpec]) -> None:
    values, other = (sample(9, 40, seed=seed).astype(dtype) for seed in (0, 1))
    large = values * dtype(ml_dtypes.finfo(dtype).max / 8)
    for spec in specs.values():
        for x in (values, large):
            y = array_api.forward(x, spec, 0)
            assert y.dtype == dtype
            right = exact.forward(x, spec)
            inside = np.abs(right) < float(ml_dtypes.finfo(dtype).max) / 2
            assert exact.worst_ulp(y[inside], right[inside]) <= 0.51
        for verb, measure in ((array_api.vjp, exact.vjp), (array_api.jvp, exact.jvp)):
            assert exact.worst_ulp(verb(values, other, spec, 0), *measure(values, other, spec)) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("device", DEVICES)
def test_nan_and_infinity_stay_in_their_windows(dtype: str, device: str) -> None:
    if (dtype, device) == ("float64", "no_float64"):
        pytest.skip("the device has no float64")
    values = sample(12, dtype=dtype)
    clean = numpy_of(forward(strict(values, device), spec=SPEC, axis=0))
    for bad, at_home, beside in ((np.nan, np.nan, np.nan), (np.inf, np.nan, 0.0)):
        spoiled = values.copy()
        spoiled[6] = bad
        y = numpy_of(forward(strict(spoiled, device), spec=SPEC, axis=0))
        expected = clean.copy()
        expected[5:9] = beside * np.sign(values[5:9])  # before 2, after 1
        expected[6] = at_home
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_powers_of_what_is_not_positive(device: str) -> None:
    """As IEEE has it, and whole powers of negative numbers are numbers."""
    x = strict(np.array([2.0, 0.0, -0.5], np.float32), device)

    def y(scale: float, beta: float, bias: float) -> list[float]:
        spec = LRNSpec(scale, beta, bias, 0, 0)
        return [round(float(value), 6) for value in numpy_of(forward(x, spec=spec, axis=0))]

    np.testing.assert_array_equal(y(1, 0.5, 0), [1, np.nan, -1])
    np.testing.assert_array_equal(y(-1, 3, 0), [-(2**-5), np.nan, 32])
    np.testing.assert_array_equal(y(-1, 2, 0), [2**-3, np.nan, -8])
    np.testing.assert_array_equal(y(-1, 0.5, 0), [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(y(-1, 0, 0), [2, 0, -0.5])


@pytest.mark.parametrize("device", DEVICES)
def test_no_warning_whatever_the_numbers(device: str) -> None:
    large = float(np.finfo(np.float32).max)
    x = strict(np.array([np.nan, np.inf, -np.inf, 0, -1, 1e-30, large], np.float32), device)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for numbers in ((1, 0.5, 0), (-1, 0.75, 1), (1, 3, -1), (0, 1, 0), (1, -2, 1), (1, 9, 0)):
            spec = LRNSpec(numbers[0], numbers[1], numbers[2], 1, 1)
            forward(x, spec=spec, axis=0)
            forward(x, spec=spec, axis=0, out=xp.zeros_like(x))
            vjp(x, x, spec=spec, axis=0, parameters=True)
            jvp(x, x, spec=spec, axis=0)
        if device == "CPU_DEVICE":
            forward(strict([1e300, 1.0]), axis=0, dtype="float32", alpha=0)
