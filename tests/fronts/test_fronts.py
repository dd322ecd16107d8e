"""One body of tests for every kind of array: the same values, the same errors, and the kind, dtype
and device that came in. A kind of array is one row of FRONTS."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import exact
import ml_dtypes
import numpy as np
import pytest
from layouts import LAYOUTS
from refusals import refusal
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, ShapeError
from lrnorm._spec import reference as reference


class Front(NamedTuple):
    """A kind of array: from NumPy's and back, in which dtypes, and what it makes of integers."""

    array: Callable[[Any], Any]
    values: Callable[[Any], Any]
    dtypes: tuple[str, ...]
    of_integers: str
    module: str = "numpy"  # without it the row is skipped
    totals: str = "float64"  # in which gradients of parameters are added


def _torch_array(values: Any) -> Any:
    import torch

    if any(stride < 0 for stride in values.strides):  # which tensors have not
        values = values.copy()
    bits = values.view(np.int16) if values.dtype == ml_dtypes.bfloat16 else values
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        x = torch.from_numpy(bits)
    return x if bits is values else x.view(torch.bfloat16)


def _torch_values(x: Any) -> Any:
    from tensors import array

    return array(x)


def _jax_array(values: Any) -> Any:
    import jax.numpy

    return jax.numpy.asarray(values)


def _strict_array(values: Any) -> Any:
    import array_api_strict

    return array_api_strict.asarray(values)


def _dask_array(values: Any) -> Any:
    import dask.array

    return dask.array.from_array(values, chunks=tuple(max(1, n - 1) for n in values.shape))


def _xarray_array(values: Any) -> Any:
    import xarray

    return xarray.DataArray(values)


SIXTEEN = ("float16", "bfloat16")
WIDE = ("float32", "float64")
FRONTS = {
    "numpy": Front(lambda v: v, lambda x: x, SIXTEEN + WIDE, "float64"),
    "lists": Front(lambda v: v.tolist(), np.asarray, ("float64",), "float64"),
    "torch": Front(_torch_array, _torch_values, SIXTEEN + WIDE, "float32", "torch"),
    "jax": Front(_jax_array, np.asarray, (*SIXTEEN, "float32"), "float32", "jax", "float32"),
    "array-api-strict": Front(_strict_array, np.from_dlpack, WIDE, "float64", "array_api_strict"),
    "dask": Front(_dask_array, np.asarray, SIXTEEN + WIDE, "float64", "dask.array"),
    "xarray": Front(_xarray_array, np.asarray, WIDE, "float64", "xarray"),
}

verbs = {
    "forward": lambda x, g, **words: lrnorm.local_response_norm(x, **words),
    "vjp": lrnorm.local_response_norm_vjp,
    "jvp": lrnorm.local_response_norm_jvp,
    "parameters": functools.partial(lrnorm.local_response_norm_vjp, parameters=True),
}
every_verb = pytest.mark.parametrize("verb", verbs)


def _installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


def row(name: str, *more: Any) -> Any:
    absent = not _installed(FRONTS[name].module)
    marks = pytest.mark.skipif(absent, reason=f"without {FRONTS[name].module}")
    return pytest.param(FRONTS[name], *more, marks=marks, id="-".join([name, *more]))


every_front = pytest.mark.parametrize("front", [row(name) for name in FRONTS])
every_front_and_dtype = pytest.mark.parametrize(
    ("front", "dtype"), [row(name, dtype) for name in FRONTS for dtype in FRONTS[name].dtypes]
)


# Values

SHAPE = (2, 7, 3, 5)
PLACES: dict[str, Callable[[Any], Any]] = {
    **{name: LAYOUTS[name] for name in ("C", "channels last", "strided channels last", "reversed")},
    "broadcast": lambda v: np.broadcast_to(v[:1, :, :, :1], v.shape),
    "one channel": lambda v: v[:, 2:3],
    "two channels": lambda v: v[:, 1:3],
    "no channels": lambda v: v[:, :0],
    "no pixels": lambda v: v[..., :0],
}
# Beside those of the fixture: what has no bound, and what has one that is easily lost.
MORE_SPECS = {
    "inverse": LRNSpec(0.3, 2.0, 1.1, 2, 1),
    "scale 0": LRNSpec(0.0, 0.75, 1.3, 2, 2),
    "opposed": LRNSpec(-0.01, 0.75, 8.0, 2, 1),
    "below zero": LRNSpec(-0.7, 2.0, -0.5, 1, 1),
    "no bias": LRNSpec(0.4, 0.6, 0.0, None, 3),
}


