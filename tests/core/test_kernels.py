"""Kernels beside the common one: wide windows, steep powers, whole axes, rare values, short rows.

Each result is within the promised bound of the exact formula, has the bits that the same element
has elsewhere, and spoils no neighbour.
"""

from __future__ import annotations

from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from whole_range import ends, forward_bound, same_bits

import lrnorm
from lrnorm import LRNSpec, _core

forward = lrnorm.local_response_norm
DERIVATIVES = {"vjp": lrnorm.local_response_norm_vjp, "jvp": lrnorm.local_response_norm_jvp}
LANE_EDGES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65]
ALL_POWERS = [0.25, 0.5, 0.6, 0.75, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.9, 3.0, 4.0]

pytestmark = pytest.mark.usefixtures("isa")


def check(x: Any, g: Any, spec: LRNSpec, layout: str = "first", verbs: Any = DERIVATIVES) -> None:
    """Forward and derivatives of a (channels, pixels) array, against long double."""
    axis = 0
    a, b = x, g
    if layout == "last":
        a, b, axis = np.ascontiguousarray(x.T), np.ascontiguousarray(g.T), 1
    y = np.moveaxis(forward(a, spec=spec, axis=axis), axis, 0)
    worst = exact.worst_ulp(y, exact.forward(x, spec))
    assert worst <= forward_bound(x.dtype, spec.beta), ("forward", spec, x.shape)
    for verb in verbs:
        true, size = getattr(exact, verb)(x, g, spec)
        result = np.moveaxis(DERIVATIVES[verb](a, b, spec=spec, axis=axis), axis, 0)
        assert exact.worst_ulp(result, true, size) <= 8, (verb, spec, x.shape)


def pair(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("pixels", LANE_EDGES)
def test_wide_windows_at_lane_edges(dtype: Any, pixels: int, layout: str) -> None:
    for width, channels in ((6, 9), (7, 4), (8, 33), (9, 20), (31, 40), (40, 90)):
        x, g = pair((channels, pixels), dtype, width)
        check(x, g, LRNSpec(0.7 / width, 0.75, 0.9, *ends(width)), layout)


@pytest.mark.parametrize("beta", ALL_POWERS)
@pytest.mark.parametrize("width", [1, 4, 5, 7])
def test_every_power(beta: float, width: int) -> None:
    x, g = pair((21, 600), np.float32, width)
    x *= np.exp2(np.random.default_rng(1).uniform(-12, 12, (1, 600)).astype(np.float32))
    for scale, bias in ((1.0, 1.0), (0.3, 0.0), (1e-4, 2.0)):
        check(x, g, LRNSpec(scale / width, beta, bias, *ends(width)))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("pixels", LANE_EDGES)
def test_a_whole_axis_at_lane_edges(dtype: Any, pixels: int, layout: str) -> None:
    for channels in (8, 9, 16, 31, 33, 65, 130):
        x, g = pair((channels, pixels), dtype, channels)
        check(x, g, LRNSpec(1 / channels, 0.5, 1e-3, None, None), layout)


@pytest.mark.parametrize("verb", ["forward", "vjp", "jvp"])
@pytest.mark.parametrize("beta", [0.5, 0.6, 2.0])
def test_a_whole_axis_is_a_window_of_any_greater_width(dtype: Any, beta: float, verb: str) -> None:
    x, g = pair((2, 40, 3, 5), dtype)

    def run(before: int | None, after: int | None) -> Any:
        spec = LRNSpec(0.1, beta, 1.0, before, after)
        return forward(x, spec=spec) if verb == "forward" else DERIVATIVES[verb](x, g, spec=spec)

    assert same_bits(run(None, None), run(39, 39))
    assert same_bits(run(None, None), run(1000, 10**12))


def gradients(x: Any, g: Any, spec: LRNSpec) -> dict[str, tuple[float, float]]:
    """By each number: the derivative, and the sum of the magnitudes of its terms."""
    x, g = x.astype(np.longdouble), g.astype(np.longdouble)
    energy = exact._energy(x, spec, 0)[0]
    sums = (energy - spec.bias) / np.longdouble(spec.scale)
    slope = -spec.beta * g * x * energy ** (-np.longdouble(spec.beta) - 1)
    by_beta = -g * x * energy ** -np.longdouble(spec.beta) * np.log(energy)
    terms = {"scale": slope * sums, "beta": by_beta, "bias": slope}
    return {name: (float(t.sum()), float(np.abs(t).sum())) for name, t in terms.items()}


@pytest.mark.parametrize("ends_", [(2, 2), (0, 1), (7, 7), (None, None)])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.3, 2.0])
def test_parameter_gradients(dtype: Any, beta: float, ends_: Any) -> None:
    x, g = pair((24, 333), dtype)
    spec = LRNSpec(0.2, beta, 0.9, *ends_)
    _, found = lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=0, parameters=True)
    tolerance = 2.0**-45 if dtype == np.float64 else 2.0**-30
    for name, (true, size) in gradients(x, g, spec).items():
        assert abs(found[name] - true) <= tolerance * size, name


