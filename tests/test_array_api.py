"""Arrays of the array API standard: what the standard alone asks for, where it differs from NumPy.

array-api-strict refuses whatever the standard does not promise. NumPy follows the standard too, and
has the types of 16 bits: handed to the front directly, it stands for libraries that have them.
"""

from __future__ import annotations

import re
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest

import lrnorm
from lrnorm import (
    KindError,
    LRNormError,
    LRNSpec,
    OutputError,
    ParameterError,
    ShapeError,
    array_api,
)
from lrnorm import _reference as reference

xp: Any = pytest.importorskip("array_api_strict")

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
DEVICES = ("CPU_DEVICE", "no_float64")


def strict(values: Any, device: str = "CPU_DEVICE") -> Any:
    return xp.asarray(values, device=xp.Device(device))


def numpy_of(x: Any) -> Any:
    return np.from_dlpack(xp.asarray(x, device=xp.Device("CPU_DEVICE")))


def sample(*shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * 1.5).astype(dtype)


def refusal(kind: type[LRNormError], text: str) -> Any:
    return pytest.raises(kind, match=re.escape(text))


# Accuracy

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
            "scale must be 0 or a number that float32 can hold where the device has no float64, "
            f"got {spec.scale!r} on {x.device}. Move x to another device.",
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


# Types and devices


@pytest.mark.parametrize("device", ["device1", "device2", "no_float64"])
def test_the_device_is_kept(device: str) -> None:
    x, g = (strict(sample(5, 3, seed=seed, dtype="float32"), device) for seed in (0, 1))
    dx, gradients = vjp(x, g, axis=0, parameters=True)
    for y in (forward(x, axis=0), dx, jvp(x, g, axis=0), *gradients.values()):
        assert y.device == xp.Device(device)


def test_gradients_of_parameters_are_arrays_without_axes() -> None:
    x, g = (strict(sample(5, 3, seed=seed, dtype="float32")) for seed in (0, 1))
    dx, gradients = vjp(x, g, alpha=1.2, channel_window_size=(2, 1), axis=0, parameters=True)
    by_scale = vjp(x, g, spec=LRNSpec(0.3, 0.5, 1.0, 2, 1), axis=0, parameters=True)[1]["scale"]
    assert (dx.dtype, list(gradients)) == (xp.float32, ["alpha", "beta", "bias"])
    assert {(value.dtype, value.shape) for value in gradients.values()} == {(xp.float64, ())}
    assert float(gradients["alpha"]) == float(by_scale) / 4


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "int64"])
def test_integers_become_the_default_type_of_the_device(kind: str) -> None:
    values = (np.arange(15).reshape(5, 3) % 4).astype(kind)
    for device, default in (("CPU_DEVICE", xp.float64), ("device2", xp.float32)):
        x = strict(values, device)
        as_floats = xp.astype(x, default)
        assert (y := forward(x, axis=0)).dtype == default
        assert xp.all(y == forward(as_floats, axis=0))
        assert (dx := vjp(x, as_floats, axis=0)).dtype == default
        assert xp.all(dx == vjp(as_floats, x, axis=0))
        assert jvp(x, x, axis=0).dtype == default


def test_large_integers_do_not_overflow() -> None:
    y = forward(strict(np.array([2**62, -(2**62), 5])), spec=LRNSpec(1, 0.5, 0, 0, 0), axis=0)
    np.testing.assert_allclose(numpy_of(y), [1, -1, 1], rtol=1e-15)


def test_dtype_asks_for_another() -> None:
    wide = sample(7, 4)
    x, narrow = strict(wide), strict(wide.astype(np.float32))
    for asked in ("float32", xp.float32, np.float32, np.dtype("float32")):
        y = forward(x, axis=0, dtype=asked)
        assert y.dtype == xp.float32
        assert xp.all(y == xp.astype(forward(x, axis=0), xp.float32))
    y = forward(narrow, axis=0, dtype=xp.float64)
    assert y.dtype == xp.float64
    assert (
        exact.worst_ulp(
            numpy_of(y), exact.forward(wide.astype(np.float32), LRNSpec(0.2, 0.5, 1.0, 2, 2))
        )
        <= 4
    )


