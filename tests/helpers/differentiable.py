"""The formula in operations that PyTorch differentiates itself: the oracle of derivatives."""

from __future__ import annotations

from typing import Any

import pytest

from lrnorm import LRNSpec

torch = pytest.importorskip("torch")

ALPHA, BETA, K = 1.2, 0.75, 1.1
LEANING = LRNSpec(ALPHA / 4, BETA, K, 2, 1)  # size 4 in PyTorch's words


def sample(*shape: int, seed: int = 0, dtype: Any = torch.float64) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def plain(x: Any, spec: LRNSpec = LEANING, numbers: Any = None, axis: int = 1) -> Any:
    """The formula in operations that PyTorch differentiates itself: the oracle here."""
    scale, beta, bias = numbers or (spec.scale, spec.beta, spec.bias)
    channels = x.shape[axis]
    before, after = spec.ends(channels)
    squares = (x * x).movedim(axis, 0)
    sums = [squares[max(c - before, 0) : c + after + 1].sum(0) for c in range(channels)]
    return x * (bias + scale * torch.stack(sums).movedim(0, axis)) ** -beta


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
