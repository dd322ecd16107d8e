"""Windows over several axes in the core: accuracy, layouts, threads, and who reaches whom."""

from __future__ import annotations

import math
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS
from whole_range import COEFFICIENTS, forward_bound, inputs

import lrnorm
from lrnorm import LRNSpec, _core

DTYPES = [np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)]
ENDS = st.one_of(st.none(), st.integers(0, 4), st.sampled_from([7, 11, 40]))


@st.composite
def problems(draw: Any) -> tuple[Any, Any, LRNSpec, tuple[int, ...]]:
    """Two arrays of one type in any memory order, a spec, and the axes of its box."""
    rank = draw(st.integers(2, 4))
    sizes = draw(
        st.lists(st.sampled_from([1, 2, 3, 5, 8, 9, 17, 33]), min_size=rank, max_size=rank)
    )
    count = draw(st.integers(2, rank))
    axes = tuple(draw(st.permutations(range(rank)))[:count])
    before, after = (tuple(draw(st.lists(ENDS, min_size=count, max_size=count))) for _ in range(2))
    beta = draw(st.sampled_from([0.25, 0.5, 0.75, 1.0, 2.0, 0.6, 1.7]))
    spec = LRNSpec(draw(st.floats(0.01, 1.5)), beta, draw(st.floats(0.5, 1.5)), before, after)
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = draw(st.permutations(range(rank)))
    steps = draw(st.sampled_from([1, 2, -1]))

    def array() -> Any:
        sizes_in_memory = [sizes[axis] * abs(steps) for axis in order]
        laid = rng.normal(size=sizes_in_memory).astype(dtype)
        return laid[(slice(None, None, steps),) * rank].transpose(np.argsort(order))

    return array(), array(), spec, axes


@settings(deadline=None, max_examples=150, derandomize=True)
@given(problem=problems())
def test_boxes_hold_the_bounds(problem: Any) -> None:
    x, g, spec, axes = problem
    before = x.copy()
    y = lrnorm.local_response_norm(x, spec=spec, axis=axes)
    bound = 1 if x.dtype.itemsize == 2 else max(4, 3 + 2 * spec.beta)
    assert exact.worst_ulp(y, exact.forward(x, spec, axes)) <= bound
    for verb, name in (("vjp", "vjp"), ("jvp", "jvp")):
        result = getattr(lrnorm, f"local_response_norm_{name}")(x, g, spec=spec, axis=axes)
        assert exact.worst_ulp(result, *getattr(exact, verb)(x, g, spec, axes)) <= 8
    assert np.array_equal(x, before)
    # The order of the sums, and with it the last bits, depends on the layout.
    place = x.copy(order="K")
    y = lrnorm.local_response_norm(place, spec=spec, axis=axes, out=np.empty_like(place))
    assert lrnorm.local_response_norm(place, spec=spec, axis=axes, out=place) is place
    assert np.array_equal(place, y)


# Short boxes, runs of lanes, and lines wider than runs serve.
SIZES = [((1, 1), (1, 1)), ((2, 3), (2, 0)), ((4, 1), (1, 30)), ((3, 40), (9, 39))]