@pytest.mark.parametrize("asked", ["float16", "bfloat16", "int32", "single", xp.int32, np.int32, 3])
def test_a_dtype_that_the_library_lacks(asked: Any) -> None:
    with refusal(
        KindError,
        "dtype must be a floating-point type of array_api_strict, or its name, "
        f"got {asked!r}. Use for example dtype='float32'.",
    ):
        forward(strict(sample(5)), axis=0, dtype=asked)


def test_a_dtype_that_the_device_lacks() -> None:
    with refusal(
        KindError,
        "dtype must be a type that the device has, got 'float64' on "
        "array_api_strict.Device('no_float64'). Use dtype='float32'.",
    ):
        forward(strict(sample(5, dtype="float32"), "no_float64"), axis=0, dtype="float64")


def test_complex_numbers_are_refused() -> None:
    with refusal(
        KindError,
        "x must hold float16, bfloat16, float32, float64, integers or booleans, got "
        "array_api_strict.complex64. Normalize the real and the imaginary part, or abs(x)",
    ):
        forward(strict(np.ones(3, np.complex64)), axis=0)
    with refusal(KindError, "g must hold float16, bfloat16, float32, float64,"):
        vjp(strict(sample(3)), strict(np.ones(3, np.complex128)), axis=0)


def test_any_other_type_is_refused() -> None:
    with refusal(KindError, "got float128. Convert it first, for example with astype(x, float32)"):
        array_api.forward(np.ones(3, np.longdouble).astype("longdouble"), SPEC, 0)


# out


def test_out_is_written_and_returned() -> None:
    values = sample(5, 3)
    x = strict(values.copy())
    right = numpy_of(forward(x, axis=0))
    out = xp.zeros_like(x)
    assert forward(x, axis=0, out=out) is out
    assert forward(x, axis=0, out=x) is x  # x itself
    whole = strict(np.concatenate([values, values]))
    shifted = whole[1:6, ...]
    forward(whole[0:5, ...], axis=0, out=shifted)  # another overlap: y is complete by then
    for got in (out, x, shifted):
        assert np.array_equal(numpy_of(got), right)


@pytest.mark.parametrize(
    ("out", "kind", "text"),
    [
        (np.ones(5), KindError, "out must be an array of array_api_strict, as x is, got numpy."),
        ([0.0] * 5, KindError, "out must be an array of array_api_strict, as x is, got builtins."),
        (strict(np.ones(4)), OutputError, "out must have the shape and device of x, (5,) on "),
        (strict(np.ones(5), "device1"), OutputError, "out must have the shape and device of x, "),
        (
            strict(np.ones(5, np.float32)),
            OutputError,
            "out must have the dtype of the result, array_api_strict.float64, got "
            "array_api_strict.float32.",
        ),
    ],
)
def test_an_out_that_does_not_fit(out: Any, kind: type[LRNormError], text: str) -> None:
    with refusal(kind, text):
        forward(strict(sample(5)), axis=0, out=out)


def test_an_out_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    x = strict(sample(5))

    def immutable(self: Any, place: Any, value: Any) -> None:
        raise TypeError("arrays of this library do not change")

    monkeypatch.setattr(type(x), "__setitem__", immutable)
    with refusal(
        OutputError,
        "out must be writable, got an array of array_api_strict that is not: arrays of this "
        "library do not change. Leave it out for a new array.",
    ):
        forward(x, axis=0, out=xp.zeros_like(x))


# Whose arrays


class _Standard:
    __array_namespace__ = None


class _OnlyDLPack:
    def __dlpack__(self) -> Any: ...


class _OnlyArray(_OnlyDLPack):
    def __array__(self) -> Any: ...


@pytest.mark.parametrize(
    ("x", "way_out"),
    [(_OnlyDLPack(), "pass numpy.from_dlpack(x)."), (_OnlyArray(), "pass numpy.asarray(x).")],
)
def test_protocols_that_only_hand_data_over(x: Any, way_out: str) -> None:
    kind = type(x).__qualname__
    with pytest.raises(KindError, match=re.escape(f"{kind}: {way_out}")):
        forward(x, axis=0)


