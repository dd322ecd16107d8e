"""local_response_norm and its derivatives over arrays of every type and every layout."""

from __future__ import annotations

import functools
import math
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from layouts import LAYOUTS, strided
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import LRNSpec
from lrnorm._spec import reference as reference

forward = lrnorm.local_response_norm
vjp = lrnorm.local_response_norm_vjp
jvp = lrnorm.local_response_norm_jvp

# Batch, channels, height and width all differ. The second has channels enough for vectors to run
# along them.
SHAPE, DEEP = (2, 7, 3, 5), (3, 19, 2, 4)


@functools.cache
def sample(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int = 0) -> Any:
    values = (np.random.default_rng(seed).normal(size=shape) * 1.5).astype(dtype)
    values.flags.writeable = False
    return values


@functools.cache
def oracle(
    shape: tuple[int, ...], dtype: np.dtype[Any], spec: LRNSpec, axis: int
) -> dict[str, tuple[Any, Any]]:
    """What each verb should give for the samples, and what its errors are measured by."""
    x, g = (sample(shape, dtype, seed).astype(np.float64) for seed in (0, 1))
    first = np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0)
    sizes = {"vjp": exact.vjp(*first, spec)[1], "jvp": exact.jvp(*first, spec)[1]}
    y = reference.forward(x, spec, axis)
    return {
        "forward": (y, y),
        "vjp": (reference.vjp(x, g, spec, axis), np.moveaxis(sizes["vjp"], 0, axis)),
        "jvp": (reference.jvp(x, g, spec, axis), np.moveaxis(sizes["jvp"], 0, axis)),
    }


def check(x: Any, g: Any, spec: LRNSpec, axis: int, whole: tuple[int, ...] = ()) -> None:
    """x and g hold the two samples, in whatever layout; or their first items, then of `whole`."""
    dtype = x.dtype.newbyteorder("=")
    expected = oracle(whole or x.shape, dtype, spec, axis)
    before = x.tobytes(), g.tobytes()
    for verb, y in {
        "forward": forward(x, spec=spec, axis=axis),
        "vjp": vjp(x, g, spec=spec, axis=axis),
        "jvp": jvp(x, g, spec=spec, axis=axis),
    }.items():
        value, size = (a[: len(x)] for a in expected[verb])
        name = for_forward(dtype, spec.beta) if verb == "forward" else "derivative"
        assert type(y) is np.ndarray
        assert y.dtype == dtype
        assert_close(y, value, name, size, (verb, spec, axis))
    assert (x.tobytes(), g.tobytes()) == before


@pytest.mark.parametrize("layout", LAYOUTS.keys())
def test_values(isa: str, dtype: np.dtype[Any], layout: str, specs: dict[str, LRNSpec]) -> None:
    """Every layout, instruction set, type, axis and spec; the second operand lies otherwise."""
    lay = LAYOUTS[layout]
    for shape in (SHAPE, DEEP):
        x, g = (lay(sample(shape, dtype, seed)) for seed in (0, 1))
        other = strided(g.astype(dtype))
        for i, spec in enumerate(specs.values()):
            for axis in range(4):
                if len(x) == shape[axis] or axis > 0:  # one layout takes the first item alone
                    check(x, g if (i + axis) % 2 else other, spec, axis, shape)


@pytest.mark.parametrize("layout", LAYOUTS.keys())
def test_results_lie_as_the_input_does(dtype: np.dtype[Any], layout: str) -> None:
    """In native byte order, aligned, and dense, with the axes in the order of x's."""
    x = LAYOUTS[layout](sample(SHAPE, dtype))
    g = np.ascontiguousarray(x)
    like = np.copy(x, order="K")
    for y in (forward(x), vjp(x, g), jvp(x, g), forward(x, dtype=np.float64)):
        assert y.flags.aligned
        assert y.flags.writeable
        assert y.dtype.isnative
        for size, ours, theirs in zip(x.shape, y.strides, like.strides, strict=True):
            assert size == 1 or ours // y.itemsize == theirs // like.itemsize
        for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS"):
            assert y.flags[flag] or not x.flags[flag]


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65])
def test_edges_of_vectors(isa: str, dtype: np.dtype[Any], channels: int) -> None:
    """Channels and pixels on both sides of every vector length, channels first and last."""
    for spec in (LRNSpec(0.3, 0.75, 1.1, 2, 1), LRNSpec(0.2, 0.6, 0.9, 3, 5)):
        for pixels in (1, 3, 8, 17, 33):
            for shape, axis in (((channels, pixels), 0), ((pixels, channels), 1)):
                check(sample(shape, dtype, 0), sample(shape, dtype, 1), spec, axis)


