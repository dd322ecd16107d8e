"""Arrays of the array API standard: what that alone asks for, where it differs from NumPy."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import exact
import numpy as np
import pytest
from refusals import refusal
from strict import SPEC, numpy_of, sample, strict, xp

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, OutputError, ShapeError, array_api

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

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
        f"dtype must be float32 or float64, got {asked!r}. Use for example dtype='float32'.",
    ):
        forward(strict(sample(5)), axis=0, dtype=asked)


def test_a_dtype_that_the_device_lacks() -> None:
    with refusal(
        KindError,
        "dtype must be float32 on array_api_strict.Device('no_float64'), got 'float64'. "
        "Use for example dtype='float32'.",
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


@pytest.mark.parametrize("verb", [vjp, lrnorm.local_response_norm_jvp], ids=["vjp", "jvp"])
def test_derivatives_write_into_out(verb: Any) -> None:
    values, other = sample(5, 3), sample(5, 3)[::-1].copy()
    right = numpy_of(verb(strict(values.copy()), strict(other.copy()), axis=0))
    for out in range(
        3
    ):  # a new one, x itself, and the second array: the result is complete by then
        arrays = [strict(values.copy()), strict(other.copy()), strict(np.zeros((5, 3)))]
        assert verb(*arrays[:2], axis=0, out=arrays[out]) is arrays[out]
        assert np.array_equal(numpy_of(arrays[out]), right)
    with refusal(OutputError, "out must have the shape of x, (5, 3), got (4,)."):
        verb(*arrays[:2], axis=0, out=strict(np.ones(4)))
    with refusal(OutputError, "out must have the dtype of the result, array_api_strict.float64"):
        verb(*arrays[:2], axis=0, out=strict(np.ones((5, 3), np.float32)))
    with refusal(KindError, "out must be an array of array_api_strict, as x is, got numpy."):
        verb(*arrays[:2], axis=0, out=np.ones((5, 3)))


def test_parameter_gradients_with_out_are_those_of_x_before() -> None:
    x, g = strict(sample(5, 3)), strict(sample(5, 3)[::-1].copy())
    dx, expected = vjp(x, g, axis=0, parameters=True)
    result, gradients = vjp(x, g, axis=0, parameters=True, out=x)
    assert result is x
    assert xp.all(x == dx)
    assert {name: float(v) for name, v in gradients.items()} == {
        name: float(v) for name, v in expected.items()
    }


@pytest.mark.parametrize(
    ("out", "kind", "text"),
    [
        (np.ones(5), KindError, "out must be an array of array_api_strict, as x is, got numpy."),
        ([0.0] * 5, KindError, "out must be an array of array_api_strict, as x is, got builtins."),
        (strict(np.ones(4)), OutputError, "out must have the shape of x, (5,), got (4,)."),
        (strict(np.ones(5), "device1"), OutputError, "out must be on the device of x, "),
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
    [(_OnlyDLPack(), "Pass numpy.from_dlpack(x)."), (_OnlyArray(), "Pass numpy.asarray(x).")],
)
def test_protocols_that_only_hand_data_over(x: Any, way_out: str) -> None:
    kind = type(x).__qualname__
    with pytest.raises(KindError, match=re.escape(f"{kind}. {way_out}")):
        forward(x, axis=0)


@pytest.mark.parametrize("module", ["sparse.numba_backend", "pandas.core", "tensorflow.python"])
def test_the_standard_does_not_vouch_for_everyone(module: str) -> None:
    """Some kinds that follow it are not dense numbers."""
    kind = type("Array", (_Standard,), {"__module__": module})
    with pytest.raises(KindError, match=r"got .*Array\. Pass x\.(todense|to_numpy|numpy)\(\)"):
        forward(kind(), axis=0)


def test_lists_do_not_smuggle_them_in() -> None:
    with refusal(
        KindError,
        "got array_api_strict._array_object.Array. For each such x, pass numpy.from_dlpack(x), "
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
    with refusal(KindError, "got cupy.ndarray. For each such x, pass cupy.asnumpy(x)."):
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
