"""PaddlePaddle itself, what it lacks and what it gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
SIZES = [1, 2, 3, 4, 5, 6, 8, 15]


def run(x: Any, size: int, **words: Any) -> Any:
    tensor = paddle.to_tensor(x)
    return paddle.nn.functional.local_response_norm(tensor, size, **words).numpy()


@pytest.mark.parametrize("shape", [(3, 7, 4), (2, 7, 5, 4), (2, 11, 3, 5, 4)], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_the_function(size: int, shape: tuple[int, ...], numbers: Any, ours: Any) -> None:
    x = np.random.default_rng(size).normal(size=shape) * 2
    words = dict(zip(("alpha", "beta", "k"), numbers, strict=True))
    layout = {3: "NCL", 4: "NCHW", 5: "NCDHW"}[len(shape)]
    y = run(x, size, data_format=layout, **words)
    # It keeps alpha, beta and k in float32.
    np.testing.assert_allclose(y, ours("paddle", x, size=size, **words), rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_channels_last(size: int, x: Any, numbers: Any, ours: Any) -> None:
    words = dict(zip(("alpha", "beta", "k"), numbers, strict=True))
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    y = run(x, size, data_format="NHWC", **words)
    right = ours("paddle", x, axis=-1, size=size, data_format="NHWC", **words)
    np.testing.assert_allclose(y, right, rtol=1e-5)


def test_the_defaults(x: Any, ours: Any) -> None:
    np.testing.assert_allclose(run(x * 300, 5), ours("paddle", x * 300, size=5), rtol=1e-5)


def test_large_values_become_zero(huge: Any) -> None:
    assert (run(huge, 5, alpha=1.0, beta=0.5) == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_has_no_kernel_on_the_cpu(dtype: str) -> None:
    x = paddle.ones((1, 8, 2, 3)).astype(dtype)
    with pytest.raises(RuntimeError, match="kernel"):
        paddle.nn.functional.local_response_norm(x, 5)


def test_no_rank_below_three() -> None:
    with pytest.raises(ValueError, match="Expected 3D or higher dimensionality"):
        run(np.ones((8, 5), np.float32), 3)
