"""What local_response_norm and its derivatives take, refuse, and say."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from refusals import refusal

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, ParameterError, ShapeError

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

VERBS = {
    "local_response_norm": lambda x, **words: forward(x, **words),
    "local_response_norm_vjp": lambda x, **words: vjp(x, x, **words),
    "local_response_norm_jvp": lambda x, **words: jvp(x, x, **words),
}
every_verb = pytest.mark.parametrize("name", VERBS)

X = np.random.default_rng(0).normal(size=(5, 3, 4))
SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
WORDS: dict[str, Any] = {
    "alpha": 1.2,
    "beta": 0.75,
    "bias": 1.1,
    "channel_window_size": (2, 1),
}


# The numbers


def test_defaults_are_the_seeds() -> None:
    y = forward(np.array([-2.0, -1, 0, 1, 2]), axis=0)
    np.testing.assert_allclose(
        y, [-1.41421356, -0.67419986, 0, 0.67419986, 1.41421356], rtol=0, atol=5e-9
    )
    np.testing.assert_allclose(
        forward(np.array([1.0, 2, 3]), alpha=2, beta=0.75, bias=0.5, channel_window_size=1, axis=0),
        [0.36502076, 0.36016742, 0.56945928],
        rtol=0,
        atol=5e-9,
    )


@every_verb
def test_keywords_and_spec_say_the_same(name: str) -> None:
    verb = VERBS[name]
    assert np.array_equal(verb(X, **WORDS), verb(X, spec=SPEC))
    window_as_list = {**WORDS, "channel_window_size": [2, 1]}
    assert np.array_equal(verb(X, **window_as_list), verb(X, spec=SPEC))
    assert not np.allclose(verb(X), verb(X, spec=SPEC))


@every_verb
@pytest.mark.parametrize("word", WORDS)
def test_spec_and_a_number_are_one_too_many(name: str, word: str) -> None:
    """Also when the number is the default."""
    defaults = {"alpha": 1.0, "beta": 0.5, "bias": 1.0, "channel_window_size": 2}
    for value in (defaults[word], int(defaults[word]), WORDS[word], None):
        with refusal(KindError, f"got spec and {word}. Give one or the other."):
            VERBS[name](X, spec=SPEC, **{word: value})


@every_verb
def test_spec_is_an_lrnspec(name: str) -> None:
    for wrong in (0.5, "caffe", {"scale": 1}, LRNSpec, (1, 1, 1, 2, 2)):
        with refusal(KindError, f"spec must be an LRNSpec, got {wrong!r}."):
            VERBS[name](X, spec=wrong)


@every_verb
def test_nonsense_is_refused_with_the_reason(name: str) -> None:
    with refusal(
        ParameterError,
        "channel_window_size must be a positive integer, got 2.5. "
        "It is a radius: 2 averages over 5 channels.",
    ):
        VERBS[name](X, channel_window_size=2.5)
    for word in ("alpha", "beta", "bias"):
        with refusal(ParameterError, f"{word} must be a finite real number, got nan."):
            VERBS[name](X, **{word: math.nan})
        with refusal(KindError, f"{word} must be a finite real number, got True."):
            VERBS[name](X, **{word: True})


@every_verb
def test_everything_but_the_arrays_is_a_keyword(name: str) -> None:
    function = getattr(lrnorm, name)
    with pytest.raises(TypeError, match="positional argument"):
        function(*[X] * (1 if name == "local_response_norm" else 2), 1.0)


def test_windows_have_no_upper_limit() -> None:
    x = np.random.default_rng(0).normal(size=(9, 2, 2))
    for wide in (9, 2**31, 2**40, 10**30):
        whole = LRNSpec(0.5, 0.5, 1, None, None)
        for window in ((wide, wide), (10**30, 9)):
            spec = LRNSpec(0.5, 0.5, 1, *window)
            assert np.array_equal(forward(x, spec=spec), forward(x, spec=whole))
            assert np.array_equal(vjp(x, x, spec=spec), vjp(x, x, spec=whole))
            assert np.array_equal(jvp(x, x, spec=spec), jvp(x, x, spec=whole))
        alpha = 0.5 * (2 * wide + 1)
        np.testing.assert_allclose(
            forward(x, alpha=alpha, channel_window_size=wide), forward(x, spec=whole), rtol=1e-14
        )


# Axes


def test_axis_left_out_is_that_of_the_channels() -> None:
    batch = np.stack([X, X * 2])
    assert np.array_equal(forward(X), forward(X, axis=0))
    assert np.array_equal(forward(batch), forward(batch, axis=1))
    assert np.array_equal(forward(batch), forward(batch, axis=np.int8(-3)))
    assert np.array_equal(vjp(batch, batch), vjp(batch, batch, axis=1))
    assert np.array_equal(jvp(batch, batch), jvp(batch, batch, axis=1))
    assert not np.allclose(forward(X), forward(X, axis=1))


@every_verb
@pytest.mark.parametrize("rank", [1, 2, 5, 6])
def test_axis_left_out_at_another_rank(name: str, rank: int) -> None:
    with refusal(
        ShapeError,
        "axis can be left out for (channels, height, width) and (batch, channels, height, width), "
        f"got an array of rank {rank}. Pass the axis of the channels, for example axis=-1.",
    ):
        VERBS[name](np.ones((2,) * rank))


@every_verb
@pytest.mark.parametrize(
    ("axis", "kind", "text"),
    [
        (3, ShapeError, "axis must lie in -3 … 2 for an array of rank 3, got 3."),
        (-4, ShapeError, "axis must lie in -3 … 2 for an array of rank 3, got -4."),
        ((1, 1.0), KindError, "axis must be an integer or a tuple of integers, got (1, 1.0)."),
        ((1, -2), ShapeError, "axis must be an integer or a tuple of different ones, got (1, -2)."),
        ((), ShapeError, "axis must be an integer or a tuple of different ones, got ()."),
        ((1, 3), ShapeError, "axis must lie in -3 … 2 for an array of rank 3, got (1, 3)."),
        (True, KindError, "axis must be an integer, got True."),
        (1.0, KindError, "axis must be an integer, got 1.0."),
        ("1", KindError, "axis must be an integer, got '1'."),
    ],
)
def test_axis_that_is_none(name: str, axis: Any, kind: type[LRNormError], text: str) -> None:
    with refusal(kind, text):
        VERBS[name](X, axis=axis)


def test_rank_0_has_no_channels() -> None:
    for axis in (0, -1):
        with refusal(ShapeError, "an array of rank 0 has no axis for the channels."):
            forward(np.array(1.0), axis=axis)
    with pytest.raises(ShapeError, match="rank 0"):
        forward(np.array(1.0))


# Types


@every_verb
@pytest.mark.parametrize(
    "dtype",
    [
        *("c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", "g", "V4", ">g", [("a", "f4")]),
        *(ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4),
    ],
    ids=str,
)
def test_dtypes_that_are_a_type_error(name: str, dtype: Any) -> None:
    x = np.zeros((2, 3, 4), dtype)
    way_out = "abs(x)" if x.dtype.kind == "c" else "x.astype('float64')"
    with pytest.raises(TypeError, match=re.escape(f"got {x.dtype}.")) as caught:
        VERBS[name](x)
    assert "x must hold float16, bfloat16, float32, float64" in str(caught.value)
    assert way_out in str(caught.value)


@pytest.mark.parametrize("verb", [vjp, jvp])
def test_the_second_operand_is_named(verb: Any) -> None:
    name = "g" if verb is vjp else "t"
    with refusal(KindError, f"{name} must hold float16, bfloat16"):
        verb(X, X.astype(complex))
    with refusal(ShapeError, f"{name} must have the shape of x, (5, 3, 4), got (5, 3, 1)."):
        verb(X, X[:, :, :1])
    with refusal(KindError, f"{name} must be an array or nested lists of numbers, got numpy"):
        verb(X, np.ma.array(X))
    with refusal(ShapeError, f"{name} must be nested lists of one length at each level"):
        verb(X, [[1.0], [2.0, 3.0]])


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("i4", "dtype must be float16, bfloat16, float32 or float64, got int32."),
        (complex, "got complex128."),
        ("g", "dtype must be float16"),
        (object, "got object."),
        (ml_dtypes.float8_e4m3fn, "got float8_e4m3fn."),
        ("single malt", "dtype must be float16, bfloat16, float32 or float64, got 'single malt'."),
        (3, "dtype must be float16, bfloat16, float32 or float64, got 3."),
    ],
)
def test_dtypes_that_cannot_be_asked_for(dtype: Any, text: str) -> None:
    with refusal(KindError, text):
        forward(X, dtype=dtype)


def test_parameters_is_a_flag() -> None:
    with refusal(KindError, "parameters must be True or False, got 'yes'."):
        vjp(X, X, parameters="yes")
    assert len(vjp(X, X, parameters=np.True_)) == 2


# Nested lists


@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_in_lists_out(kind: type) -> None:
    x = kind(kind(row.tolist()) for row in X[0])
    for verb, array in (
        (lambda a: forward(a, axis=1), forward(X[0], axis=1)),
        (lambda a: vjp(a, a, axis=1), vjp(X[0], X[0], axis=1)),
        (lambda a: jvp(a, a, axis=1), jvp(X[0], X[0], axis=1)),
    ):
        y = verb(x)
        assert type(y) is type(y[0]) is list
        assert type(y[0][0]) is float
        assert y == array.tolist()
    dx, gradients = vjp(x, X[0], axis=1, parameters=True)
    assert type(dx) is list
    assert gradients == vjp(X[0], X[0], axis=1, parameters=True)[1]


def test_lists_of_any_numbers() -> None:
    assert forward([3, 4], spec=LRNSpec(1, -1, 0, 1, 1), axis=0) == [75.0, 100.0]
    assert forward([True, False], spec=LRNSpec(1, 0.5, 0, 1, 1), axis=0) == [1.0, 0.0]
    assert forward([], axis=0) == []
    assert forward([[], []], axis=0) == [[], []]
    assert forward([np.float32(1.5), 2], axis=0) == forward([1.5, 2.0], axis=0)
    assert forward([X[0], X[1]], axis=0) == forward(X[:2], axis=0).tolist()
    assert forward([[[1.0]], [[2.0]]]) == [[[y]] for y in forward([1.0, 2.0], axis=0)]
    half = forward([0.1, 0.2], axis=0, dtype=np.float16)
    assert half == forward(np.array([0.1, 0.2]), axis=0, dtype=np.float16).tolist()


def test_kind_of_the_result_is_that_of_x() -> None:
    listed = X.tolist()
    assert type(vjp(X, listed)) is np.ndarray
    assert type(jvp(listed, X)) is list
    assert vjp(listed, X) == vjp(X, listed).tolist()


def test_a_list_that_holds_itself() -> None:
    endless: list[Any] = [1.0]
    endless.append(endless)
    with refusal(ShapeError, "x must be nested lists of numbers, got lists nested without an end."):
        forward(endless, axis=0)


def test_ragged_lists() -> None:
    for ragged in ([[1.0, 2.0], [3.0]], [[1.0], 2.0], [[[1], [2]], [[1], [2, 3]]]):
        with refusal(ShapeError, "x must be nested lists of one length at each level:"):
            forward(ragged, axis=0)


@pytest.mark.parametrize("x", [["a", "b"], [None, 1.0], [1j, 2], [10**30, 1], [b"x"], [{}]])
def test_lists_of_no_numbers(x: Any) -> None:
    with pytest.raises(TypeError, match="x must hold"):
        forward(x, axis=0)


# Kinds of arrays that NumPy would swallow


class Foreign:
    """An array of some framework: NumPy could take it through __array__."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("converted in silence")