@pytest.mark.parametrize("rank", range(1, 7))
def test_ranks(dtype: np.dtype[Any], rank: int) -> None:
    shape = (4, 3, 2, 5, 1, 3)[:rank]
    x, g = (sample(shape, dtype, seed) for seed in (0, 1))
    for axis in range(rank):
        check(x, g, LRNSpec(0.3, 0.75, 1.1, 2, 1), axis)
        assert np.array_equal(forward(x, axis=axis), forward(x, axis=axis - rank))
        check(np.ascontiguousarray(x.T).T, g, LRNSpec(0.3, 0.75, 1.1, 2, 1), axis)


@pytest.mark.parametrize("axis", range(3))
def test_axes_of_one(dtype: np.dtype[Any], axis: int) -> None:
    for shape in ((1, 4, 6), (4, 1, 6), (4, 6, 1), (1, 1, 6), (1, 4, 1), (1, 1, 1)):
        x, g = (sample(shape, dtype, seed) for seed in (0, 1))
        check(x, g, LRNSpec(0.3, 0.75, 1.1, 2, 1), axis)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("empty", range(4))
def test_nothing_in_nothing_out(dtype: np.dtype[Any], axis: int, empty: int) -> None:
    shape = tuple(0 if i == empty else size for i, size in enumerate(SHAPE))
    for x in (np.ones(shape, dtype), np.ones(shape, dtype, order="F"), np.ones(shape, "i4")):
        kind = x.dtype if x.dtype == dtype else np.float64
        for spec in (LRNSpec.from_keywords(), LRNSpec.divisive(1)):
            y = forward(x, spec=spec, axis=axis)
            assert (y.shape, y.dtype) == (shape, kind)
            dx, gradients = vjp(x, x, spec=spec, axis=axis, parameters=True)
            assert (dx.shape, dx.dtype) == (shape, kind)
            assert gradients == {"scale": 0, "beta": 0, "bias": 0}
            assert jvp(x, x, spec=spec, axis=axis).shape == shape


@pytest.mark.parametrize("axis", range(3))
def test_repeated_places(isa: str, dtype: np.dtype[Any], axis: int) -> None:
    """Inputs whose axes have stride 0, or overlap themselves."""
    line = sample((6,), dtype)
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    inputs = [
        np.broadcast_to(line, (4, 3, 6)),
        np.broadcast_to(line[:, None], (3, 6, 5)),
        np.broadcast_to(line[:, None, None], (6, 3, 5)),
        np.broadcast_to(line[0], (3, 4, 5)),
        np.lib.stride_tricks.sliding_window_view(sample((4, 9), dtype), 3, axis=1),
    ]
    for x in inputs:
        y = forward(x, spec=spec, axis=axis)
        assert np.array_equal(y, forward(x.copy(), spec=spec, axis=axis))
        dx = vjp(x, x, spec=spec, axis=axis)
        assert np.array_equal(dx, vjp(x.copy(), x.copy(), spec=spec, axis=axis))
        assert np.array_equal(x[0], x.copy()[0])


def test_large_enough_for_every_path(isa: str, dtype: np.dtype[Any]) -> None:
    """Shared among threads, tiled, and in tiles that do not divide the array."""
    for shape, axis in (((2, 11, 47, 53), 1), ((3, 41, 37, 19), 3), ((70000, 3), 1)):
        x, g = (sample(shape, dtype, seed) for seed in (0, 1))
        check(x, g, LRNSpec(0.3, 0.75, 1.1, 2, 1), axis)
    check(*(sample((67, 700), dtype, i) for i in (0, 1)), LRNSpec(0.05, 0.6, 1.1, 20, 21), 0)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">i4"])
def test_integers_and_booleans_become_what_half_of_them_is(kind: str) -> None:
    x = (np.arange(2 * 7 * 3).reshape(2, 7, 3) % (2 if kind == "?" else 100)).astype(kind)
    kept = x.copy()
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    for axis, array in ((1, x), (0, x.T), (2, x[:, ::-1])):
        as_floats = array.astype(np.float64)
        y = forward(array, spec=spec, axis=axis)
        assert y.dtype == (array / 2).dtype == np.float64
        assert y.strides == (array / 2).strides
        assert np.array_equal(y, forward(as_floats, spec=spec, axis=axis))
        for verb in (vjp, jvp):
            assert np.array_equal(
                verb(array, array, spec=spec, axis=axis),
                verb(as_floats, as_floats, spec=spec, axis=axis),
            )
    assert np.array_equal(x, kept)


def test_large_integers_do_not_overflow() -> None:
    x = np.array([2**62, -(2**62), 5], np.int64)
    y = forward(x, spec=LRNSpec(1, 0.5, 0, 0, 0), axis=0)
    np.testing.assert_allclose(y, [1, -1, 1], rtol=1e-15)


