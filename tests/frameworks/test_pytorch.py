"""PyTorch itself, and what it gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import conventions

torch = pytest.importorskip("torch")
F = torch.nn.functional

CROSS_MAP_SIZES = [3, 4, 5, 6]


@pytest.mark.parametrize(
    "shape", [(3, 7, 4), (2, 7, 5, 4), (2, 11, 3, 5, 4), (0, 7, 5, 4)], ids=str
)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 8, 15])
def test_the_function(size: int, shape: tuple[int, ...], numbers: Any, ours: Any) -> None:
    alpha, beta, k = numbers
    x = np.random.default_rng(size).normal(size=shape) * 2
    y = F.local_response_norm(torch.from_numpy(x), size, alpha, beta, k).numpy()
    expected = ours("torch", x, size=size, alpha=alpha, beta=beta, k=k)
    np.testing.assert_allclose(expected, y, rtol=1e-13)


def test_the_defaults(ours: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 4)) * 300
    y = torch.nn.LocalResponseNorm(5)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours("torch", x, size=5), y, rtol=1e-13)


@pytest.mark.parametrize("size", CROSS_MAP_SIZES)
def test_cross_map_lrn_never_forgets_the_first_channel(
    size: int, x: Any, numbers: Any, ours: Any
) -> None:
    alpha, beta, k = numbers
    y = torch.nn.CrossMapLRN2d(size, alpha, beta, k)(torch.from_numpy(x)).numpy()
    r = (size - 1) // 2
    squares = x.astype(np.float64) ** 2
    sums = np.stack(
        [
            squares[:, max(0, c - r) : c + r + 1].sum(1) + (squares[:, 0] if c > r else 0)
            for c in range(x.shape[1])
        ],
        axis=1,
    )
    np.testing.assert_allclose(y, x * (k + alpha / size * sums) ** -beta, rtol=1e-5)
    right = ours("torch", x, size=size, alpha=alpha, beta=beta, k=k)
    assert not np.allclose(y, right, rtol=0.1)


@pytest.mark.parametrize("size", [3, 5])
def test_the_gradient_of_cross_map_lrn_is_wrong(size: int, x: Any) -> None:
    leaf = torch.from_numpy(x).requires_grad_()
    torch.nn.CrossMapLRN2d(size, 1.0, 0.75, 1.0)(leaf).sum().backward()
    spec = conventions.read("torch", size=size, alpha=1.0)
    right = lrnorm.local_response_norm_vjp(x, np.ones_like(x), spec=spec)
    assert np.abs(leaf.grad.numpy() - right).max() > 0.1


def test_the_gradient_of_cross_map_lrn_fails_for_size_one() -> None:
    leaf = torch.ones(1, 8, 2, 3, requires_grad=True)
    result = torch.nn.CrossMapLRN2d(1)(leaf).sum()
    with pytest.raises(RuntimeError, match=r"start \(1\) \+ length \(8\) exceeds dimension size"):
        result.backward()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 8, 2, 3), (1, 8, 2, 3, 2)], ids=str)
def test_half_is_not_implemented_on_the_cpu(shape: tuple[int, ...], dtype: str) -> None:
    x = torch.ones(shape, dtype=getattr(torch, dtype))
    with pytest.raises(NotImplementedError, match="avg_pool3d_out_frame"):
        F.local_response_norm(x, 5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_of_rank_three_is(dtype: str) -> None:
    assert F.local_response_norm(torch.ones(1, 8, 2, dtype=getattr(torch, dtype)), 5).any()


def test_large_values_become_zero(huge: Any, ours: Any) -> None:
    y = F.local_response_norm(torch.from_numpy(huge), 5, 1.0, 0.5, 1.0)
    assert (y == 0).all()
    right = ours("torch", huge, size=5, alpha=1.0, beta=0.5, k=1.0)
    np.testing.assert_allclose(right[0, 2], 1.0, rtol=1e-6)


def test_no_rank_below_three() -> None:
    with pytest.raises(ValueError, match="Expected 3D or higher dimensionality"):
        F.local_response_norm(torch.ones(8, 5), 5)
