"""The accuracy promised of every result, on every instruction set.

The bounds are the promise; what was measured stands in csrc/README.md, and `make slow` widens
the sweep.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from whole_range import COEFFICIENTS, ends, forward_bound, inputs, same_bits

import lrnorm
from lrnorm import LRNSpec, _core

forward = lrnorm.local_response_norm

pytestmark = pytest.mark.usefixtures("isa")


DERIVATIVE_BOUND = 8.0


def check_forward(dtype: np.dtype[Any], width: int, beta: float, pixels: int) -> None:
    """`pixels` of 24 channels; of more channels as many elements."""
    channels = width + 20 if width > 30 else 24
    pixels = max(17, pixels * 24 // channels)
    for name, x in inputs(dtype, channels, pixels, seed=width).items():
        for scale, bias in COEFFICIENTS:
            spec = LRNSpec(scale / width, beta, bias, *ends(width))
            worst = exact.worst_ulp(forward(x, spec=spec, axis=0), exact.forward(x, spec))
            assert worst <= forward_bound(dtype, beta), (name, spec)


@pytest.mark.parametrize("beta", [0.1, 0.25, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("width", [1, 2, 5, 6, 15])
def test_forward_is_within_its_bound(dtype: Any, width: int, beta: float) -> None:
    check_forward(dtype, width, beta, pixels=37)


@pytest.mark.parametrize("beta", [0.6, 0.75, 3.0])
@pytest.mark.parametrize("width", [63, 255])
def test_wide_windows_are_within_the_same_bound(dtype: Any, width: int, beta: float) -> None:
    check_forward(dtype, width, beta, pixels=17)


@pytest.mark.parametrize("width", [5, 7, 11])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 2.0])
def test_where_float_sums_round_worst(beta: float, width: int) -> None:
    """Sums of equal squares: all of float32's roundings at their largest, in many elements."""
    x = np.random.default_rng(5).uniform(0.9, 1.1, (40, 1 << 14)).astype(np.float32)
    for scale, bias in ((1, 0), (0.2, 0.1), (7, 2), (0.3, 1)):
        spec = LRNSpec(scale, beta, bias, *ends(width))
        worst = exact.worst_ulp(forward(x, spec=spec, axis=0), exact.forward(x, spec))
        assert worst <= forward_bound(x.dtype, beta), spec


# Each power with a chain of its own, and two of the general one; windows added afresh, at both
# sides of the limit, and in blocks.
@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("width", [1, 3, 5, 6, 8, 12, 255])
def test_forward_over_many_elements(dtype: Any, width: int, beta: float) -> None:
    check_forward(dtype, width, beta, pixels=2000)


def check_derivatives(dtype: np.dtype[Any], width: int, beta: float, pixels: int) -> None:
    """`pixels` of 24 channels; of more channels as many elements."""
    channels = width + 20 if width > 30 else 24
    pixels = max(17, pixels * 24 // channels)
    others = inputs(dtype, channels, pixels, seed=1000 + width)
    for name, x in inputs(dtype, channels, pixels, seed=width).items():
        g = others[name] if name in ("by pixel", "by element", "sparse") else others["normal"]
        for scale, bias in COEFFICIENTS:
            spec = LRNSpec(scale / width, beta, bias, *ends(width))
            for verb, reference in (
                (lrnorm.local_response_norm_vjp, exact.vjp),
                (lrnorm.local_response_norm_jvp, exact.jvp),
            ):
                true, size = reference(x, g, spec)
                worst = exact.worst_ulp(verb(x, g, spec=spec, axis=0), true, size)
                assert worst <= DERIVATIVE_BOUND, (verb.__name__, name, spec)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.75, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("width", [1, 2, 5, 6, 63])
def test_derivatives_are_within_their_bound(dtype: Any, width: int, beta: float) -> None:
    check_derivatives(dtype, width, beta, pixels=19)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.6, 0.75, 1.0, 2.0])
@pytest.mark.parametrize("width", [2, 5, 6, 255])
def test_derivatives_over_many_elements(dtype: Any, width: int, beta: float) -> None:
    check_derivatives(dtype, width, beta, pixels=500)