@pytest.mark.parametrize("asked", ["f2", "f4", "f8", ml_dtypes.bfloat16, ">f4", float, "float32"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ml_dtypes.bfloat16, ">f8", "i4", "?"])
def test_dtype_asks_for_another(kind: Any, asked: Any) -> None:
    """Computed in the wider of the two, rounded once at the end."""
    x = (sample(SHAPE, np.dtype("f8")) * 3).astype(kind)
    spec = LRNSpec(0.3, 0.5, 1.1, 2, 1)
    y = forward(x, spec=spec, dtype=asked)
    assert y.dtype == np.dtype(asked).newbyteorder("=")
    name = "half" if y.dtype.itemsize == 2 else "forward"
    assert_close(y, reference.forward(x.astype("f8"), spec, 1), name)


def test_dtype_widens_before_squaring() -> None:
    x = np.array([60000, 50000], np.float16)
    y = forward(x, spec=LRNSpec(1, -0.5, 0, 1, 1), axis=0, dtype=np.float64)
    size = math.hypot(float(x[0]), float(x[1]))
    np.testing.assert_allclose(y, x.astype(float) * size, rtol=1e-15)
    assert np.isinf(forward(x, spec=LRNSpec(1, -0.5, 0, 1, 1), axis=0)).all()


@pytest.mark.parametrize("other", ["f2", "f4", "f8", "i4", ">f4", ml_dtypes.bfloat16])
def test_derivatives_of_mixed_types_come_back_in_that_of_x(dtype: Any, other: Any) -> None:
    x, g = sample(SHAPE, dtype, 0), (sample(SHAPE, np.dtype("f8"), 1) * 3).astype(other)
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    first = np.moveaxis(x, 1, 0), np.moveaxis(g, 1, 0)
    for verb, oracle_verb, measure in (
        (vjp, reference.vjp, exact.vjp),
        (jvp, reference.jvp, exact.jvp),
    ):
        y = verb(x, g, spec=spec)
        assert y.dtype == dtype
        size = np.moveaxis(measure(*first, spec)[1], 0, 1)
        assert_close(y, oracle_verb(x, g, spec, 1), "derivative", size, verb)


# Gradients of the parameters


def sizes_of_totals(x: Any, g: Any, spec: LRNSpec, axis: int) -> dict[str, float]:
    """The sums of the magnitudes of their terms."""
    signless = reference.parameter_gradients(np.abs(x), np.abs(g), spec, axis)
    sizes = {name: abs(value) for name, value in signless.items()}
    sizes["beta"] += float(np.sum(np.abs(g * reference.forward(x, spec, axis))))
    return sizes


def total(dtype: np.dtype[Any]) -> str:
    return "total" if dtype == np.float64 else "rounded total"


def test_gradients_are_named_after_what_was_given(dtype: np.dtype[Any]) -> None:
    x, g = (sample(SHAPE, dtype, seed) for seed in (0, 1))
    spec = LRNSpec(0.3, 0.75, 1.1, 2, 1)
    words: dict[str, Any] = {"beta": 0.75, "bias": 1.1, "channel_window_size": (2, 1)}
    dx, by_spec = vjp(x, g, spec=spec, parameters=True)
    same_dx, by_words = vjp(x, g, alpha=1.2, **words, parameters=True)
    assert list(by_spec) == ["scale", "beta", "bias"]
    assert list(by_words) == ["alpha", "beta", "bias"]
    assert {type(value) for value in (*by_spec.values(), *by_words.values())} == {float}
    assert by_words["alpha"] == by_spec["scale"] / 4
    assert (by_words["beta"], by_words["bias"]) == (by_spec["beta"], by_spec["bias"])
    assert np.array_equal(dx, same_dx)
    assert np.array_equal(dx, vjp(x, g, spec=spec))


@pytest.mark.parametrize("layout", ["C", "channels last", "strided", "big-endian", "odd stride"])
def test_gradients_of_parameters(
    isa: str, dtype: np.dtype[Any], layout: str, spec: LRNSpec
) -> None:
    for shape in (SHAPE, DEEP):
        x, g = (LAYOUTS[layout](sample(shape, dtype, seed)) for seed in (0, 1))
        high = x.astype(np.float64), g.astype(np.float64)
        for axis in range(4):
            got = vjp(x, g, spec=spec, axis=axis, parameters=True)[1]
            expected = reference.parameter_gradients(*high, spec, axis)
            sizes = sizes_of_totals(*high, spec, axis)
            for word, value in expected.items():
                assert_close(got[word], value, total(dtype), sizes[word], (spec, axis, word))


def test_gradients_of_parameters_over_many_elements(isa: str, dtype: np.dtype[Any]) -> None:
    spec = LRNSpec(0.3, 0.6, 1.1, 2, 1)
    for shape, axis in (((2, 11, 47, 53), 1), ((3, 41, 37, 19), 3)):
        x, g = (sample(shape, dtype, seed).astype(np.float64) for seed in (0, 1))
        got = vjp(x.astype(dtype), g.astype(dtype), spec=spec, axis=axis, parameters=True)[1]
        sizes = sizes_of_totals(x, g, spec, axis)
        for word, value in reference.parameter_gradients(x, g, spec, axis).items():
            assert_close(got[word], value, total(dtype), sizes[word], (shape, word))