@pytest.mark.parametrize("beta", [0.5, 0.6, 0.75, 1.0])
@pytest.mark.parametrize("ends", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_boxes_over_the_whole_range(dtype: Any, ends: Any, beta: float, isa: str) -> None:
    for name, x in inputs(dtype, 19, 90, seed=7).items():
        for scale, bias in COEFFICIENTS:
            spec = LRNSpec(scale / 9, beta, bias, *ends)
            y = lrnorm.local_response_norm(x, spec=spec, axis=(0, 1))
            worst = exact.worst_ulp(y, exact.forward(x, spec, (0, 1)))
            assert worst <= forward_bound(dtype, beta), (name, spec)


@pytest.mark.parametrize("beta", [0.6, 0.75])
@pytest.mark.parametrize("ends", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_box_derivatives_over_the_whole_range(dtype: Any, ends: Any, beta: float, isa: str) -> None:
    others = inputs(dtype, 11, 90, seed=8)
    for name, x in inputs(dtype, 11, 90, seed=7).items():
        g = others[name] if name in ("by pixel", "by element", "sparse") else others["normal"]
        for scale, bias in COEFFICIENTS:
            spec = LRNSpec(scale / 9, beta, bias, *ends)
            for verb, reference in (
                (lrnorm.local_response_norm_vjp, exact.vjp),
                (lrnorm.local_response_norm_jvp, exact.jvp),
            ):
                true, size = reference(x, g, spec, (0, 1))
                worst = exact.worst_ulp(verb(x, g, spec=spec, axis=(0, 1)), true, size)
                assert worst <= 8, (verb.__name__, name, spec)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_in_any_layout(layout: str, isa: str) -> None:
    values = np.random.default_rng(3).normal(size=(2, 7, 6, 19)).astype(np.float32)
    x = LAYOUTS[layout](values)
    for ends, axes in (
        (((1, 1), (1, 2)), (2, 3)),
        (((5, 0), (4, 6)), (3, 1)),
        (((1,) * 3,) * 2, (1, 2, 3)),
    ):
        spec = LRNSpec(0.2, 0.75, 1.0, *ends)
        y = lrnorm.local_response_norm(x, spec=spec, axis=axes)
        assert exact.worst_ulp(y, exact.forward(values[: len(x)], spec, axes)) <= 4.5


def test_a_window_over_one_index_is_no_axis_of_the_box() -> None:
    x = np.random.default_rng(4).normal(size=(3, 12, 5)).astype(np.float32)
    along = lrnorm.local_response_norm(x, spec=LRNSpec(0.2, 0.75, 1.0, 2, 1), axis=1)
    box = LRNSpec(0.2, 0.75, 1.0, (0, 2), (0, 1))
    assert along.tobytes() == lrnorm.local_response_norm(x, spec=box, axis=(2, 1)).tobytes()


@pytest.mark.parametrize("ends", [((1, 4), (2, 9)), ((1, 2), (2, 0))])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 1e-30, 1e300])
def test_a_value_reaches_its_own_boxes_alone(kind: Any, value: float, ends: Any) -> None:
    spec = LRNSpec(0.7, 0.5, 1.0, *ends)
    (up, left), (down, right) = ends
    rng = np.random.default_rng(5)
    x, g = (rng.normal(size=(2, 15, 40)).astype(kind) for _ in range(2))
    with np.errstate(over="ignore"):
        changed = x.copy()
        changed[1, 6, 20] = value
    ways = {
        "forward": lambda v: lrnorm.local_response_norm(v, spec=spec, axis=(1, 2)),
        "jvp": lambda v: lrnorm.local_response_norm_jvp(v, g, spec=spec, axis=(1, 2)),
        "vjp": lambda v: lrnorm.local_response_norm_vjp(v, g, spec=spec, axis=(1, 2)),
    }
    for name, way in ways.items():
        y, z = way(x), way(changed)
        rows, columns = slice(6 - down, 7 + up), slice(20 - right, 21 + left)
        if name == "vjp":  # by way of another's D it reaches a box of boxes
            height, width = up + down, left + right
            rows, columns = slice(6 - height, 7 + height), slice(20 - width, 21 + width)
        outside = np.ones(x.shape, bool)
        outside[1, rows, columns] = False
        assert y[outside].tobytes() == z[outside].tobytes(), name
        if name == "forward" and math.isfinite(value) and np.isfinite(changed).all():
            assert exact.worst_ulp(z, exact.forward(changed, spec, (1, 2))) <= 4


def test_any_number_of_threads_gives_the_same_bits(threads: None) -> None:
    rng = np.random.default_rng(6)
    x, g = (rng.normal(size=(300, 260)).astype(np.float32) for _ in range(2))
    for spec in (LRNSpec(0.2, 0.75, 1.0, (1, 1), (1, 1)), LRNSpec(0.01, 0.6, 1.0, (9, 3), (4, 20))):
        results = []
        for count in (1, 2, 5):
            _core.set_thread_count(count)
            y = lrnorm.local_response_norm(x, spec=spec, axis=(0, 1))
            dx, by = lrnorm.local_response_norm_vjp(x, g, spec=spec, axis=(0, 1), parameters=True)
            results.append((y.tobytes(), dx.tobytes(), by))
        assert results[0] == results[1] == results[2]


def test_boxes_of_zeros_with_bias_0() -> None:
    x = np.zeros((6, 40), np.float32)
    x[0, 0] = 3.0
    spec = LRNSpec(1.0, 0.5, 0.0, (1, 1), (1, 1))
    y = lrnorm.local_response_norm(x, spec=spec, axis=(0, 1))
    expected = np.full_like(x, np.nan)
    expected[:2, :2] = 0
    expected[0, 0] = 1
    np.testing.assert_array_equal(y, expected)


def test_hand_worked_values() -> None:
    x = np.arange(1.0, 10.0).reshape(3, 3)
    y = lrnorm.local_response_norm(x, alpha=9, beta=1, channel_window_size=1, axis=(0, 1))
    assert (y[0, 0], y[1, 1]) == (1 / 47, 5 / 286)