@pytest.mark.parametrize("ends_", [(2, 2), (7, 7), (None, None)])
@pytest.mark.parametrize("axis", [1, 3])
def test_dx_and_parameter_gradients_together_are_each_alone(
    dtype: Any, axis: int, ends_: Any
) -> None:
    shape = (3, 33, 17, 29) if axis == 1 else (3, 17, 29, 33)
    x, g = pair(shape, dtype)
    x[0] *= dtype.type(100)
    spec = LRNSpec(0.3, 0.75, 0.9, *ends_)
    dx, found = lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=axis, parameters=True)
    assert same_bits(dx, lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=axis))
    assert found == lrnorm.numpy.parameter_gradients(x, g, spec, axis)


@pytest.mark.parametrize("ends_", [(2, 2), (3, 4), (15, 15), (None, None)])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 1.1, 1.5, 3.0])
def test_rare_values_beside_ordinary_ones(dtype: Any, beta: float, ends_: Any) -> None:
    """Huge, tiny and zero pixels are right, and change no bit of the ordinary ones."""
    x, g = pair((40, 65), dtype)
    info = ml_dtypes.finfo(dtype)
    spoiled = x.copy()
    root = 2.0 ** int(np.log2(float(info.max)) / 2 + 2)  # whose square leaves the type
    spoiled[:, 3] *= dtype.type(root)
    spoiled[:, 8] *= dtype.type(min(root * root / 64, float(info.max) / 64))
    spoiled[:, 21] *= dtype.type(1 / root)
    spoiled[:, 64] = 0
    others = np.setdiff1d(np.arange(65), [3, 8, 21, 64])
    for bias in (1.0, 0.0):
        spec = LRNSpec(0.2, beta, bias, *ends_)
        for verb in ("forward", "vjp", "jvp"):
            with np.errstate(all="ignore"):
                if verb == "forward":
                    clean, result = (forward(a, spec=spec, axis=0) for a in (x, spoiled))
                    true, size = exact.forward(spoiled, spec), None
                else:
                    clean, result = (
                        DERIVATIVES[verb](a, g, spec=spec, axis=0) for a in (x, spoiled)
                    )
                    true, size = getattr(exact, verb)(spoiled, g, spec)
            assert same_bits(clean[:, others], result[:, others])
            if bias == 0:
                assert np.isnan(result[:, 64].astype(float)).all()
            kept = np.arange(64 if bias == 0 else 65)
            limit = forward_bound(dtype, beta) if verb == "forward" else 8
            worst = exact.worst_ulp(
                result[:, kept], true[:, kept], None if size is None else size[:, kept]
            )
            assert worst <= limit, (verb, spec)


@pytest.mark.parametrize("ends_", [(2, 2), (7, 7), (None, None)])
@pytest.mark.parametrize("size", ["largest", "smallest"])
def test_arrays_of_rare_values(dtype: Any, size: str, ends_: Any) -> None:
    rng = np.random.default_rng(2)
    info = ml_dtypes.finfo(dtype)
    x = (
        rng.uniform(0.1, 1, (20, 33)) * float(info.max if size == "largest" else info.tiny)
    ).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    for beta in (0.5, 0.75, 2.0):
        for bias in (1.0, 0.0):
            check(x, g, LRNSpec(0.2, beta, bias, *ends_))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_pixel_of_a_whole_axis(
    dtype: Any, poison: float, layout: str
) -> None:
    x, g = pair((20, 19), dtype)
    bad = x.copy()
    bad[7, 5] = poison
    axis = 0
    if layout == "last":
        x, g, bad, axis = (*(np.ascontiguousarray(a.T) for a in (x, g, bad)), 1)
    spec = LRNSpec(0.1, 0.5, 1.0, None, None)
    for verb in (
        lambda a: forward(a, spec=spec, axis=axis),
        lambda a: lrnorm.local_response_norm_vjp(a, g, spec=spec, axis=axis),
        lambda a: lrnorm.local_response_norm_jvp(a, g, spec=spec, axis=axis),
    ):
        clean, spoiled = (np.moveaxis(verb(a), axis, 0) for a in (x, bad))
        outside = np.arange(19) != 5
        assert same_bits(clean[:, outside], spoiled[:, outside])
        assert np.isnan(spoiled[7, 5].astype(float))


