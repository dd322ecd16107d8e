"""The shapes and parameters that other implementations test themselves with.

Theirs often have alpha = 1e-4, which hides nearly every bug: each is run with alpha near 1 too.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import exact
import ml_dtypes
import numpy as np
import pytest
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import LRNSpec
from lrnorm._spec import reference as reference

# What each framework's own numbers are, n the width of its window.


def leaning_back(n: int, alpha: float, beta: float, k: float) -> LRNSpec:
    return LRNSpec(alpha / n, beta, k, n // 2, (n - 1) // 2)


def leaning_ahead(n: int, alpha: float, beta: float, k: float) -> LRNSpec:
    return LRNSpec(alpha / n, beta, k, (n - 1) // 2, n // 2)


def narrowed(n: int, alpha: float, beta: float, k: float) -> LRNSpec:
    return LRNSpec(alpha / n, beta, k, (n - 1) // 2, (n - 1) // 2)


def widened(n: int, alpha: float, beta: float, k: float) -> LRNSpec:
    return LRNSpec(alpha / n, beta, k, n // 2, n // 2)


def matconvnet(n: int, kappa: float, alpha: float, beta: float) -> LRNSpec:
    return LRNSpec(alpha, beta, kappa, (n - 1) // 2, n // 2)


ONEDNN = (1 / 8192, 0.75, 1.0)
Case = tuple[str, tuple[int, ...], int, LRNSpec]


def cases() -> list[Case]:
    rows: list[Case] = []

    def add(peer: str, shape: tuple[int, ...], axis: int, spec: LRNSpec) -> None:
        rows.append((peer, shape, axis, spec))
        near_one = dataclasses.replace(spec, scale=0.3)
        rows.append((f"{peer}, alpha near 1", shape, axis, near_one))

    for n in (5, 15):
        add("caffe", (2, 7, 3, 3), 1, widened(n, 1.0, 0.75, 1.0))
    for n in range(2, 8):
        add("matconvnet", (3, 2, 10, 4), 2, matconvnet(n, 0.1, 0.5, 0.75))
    add("onednn", (2, 15, 16, 16), 1, narrowed(5, *ONEDNN))
    add("onednn", (2, 16, 5, 5), 1, narrowed(7, 1 / 8192, 1.0, 14.2))
    add("onednn", (2, 16, 10, 7), 1, narrowed(5, *ONEDNN))
    add("onednn", (2, 12, 15, 1), 1, narrowed(5, *ONEDNN))
    add("onednn", (2, 31, 1, 16), 1, narrowed(5, *ONEDNN))
    add("onednn", (2, 64, 1, 1), 1, narrowed(5, *ONEDNN))
    for depth, n in ((1, 5), (2, 5), (3, 4), (4, 5)):
        add("onednn with depth", (2, 16, depth, 10, 7), 1, narrowed(n, *ONEDNN))
    for shape in ((3, 128), (10, 63), (17, 15)):
        add("onednn without pixels", shape, 1, narrowed(5, *ONEDNN))
    for shape, n in (
        ((1, 6, 3), 2),
        ((2, 6, 3), 2),
        ((1, 1, 2), 1),
        ((0, 1, 2), 1),
        ((1, 5, 7), 3),
        ((1, 5, 7, 7), 2),
        ((1, 5, 7, 7, 7), 1),
    ):
        add("torch", shape, 1, leaning_back(n, 1e-4, 0.75, 1.0))
    add("onnx", (5, 5, 5, 5), 1, leaning_ahead(3, 2e-4, 0.5, 2.0))
    add("onnx default", (5, 5, 5, 5), 1, leaning_ahead(3, 1e-4, 0.75, 1.0))
    for n in (2, 4):
        add("burn", (1, 2, 4), 1, leaning_ahead(n, 1.0, 1.0, 0.0))
    for shape in ((11, 7, 12), (10, 8, 16), (12, 10, 9)):
        for n in (3, 4, 5):
            add("ncnn", shape, 0, widened(n, 1e-4, 0.75, 1.0))
    return rows


def channels_last(x: Any, axis: int) -> Any:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, axis, -1)), -1, axis)


@pytest.mark.parametrize(("peer", "shape", "axis", "spec"), cases())
def test_forward_and_backward(
    isa: str, dtype: np.dtype[Any], peer: str, shape: Any, axis: int, spec: LRNSpec
) -> None:
    rng = np.random.default_rng(sum(shape))
    x, g = ((rng.normal(size=shape) + 0.5).astype(dtype) for _ in range(2))
    y = reference.forward(x, spec, axis)
    dx = reference.vjp(x, g, spec, axis)
    size = np.moveaxis(
        exact.vjp(np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0), spec)[1], 0, axis
    )
    for lay in (np.copy, functools.partial(channels_last, axis=axis)):
        name = for_forward(dtype, spec.beta)
        assert_close(lrnorm.local_response_norm(lay(x), spec=spec, axis=axis), y, name)
        got = lrnorm.local_response_norm_vjp(lay(x), lay(g), spec=spec, axis=axis)
        assert_close(got, dx, "derivative", size)


def test_the_table_tells_the_windows_apart() -> None:
    """What the even sizes are for: each framework's window gives other numbers."""
    x = np.random.default_rng(0).normal(size=(8, 5))
    results = [
        lrnorm.local_response_norm(x, spec=make(4, 1.0, 0.75, 1.0), axis=0)
        for make in (leaning_back, leaning_ahead, narrowed, widened)
    ]
    for i, one in enumerate(results):
        assert not any(np.allclose(one, other, rtol=1e-2) for other in results[:i])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ((256, 96, 55, 55), ONEDNN),
        ((256, 256, 27, 27), ONEDNN),
        ((96, 64, 57, 57), ONEDNN),
        ((96, 192, 57, 57), ONEDNN),
        ((50, 96, 112, 112), (5e-4, 0.75, 2.0)),
        ((2, 512, 1, 65536), ONEDNN),
    ],
)
def test_topologies_at_full_size(shape: Any, numbers: Any, dtype: Any) -> None:
    """The first and the last image, and a few of their pixels, out of the whole batch."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(0)
    x = np.empty(shape, dtype)
    for image in x:  # a batch of normal deviates in float64 would not fit beside it
        image[...] = rng.standard_normal(shape[1:], np.float32) * 3
    alpha, beta, k = numbers
    for spec in (narrowed(5, alpha, beta, k), narrowed(5, 1.1, beta, k)):
        y = lrnorm.local_response_norm(x, spec=spec)
        dx = lrnorm.local_response_norm_vjp(x, x, spec=spec)
        for i in (0, -1):
            some = np.s_[i, :, :, :: max(1, shape[3] // 50)]
            part = x[some].astype(np.float64)
            assert_close(y[some], reference.forward(part, spec, 0), for_forward(dtype, beta))
            exact_dx, size = exact.vjp(part, part, spec)
            assert_close(dx[some], exact_dx.astype(np.float64), "derivative", size)