@pytest.mark.parametrize("module", ["sparse.numba_backend", "pandas.core", "tensorflow.python"])
def test_the_standard_does_not_vouch_for_everyone(module: str) -> None:
    """Some kinds that follow it are not dense numbers."""
    kind = type("Array", (_Standard,), {"__module__": module})
    with pytest.raises(KindError, match=r"got .*Array: pass x\.(todense|to_numpy|numpy)\(\)"):
        forward(kind(), axis=0)


def test_lists_do_not_smuggle_them_in() -> None:
    with refusal(
        KindError,
        "array_api_strict._array_object.Array inside: for each such x, pass numpy.from_dlpack(x), "
        "of a copy on the CPU if it lies elsewhere.",
    ):
        forward([strict(sample(3))], axis=0)


def test_both_arrays_are_of_one_kind_and_one_device() -> None:
    x = strict(sample(5))
    for other in (sample(5), [1.0] * 5):
        with refusal(KindError, "g must be an array of array_api_strict, as x is, got numpy."):
            vjp(x, other, axis=0)
    for mine in (sample(5), [1.0] * 5):
        with refusal(
            KindError,
            "t must be a NumPy array or nested lists, as x is, got "
            "array_api_strict._array_object.Array. Give both in one kind.",
        ):
            jvp(mine, x, axis=0)
    with refusal(KindError, "g must be on the device of x, array_api_strict.Device('CPU_DEVICE'),"):
        vjp(x, strict(sample(5), "device1"), axis=0)
    with refusal(ShapeError, "t must have the shape of x, (5,), got (4,)."):
        jvp(x, strict(sample(4)), axis=0)


CUPY_HAS = (
    *("abs", "all", "astype", "concat", "finfo", "float32", "float64", "full_like", "isdtype"),
    *("isfinite", "isinf", "log", "maximum", "ones_like", "pow", "sqrt", "sum", "where"),
    "zeros_like",
)


def test_cupy_need_not_say_that_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy has these functions, and neither __array_namespace__ nor __array_namespace_info__."""
    functions = {name: getattr(np, name) for name in CUPY_HAS}
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__name__="cupy", **functions))
    body = {"__module__": "cupy", "__array_namespace__": None}
    kind = type("ndarray", (np.ndarray,), body)
    for dtype in ("float32", "float64"):
        values, other = (sample(7, 3, seed=seed, dtype=dtype) for seed in (0, 1))
        x, g = values.view(kind), other.view(kind)
        words: dict[str, Any] = {"spec": SPEC, "axis": 0}
        assert exact.worst_ulp(np.asarray(forward(x, **words)), exact.forward(values, SPEC)) <= 4
        dx = np.asarray(vjp(x, g, **words, parameters=True)[0])
        assert exact.worst_ulp(dx, *exact.vjp(values, other, SPEC)) <= 8
        dy = np.asarray(jvp(x, g, **words))
        assert exact.worst_ulp(dy, *exact.jvp(values, other, SPEC)) <= 8
        assert forward(x * 1e30, **words).dtype == dtype
        out = np.zeros_like(x)
        assert forward(x, **words, dtype=np.dtype(dtype), out=out) is out
    assert forward((x > 0).view(kind), axis=0).dtype == np.float64
    with refusal(KindError, "g must be an array of cupy, as x is, got numpy.ndarray."):
        vjp(x, other, axis=0)
    with refusal(KindError, "cupy.ndarray inside: for each such x, pass cupy.asnumpy(x)."):
        forward([x], axis=0)


# What stands on fronts


def test_the_layer_takes_them() -> None:
    values = sample(3, 5, 2, 4)
    x = strict(values)
    layer = lrnorm.LocalResponseNormalizationLayer()
    right = layer(values)
    for y in (layer(x), layer(x, batch_size=2)):
        np.testing.assert_allclose(numpy_of(y), right, rtol=1e-14)
    for one, its in zip(layer([x[0, ...], x[1, ...]]), right, strict=False):
        np.testing.assert_allclose(numpy_of(one), its, rtol=1e-14)
    assert layer(x, working_precision="Real32").dtype == xp.float32
    np.testing.assert_allclose(numpy_of(layer.vjp(x)), layer.vjp(values), rtol=1e-13)


def test_explain_takes_them() -> None:
    values = sample(5, 3)
    told = lrnorm.explain(strict(values), (2, 1), axis=0)
    assert str(told) == str(lrnorm.explain(values, (2, 1), axis=0))