@pytest.mark.parametrize(
    ("dtype", "x", "spec", "expected"),
    [
        (np.float32, 1e20, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (np.float32, 1e-30, LRNSpec(0, 3, 1e-20, 0, 0), 1e30),
        (np.float64, 1e300, LRNSpec(1, 0.75, 1, 0, 0), 1e-150),
        (np.float64, 1e200, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (ml_dtypes.bfloat16, 1e30, LRNSpec(1, 0.5, 1, 0, 0), 1.0),
        (np.float32, 1.5, LRNSpec(1e60, 0.5, 0, 0, 0), 1e-30),
        (np.float64, 1.0, LRNSpec(1, 400, 0.5, 0, 0), 1.5**-400),
    ],
)
def test_squares_and_powers_beyond_the_type(
    dtype: Any, x: float, spec: LRNSpec, expected: float
) -> None:
    y = forward(np.full(3, x, dtype), spec=spec, axis=0)
    tolerance = 1e-2 if np.dtype(dtype).itemsize == 2 else 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(y.astype(np.float64), expected, rtol=tolerance)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("width", [1, 3, 5, 8, 31])
@pytest.mark.parametrize("beta", [0.5, 0.6, 2.0])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, "largest"])
def test_poison_stays_in_its_windows(
    dtype: Any, poison: Any, beta: float, width: int, layout: str
) -> None:
    """Every output whose window is clean keeps its bits, in value and in both derivatives."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 19)).astype(dtype)
    g = rng.standard_normal((40, 19)).astype(dtype)
    bad = x.copy()
    bad[17, 5] = ml_dtypes.finfo(dtype).max if poison == "largest" else poison
    axis = 0
    if layout == "last":
        x, g, bad, axis = (*(np.ascontiguousarray(a.T) for a in (x, g, bad)), 1)
    before, after = ends(width)
    spec = LRNSpec(1.0, beta, 1.0, before, after)
    for verb, low, high in (
        (lambda a: forward(a, spec=spec, axis=axis), after, before),
        (lambda a: lrnorm.local_response_norm_jvp(a, g, spec=spec, axis=axis), after, before),
        (
            lambda a: lrnorm.local_response_norm_vjp(a, g, spec=spec, axis=axis),
            before + after,
            before + after,
        ),
    ):
        clean, spoiled = (np.moveaxis(verb(a), axis, 0) for a in (x, bad))
        outside = np.ones(clean.shape, bool)
        outside[max(0, 17 - low) : 17 + high + 1, 5] = False
        assert same_bits(clean[outside], spoiled[outside])
        if poison is np.nan:
            assert np.isnan(spoiled[17, 5].astype(float))


def test_infinity_divides_its_neighbours_away(dtype: Any) -> None:
    x = np.ones((7, 3), dtype)
    x[3] = np.inf
    y = forward(x, spec=LRNSpec(1, 0.5, 1, 1, 1), axis=0).astype(float)
    assert np.isnan(y[3]).all()  # inf / inf
    assert (y[[2, 4]] == 0).all()
    assert np.isfinite(y[[0, 1, 5, 6]]).all()


@pytest.mark.parametrize("width", [3, 5, 6, 63])
def test_one_large_activation_spoils_no_later_sum(width: int) -> None:
    """A running sum that subtracts what leaves it would keep the rounding of 1e14."""
    x = np.full((200, 40), 0.5, np.float32)
    x[20] = 1e7
    spec = LRNSpec(1e-4 / width, 0.75, 1.0, *ends(width))
    y = forward(x, spec=spec, axis=0)
    assert exact.worst_ulp(y, exact.forward(x, spec)) <= forward_bound(y.dtype, 0.75)


@pytest.mark.parametrize("verb", ["forward", "vjp", "jvp"])
@pytest.mark.parametrize("ends_", [ends(5), ends(31), (None, None)])
@pytest.mark.parametrize("axis", [1, 3])
def test_bits_do_not_depend_on_threads_or_batch(
    dtype: Any, verb: str, ends_: Any, axis: int
) -> None:
    rng = np.random.default_rng(4)
    shape = (6, 33, 21, 29) if axis == 1 else (6, 21, 29, 33)
    x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    x[2] *= dtype.type(1000)
    spec = LRNSpec(0.3, 0.6, 0.9, *ends_)

    def run(a: Any, b: Any) -> Any:
        if verb == "forward":
            return forward(a, spec=spec, axis=axis)
        return getattr(lrnorm, f"local_response_norm_{verb}")(a, b, spec=spec, axis=axis)

    threads = _core.thread_count()
    try:
        results = []
        for count in (1, 2, 7):
            lrnorm.set_num_threads(count)
            results.append(run(x, g))
        assert all(same_bits(results[0], other) for other in results[1:])
        for i in range(len(x)):
            alone = run(x[i : i + 1], g[i : i + 1])
            assert same_bits(alone[0], results[0][i])
    finally:
        lrnorm.set_num_threads(threads)


def test_parameter_gradients_have_the_same_bits_for_any_number_of_threads(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    x, g = (rng.standard_normal((3, 33, 61, 29)).astype(dtype) for _ in range(2))
    threads = _core.thread_count()
    try:
        results = []
        for count in (1, 2, 7):
            lrnorm.set_num_threads(count)
            results.append(lrnorm.local_response_norm_vjp(x, g, beta=0.6, parameters=True)[1])
        assert results[0] == results[1] == results[2]
    finally:
        lrnorm.set_num_threads(threads)


@pytest.mark.parametrize("pixels", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65])
@pytest.mark.parametrize("layout", ["first", "last", "strided"])
def test_edges_of_vectors(dtype: Any, pixels: int, layout: str) -> None:
    """Tails go through the same code: each pixel has the bits it has alone."""
    rng = np.random.default_rng(pixels)
    for channels in (1, 2, 5, 16, 17, 33):
        x = rng.standard_normal((channels, pixels)).astype(dtype)
        for spec in (LRNSpec(0.4, 0.75, 0.8, 2, 1), LRNSpec(0.4, 1.3, 0.8, 1, 7)):
            alone = np.concatenate(
                [forward(np.tile(x[:, p : p + 1], (1, 64)), spec=spec, axis=0)[:, :1]
                 for p in range(min(pixels, 4))],
                axis=1,
            )  # fmt: skip
            if layout == "first":
                y = forward(x, spec=spec, axis=0)
            elif layout == "last":
                y = forward(np.ascontiguousarray(x.T), spec=spec, axis=1).T
            else:
                wide = np.zeros((channels, 3, pixels, 2), dtype)
                wide[:, 1, :, 1] = x
                y = forward(wide[:, 1, :, 1], spec=spec, axis=0)
            assert same_bits(np.ascontiguousarray(y[:, :4]), np.ascontiguousarray(alone))


@pytest.fixture
def flush_to_zero(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Sets this thread's mode, as a library built with -ffast-math does when it is loaded."""
    compiler = shutil.which("g++")
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs a compiler, and a processor whose mode we know how to set")
    source, library = tmp_path / "mode.cpp", tmp_path / "mode.so"
    source.write_text(
        "#include <immintrin.h>\n"
        'extern "C" void set(int on) { _mm_setcsr((_mm_getcsr() & ~0x8040) | (on ? 0x8040 : 0)); }'
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    set_mode = ctypes.CDLL(str(library)).set
    yield set_mode
    set_mode(0)


def test_flush_to_zero_set_by_others_is_put_aside(flush_to_zero: Any) -> None:
    """A thread in flush-to-zero mode computes with subnormals, and stays in its mode."""
    x = np.full((3, 20), 1e-40, np.float32)
    spec = LRNSpec(1.0, 0.5, 1.0, 1, 1)
    expected = forward(x, spec=spec, axis=0)
    assert (expected == np.float32(1e-40)).all()
    flush_to_zero(1)
    result = forward(x, spec=spec, axis=0)
    product = np.full(8, 1e-30, np.float32) * np.float32(1e-10)
    flush_to_zero(0)
    assert same_bits(result, expected)
    assert (product == 0).all()


@pytest.mark.parametrize("verb", [lrnorm.local_response_norm_vjp, lrnorm.local_response_norm_jvp])
def test_gradients_of_every_size_pass_through(dtype: Any, verb: Any) -> None:
    """Tiny and huge gradients beside each other: nothing is lost to the range of float."""
    rng = np.random.default_rng(8)
    info = ml_dtypes.finfo(dtype)
    x = rng.standard_normal((30, 33)).astype(dtype)
    exponent = rng.uniform(np.log2(float(info.tiny)), np.log2(float(info.max)) - 3, x.shape)
    g = (np.exp2(exponent) * rng.choice([-1, 1], x.shape)).astype(dtype)
    spec = LRNSpec(0.7, 0.75, 0.9, 2, 2)
    true, size = (exact.vjp if verb is lrnorm.local_response_norm_vjp else exact.jvp)(x, g, spec)
    assert exact.worst_ulp(verb(x, g, spec=spec, axis=0), true, size) <= DERIVATIVE_BOUND


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, -1.0, 0.3])
def test_opposed_signs_follow_ieee(dtype: Any, beta: float) -> None:
    """D of any sign and zero: what the formula gives in the computing type, and no warning."""
    x = np.array([[1.0, 2.0, 0.0, 3.0, 0.5]] * 2, dtype).T
    for scale, bias in ((-1.0, 4.0), (-1.0, 0.5), (1.0, -4.0), (1.0, 0.0), (0.0, 0.0)):
        spec = LRNSpec(scale, beta, bias, 0, 0)
        y = forward(x, spec=spec, axis=0).astype(np.float64)
        np.testing.assert_allclose(
            y, exact.forward(x, spec).astype(np.float64), rtol=1e-2 if dtype.itemsize == 2 else 1e-5
        )


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize(("scale", "beta"), [(0.0, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_where_no_energy_enters_nothing_is_spoiled(
    dtype: Any, scale: float, beta: float, layout: str
) -> None:
    """scale = 0 or beta = 0: the largest number, and an infinite gradient, stay where they are."""
    shape, axis = ((20, 19), 0) if layout == "first" else ((19, 20), 1)
    spec = LRNSpec(scale, beta, 1.0, 2, 2)
    x = np.ones(shape, dtype)
    x[7, 8] = ml_dtypes.finfo(dtype).max
    assert same_bits(forward(x, spec=spec, axis=axis), x)
    g = np.ones(shape, dtype)
    assert same_bits(lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=axis), g)
    assert same_bits(lrnorm.local_response_norm_jvp(x, g, spec=spec, axis=axis), g)
    g[7, 8] = np.inf
    ones = np.ones(shape, dtype)
    assert same_bits(lrnorm.local_response_norm_vjp(ones, g, spec=spec, axis=axis), g)


@pytest.mark.parametrize("radius", [2, 7])
@pytest.mark.parametrize("beta", [0.6, 0.75, 2.0])
@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_every_nan_of_16_bits_gives_nan(kind: Any, beta: float, radius: int) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(kind)
    x = every[np.isnan(every.astype(np.float32))].reshape(1, -1).repeat(3, axis=0)
    spec = LRNSpec(0.4, beta, 1.0, radius, radius)
    results = [forward(x, spec=spec, axis=0)]
    for verb in (lrnorm.local_response_norm_vjp, lrnorm.local_response_norm_jvp):
        results.append(verb(x, np.ones_like(x), spec=spec, axis=0))
    for result in results:
        assert np.isnan(result.astype(np.float32)).all()


def test_windows_of_zeros_without_bias_are_nan(dtype: Any) -> None:
    """0 · ∞ by the formula; nan reaches the gradients of the windows' channels and no others."""
    x = np.zeros((30, 5), dtype)
    x[20:] = 1
    spec = LRNSpec(1.0, 0.75, 0.0, 2, 2)
    y = forward(x, spec=spec, axis=0).astype(float)
    assert np.isnan(y[:18]).all()
    assert np.isfinite(y[18:]).all()
    dx = lrnorm.local_response_norm_vjp(x, np.ones_like(x), spec=spec, axis=0).astype(float)
    assert not np.isfinite(dx[:18]).any()
    assert np.isfinite(dx[22:]).all()