@functools.cache
def samples(place: str, dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(11)
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x, g = ((rng.normal(size=SHAPE) * 1.5).astype(kind) for _ in range(2))
    return PLACES[place](x), PLACES[place](g)


# Boxes, each with its axes.
BOXES = {
    (2, 3): LRNSpec(0.3, 0.75, 1.1, (1, 2), (1, 0)),
    (3, 1): LRNSpec(0.2, 0.5, 0.9, (None, 0), (1, 3)),
    (-1, 0, -2): LRNSpec(0.1, 0.6, 1.2, (8, 1, 0), (9, 0, 2)),
    (0, 1, 2, 3): LRNSpec(0.05, 1.0, 1.3, (1, 1, 1, 1), (0, 2, 1, 0)),
    (1, 3): LRNSpec(0.7, 2.0, 1.0, (0, 0), (0, 0)),
}


@functools.cache
def expected(
    place: str, dtype: str, spec: LRNSpec, verb: str, axis: int | tuple[int, ...] = 1
) -> tuple[Any, Any]:
    """What the verb should give along `axis`, and what its errors are measured by."""
    x, g = (v.astype(np.float64) for v in samples(place, dtype))
    with np.errstate(all="ignore"):
        y = reference.forward(x, spec, axis)
        if verb == "forward":
            return y, y
        if verb == "parameters":
            values = reference.parameter_gradients(x, g, spec, axis)
            signless = reference.parameter_gradients(abs(x), abs(g), spec, axis)
            sizes = {name: abs(value) for name, value in signless.items()}
            sizes["beta"] += float(np.sum(abs(g * y)))
            return values, sizes
        derivative, measure = getattr(reference, verb), getattr(exact, verb)
        return derivative(x, g, spec, axis), measure(x, g, spec, axis)[1]


def assert_same_kind(y: Any, x: Any, front: Front) -> None:
    assert type(y) is type(x)
    if not isinstance(x, list):
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert getattr(y, "device", None) == getattr(x, "device", None)


def chosen(specs: dict[str, LRNSpec], place: str) -> list[LRNSpec]:
    """All of them where the array lies plainly, elsewhere one in four, another four each time."""
    every = [*specs.values(), *MORE_SPECS.values()]
    return every if place == "C" else every[list(PLACES).index(place) % 4 :: 4]


@every_verb
@pytest.mark.parametrize("place", PLACES)
@every_front_and_dtype
def test_values(front: Front, dtype: str, place: str, verb: str, specs: dict[str, LRNSpec]) -> None:
    x, g = (front.array(v) for v in samples(place, dtype))
    before = front.values(x).tobytes()
    for spec in chosen(specs, place):
        result = verbs[verb](x, g, spec=spec, axis=1)
        dx = result[0] if verb == "parameters" else result
        assert_same_kind(dx, x, front)
        if samples(place, dtype)[0].size:
            check(front, dtype, place, spec, verb, result)
        elif verb == "parameters":
            assert [float(total) for total in result[1].values()] == [0, 0, 0]
    assert front.values(x).tobytes() == before


@every_verb
@pytest.mark.parametrize("place", PLACES)
@every_front_and_dtype
def test_boxes(front: Front, dtype: str, place: str, verb: str) -> None:
    x, g = (front.array(v) for v in samples(place, dtype))
    if np.ndim(front.values(x)) < 4:
        pytest.skip("lists without channels do not say how many pixels there are")
    for axis, spec in BOXES.items():
        result = verbs[verb](x, g, spec=spec, axis=axis)
        assert_same_kind(result[0] if verb == "parameters" else result, x, front)
        if samples(place, dtype)[0].size:
            check(front, dtype, place, spec, verb, result, axis)


@every_front
def test_a_box_along_one_axis_is_a_window_along_it(front: Front) -> None:
    x, g = (front.array(v) for v in samples("C", "float32"))
    for verb in ("forward", "vjp", "jvp"):
        along, box = (
            front.values(verbs[verb](x, g, spec=LRNSpec(0.3, 0.75, 1.1, *ends), axis=axis))
            for ends, axis in (((2, 1), 1), (((2,), (1,)), (-3,)))
        )
        assert along.tobytes() == box.tobytes()


@every_front
def test_nan_stays_in_its_box(front: Front) -> None:
    values = samples("C", "float32")[0][0].copy()
    values[3, 1, 2] = np.nan
    spec = LRNSpec(0.3, 0.75, 1.1, (1, 0), (0, 2))
    y = front.values(lrnorm.local_response_norm(front.array(values), spec=spec, axis=(0, 2)))
    reached = [[c, 1, w] for c in (3, 4) for w in (0, 1, 2)]
    assert np.argwhere(np.isnan(y)).tolist() == reached


def check(
    front: Front,
    dtype: str,
    place: str,
    spec: LRNSpec,
    verb: str,
    result: Any,
    axis: int | tuple[int, ...] = 1,
) -> None:
    value, size = expected(place, dtype, spec, verb, axis)
    if verb != "parameters":
        y = front.values(result)
        name = for_forward(y.dtype, spec.beta) if verb == "forward" else "derivative"
        assert_close(y, value, name, size, spec)
        return
    assert list(result[1]) == list(value)
    tolerance = "total" if dtype == "float64" else "rounded total"
    if front.totals == "float32":
        tolerance = "float32 total"
    for word, total in result[1].items():
        assert_close(np.float64(float(total)), value[word], tolerance, size[word], (spec, word))


@every_front
def test_every_axis_and_its_negative_name(front: Front) -> None:
    dtype = "float64" if "float64" in front.dtypes else "float32"
    values, tangents = samples("C", dtype)
    x, t = front.array(values), front.array(tangents)
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    for axis in range(4):
        y = front.values(lrnorm.local_response_norm(x, spec=spec, axis=axis))
        assert_close(y, reference.forward(values, spec, axis), "steep forward", note=axis)
        from_the_end = lrnorm.local_response_norm(x, spec=spec, axis=axis - 4)
        assert np.array_equal(front.values(from_the_end), y)
        dy = front.values(lrnorm.local_response_norm_jvp(x, t, spec=spec, axis=axis))
        np.testing.assert_allclose(
            dy, reference.jvp(values, tangents, spec, axis), rtol=1e-4, atol=1e-5
        )
    for left_out, axis in ((x, 1), (front.array(values[0]), 0)):
        assert np.array_equal(
            front.values(lrnorm.local_response_norm(left_out, spec=spec)),
            front.values(lrnorm.local_response_norm(left_out, spec=spec, axis=axis)),
        )


@every_front
def test_integers_give_what_half_of_them_is(front: Front) -> None:
    values = np.arange(28).reshape(7, 4)
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    for integers in (values.astype(np.int32), values % 2 == 1):
        y = front.values(lrnorm.local_response_norm(front.array(integers), spec=spec, axis=0))
        assert y.dtype == front.of_integers
        assert_close(y, reference.forward(integers, spec, 0), "steep forward")


@every_front
def test_large_values(front: Front) -> None:
    """Their squares leave the type, and nobody else's result changes."""
    dtype = "float64" if "float64" in front.dtypes else "float32"
    large = 1e200 if dtype == "float64" else 1e30
    values = samples("C", dtype)[0][0, 0].copy()  # channels on the last axis
    values = np.concatenate([values, np.full_like(values, large)], axis=1)
    spec = LRNSpec(1.0, 0.5, 1.0, 1, 1)
    y = front.values(lrnorm.local_response_norm(front.array(values), spec=spec, axis=-1))
    exactly = np.moveaxis(exact.forward(np.moveaxis(values, -1, 0), spec), 0, -1)
    assert_close(y, exactly.astype(np.float64), "forward")


@every_front
def test_nan_stays_in_its_window(front: Front) -> None:
    values = samples("C", "float32")[0][0, :, 0].copy()
    values[3, 2] = np.nan
    spec = LRNSpec(0.3, 0.75, 1.1, 1, 1)
    y = front.values(lrnorm.local_response_norm(front.array(values), spec=spec, axis=0))
    assert np.argwhere(np.isnan(y)).tolist() == [[2, 2], [3, 2], [4, 2]]


# Errors


X = np.arange(14.0, dtype=np.float32).reshape(7, 2)


@every_front
@every_verb
@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (
            {},
            ShapeError,
            "axis can be left out for (channels, height, width) and (batch, channels, height, "
            "width), got an array of rank 2. Pass the axis of the channels, for example axis=-1.",
        ),
        ({"axis": 2}, ShapeError, "axis must lie in -2 … 1 for an array of rank 2, got 2."),
        ({"axis": 0.0}, KindError, "axis must be an integer, got 0.0."),
        (
            {"axis": (0, 1), "spec": LRNSpec.divisive(1)},
            ShapeError,
            "axis must name as many axes as the window of spec has, 1, got 2 for LRNSpec(",
        ),
        (
            {"axis": 0, "alpha": 1.0, "spec": LRNSpec.divisive(1)},
            KindError,
            "spec replaces alpha, beta, bias, channel_window_size, got spec and alpha. "
            "Give one or the other.",
        ),
    ],
    ids=["no axis", "axis too far", "axis not whole", "two axes of one", "alpha and spec"],
)
def test_the_same_words_of_refusal(
    front: Front, verb: str, words: dict[str, Any], kind: type[LRNormError], text: str
) -> None:
    x = front.array(X)
    with refusal(kind, text):
        verbs[verb](x, x, **words)