def foreign(module: str, name: str) -> Any:
    return type(name, (Foreign,), {"__module__": module})()


FOREIGN = [
    (foreign("pandas.core.frame", "DataFrame"), "x.to_numpy()"),
    (foreign("pandas.core.series", "Series"), "x.to_numpy()"),
    (foreign("tensorflow.python.framework.ops", "EagerTensor"), "x.numpy()"),
    (foreign("jax._src.prng", "PRNGKeyArray"), "numpy.asarray(x)"),
    (foreign("xarray.core.variable", "Variable"), "x.to_numpy()"),
    (foreign("xarray.core.dataset", "Dataset"), "x.map(lrnorm.xarray.local_response_norm, dim=…)"),
    (foreign("dask.bag.core", "Bag"), "x.compute()"),
    (foreign("zarr.core.array", "Array"), "x[...]"),
    (foreign("scipy.sparse._csr", "csr_array"), "x.toarray()"),
    (foreign("sparse.numba_backend._coo.core", "COO"), "x.todense()"),
    (
        type("Mine", (type(foreign("pandas.core.frame", "DataFrame")),), {"__module__": "mine"})(),
        "x.to_numpy()",
    ),
    (np.ma.array([[[1.0]], [[2.0]]], mask=[[[True]], [[False]]]), "x.filled(0)"),
    (np.ma.array([1.0]).view(type("Mine", (np.ma.MaskedArray,), {})), "x.filled(0)"),
    (np.ones((1, 2)).view(np.matrix), "numpy.asarray(x), if what the subclass adds may be lost"),
    (np.ones(3).view(np.recarray), "numpy.asarray(x), if what the subclass"),
    (
        np.ones(3).view(type("Quantity", (np.ndarray,), {})),
        "numpy.asarray(x), if what the subclass",
    ),
    (foreign("elsewhere.arrays", "Array"), "numpy.asarray(x)"),
    (np.float64(1.0), "numpy.asarray(x)"),
    (1.0, "an array or nested lists."),
    ({1.0, 2.0}, "an array or nested lists."),
    ("text", "an array or nested lists."),
    (None, "an array or nested lists."),
]