@pytest.mark.parametrize("ends_", [(2, 2), (0, 2), (7, 7), (None, None)])
@pytest.mark.parametrize("beta", [0.5, 1.5])
@pytest.mark.parametrize("bias", [1.0, 0.0])
def test_in_place_has_the_same_bits(dtype: Any, bias: float, beta: float, ends_: Any) -> None:
    x, _ = pair((2, 20, 9, 11), dtype)
    x[0, :, 3, 4] = 0
    x[1, :, 3, 4] = ml_dtypes.finfo(dtype).max
    for axis, a in ((1, x), (3, np.ascontiguousarray(np.moveaxis(x, 1, 3)))):
        spec = LRNSpec(0.2, beta, bias, *ends_)
        y = forward(a, spec=spec, axis=axis)
        own = a.copy()
        assert forward(own, spec=spec, axis=axis, out=own) is own
        assert same_bits(y, own)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11, 12])
@pytest.mark.parametrize("ends_", [(2, 2), (0, 1), (1, 3)])
def test_short_rows_have_the_bits_of_long_ones(dtype: Any, ends_: Any, size: int) -> None:
    x, _ = pair((3, 14, size, size), dtype)
    x[1, 5:9, 0, 0] = 0
    spec = LRNSpec(0.4, 0.75, 0.0, *ends_)
    alone = forward(x, spec=spec)
    rows = np.ascontiguousarray(np.moveaxis(x, 1, 0).reshape(14, -1))
    joined = forward(np.tile(rows, (1, 40)), spec=spec, axis=0)[:, : rows.shape[1]]
    assert same_bits(np.moveaxis(alone, 1, 0).reshape(14, -1), joined)


@pytest.mark.parametrize("offset", [0, 1, 9])
@pytest.mark.parametrize("axis", [1, 3])
def test_outputs_beyond_the_cache(axis: int, offset: int) -> None:
    """Stores around the cache leave the bits of stores through it, wherever the output begins."""
    shape = (2, 24, 300, 401) if axis == 1 else (2, 300, 401, 24)  # 23 MB
    x, _ = pair(shape, np.float32)
    memory = np.full(x.size + 64, 7.0, np.float32)
    begin = -memory.ctypes.data // 4 % 16 + offset  # elements behind a line of the cache
    out = memory[begin : begin + x.size].reshape(shape)
    for spec in (
        LRNSpec(0.2, 0.75, 1.0, 2, 2),
        LRNSpec(0.1, 1.5, 1.0, 4, 4),
        LRNSpec(0.05, 0.5, 1.0, None, None),
    ):
        forward(x, spec=spec, axis=axis, out=out)
        assert same_bits(out, forward(x, spec=spec, axis=axis))  # through it, as that memory is new
        assert (memory[:begin] == 7).all()
        assert (memory[begin + x.size :] == 7).all()


@pytest.mark.parametrize("ends_", [(4, 4), (3, 2), (15, 15), (20, 11), (0, 63)])
def test_a_region_that_begins_at_the_period_has_the_bits_of_the_whole_axis(ends_: Any) -> None:
    """One square of 2**54 per window and a bias of -2**54: D is what the order of sums leaves."""
    before, after = ends_
    numbers = (1.0, 0.75, -(2.0**54), before, after)
    period = _core.forward_period(4, *numbers)
    x = np.ones((160, 200), np.float32)
    place = np.random.default_rng(0).integers(0, 70, 200)
    for channel in (place, place + 70):
        x[channel, np.arange(200)] = 2.0**27

    def results(first: int) -> Any:
        part = np.ascontiguousarray(x[first:])
        y = np.empty_like(part)
        assert _core.forward(part, y, *numbers, 0)
        return y[before:]

    whole = results(0)
    for first in range(period, 80, period):
        np.testing.assert_array_equal(results(first), whole[first:])
    others = [results(first) for first in range(1, 80) if first % period]
    firsts = [first for first in range(1, 80) if first % period]
    assert any((y != whole[f:]).any() for y, f in zip(others, firsts, strict=True))