@every_front
@every_verb
def test_a_word_of_another_framework(front: Front, verb: str) -> None:
    x = front.array(X)
    name = {"forward": "", "jvp": "_jvp"}.get(verb, "_vjp")
    with refusal(KindError, f"local_response_norm{name}() has no argument 'k'. k is called bias"):
        verbs[verb](x, x, axis=0, k=2.0)


@every_front
@every_verb
def test_complex_numbers(front: Front, verb: str) -> None:
    x = front.array(X.astype(np.complex64))
    with refusal(
        KindError,
        "x must hold float16, bfloat16, float32, float64, integers or booleans, got ",
    ) as caught:
        verbs[verb](x, x, axis=0)
    assert str(caught.value).endswith(
        ". Normalize the real and the imaginary part, or abs(x), as the model means."
    )


# Xarray's are compared by their labels, in words of its own.
@pytest.mark.parametrize("front", [row(name) for name in FRONTS if name != "xarray"])
@pytest.mark.parametrize(("verb", "name"), [("vjp", "g"), ("jvp", "t"), ("parameters", "g")])
def test_shapes_that_differ(front: Front, verb: str, name: str) -> None:
    with refusal(ShapeError, f"{name} must have the shape of x, (7, 2), got (7, 1)."):
        verbs[verb](front.array(X), front.array(X[:, :1]), axis=0)