@every_verb
@pytest.mark.parametrize(("x", "way_out"), FOREIGN, ids=lambda v: type(v).__qualname__)
def test_kinds_that_are_a_type_error(name: str, x: Any, way_out: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"Pass {way_out}")) as caught:
        VERBS[name](x, axis=0)
    kind = type(x)
    assert isinstance(caught.value, KindError)
    assert f"x must be an array or nested lists of numbers, got {kind.__module__}." in str(
        caught.value
    )
    assert kind.__qualname__ in str(caught.value)


@pytest.mark.parametrize(("x", "way_out"), FOREIGN[:15], ids=lambda v: type(v).__qualname__)
def test_nor_do_lists_smuggle_them_in(x: Any, way_out: str) -> None:
    for listed in ([x, x], [[1.0], (2.0, x)], [[[x]]]):
        with pytest.raises(TypeError, match=re.escape(f"For each such x, pass {way_out}")):
            forward(listed, axis=0)


# Silence


def test_no_warning_whatever_the_numbers(dtype: np.dtype[Any]) -> None:
    """Not even where the caller asks NumPy to raise."""
    largest = ml_dtypes.finfo(dtype).max
    x = np.array([np.nan, np.inf, -np.inf, 0, -1, 1e-30, largest, -largest], np.float64)
    x = x.astype(dtype)
    big = np.array([1e300, -1e-300, 1e39, -1e5, 1e-7, np.inf, np.nan, 0])
    signalling = np.array([0x7FA00000] * 8, np.uint32).view(np.float32)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for scale, bias, beta in (
            *((1, 0, 0.5), (-1, 1, 0.75), (1, -1, 3), (0, 0, 1), (1, 1, -2)),
            *((0, 1, 0), (1, 1e-9, 1)),
        ):
            spec = LRNSpec(scale, beta, bias, 1, 1)
            forward(x, spec=spec, axis=0)
            forward(x.astype(x.dtype.newbyteorder(">")), spec=spec, axis=0)
            forward(big, spec=spec, axis=0, dtype=dtype)
            forward(big, spec=spec, axis=0, dtype=dtype, out=np.zeros(8, dtype))
            forward(signalling, spec=spec, axis=0, dtype="f8")
            forward(x.tolist(), spec=spec, axis=0)
            vjp(x, x, spec=spec, axis=0, parameters=True)
            jvp(x, x, spec=spec, axis=0)
            for verb in (vjp, jvp):
                verb(x, big, spec=spec, axis=0)
                verb(x.astype("f8"), signalling, spec=spec, axis=0)


def test_bias_of_zero_over_zeros_is_nan(dtype: np.dtype[Any]) -> None:
    x = np.array([0, 0, 0, 0, 2], dtype)
    y = forward(x, bias=0, channel_window_size=1, axis=0)
    assert np.isnan(y.astype(float)).tolist() == [True, True, True, False, False]
