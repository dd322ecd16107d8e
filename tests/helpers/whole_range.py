"""Inputs and coefficients that reach every part of a type's range."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

# (alpha, bias)
COEFFICIENTS = [(1.0, 1.0), (1e-4, 2.0), (1.0, 0.0), (1e-30, 1e-30), (3.0, 1e-20), (1e28, 1e28)]


def inputs(dtype: np.dtype[Any], channels: int, pixels: int, seed: int) -> dict[str, Any]:
    """Arrays that reach every part of the type's range."""
    rng = np.random.default_rng(seed)
    info = ml_dtypes.finfo(dtype)
    shape = (channels, pixels)
    normal = rng.standard_normal(shape)
    decades = 4 if dtype == np.float16 else 17  # D from about 1e-30 to 1e30
    some = {
        "normal": normal,
        "by pixel": normal * 10.0 ** rng.uniform(-decades, decades - 1, (1, pixels)),
        "by element": normal * np.exp(rng.uniform(-8, 8, shape)),
        "largest": rng.uniform(0.1, 1, shape) * float(info.max),
        "smallest": rng.uniform(0.1, 8, shape) * float(info.tiny),
        "subnormal": rng.uniform(0.01, 1, shape) * float(info.tiny),
        "sparse": normal * (rng.random(shape) > 0.6),
    }
    with np.errstate(over="ignore"):
        return {name: array.astype(dtype) for name, array in some.items()}


def ends(width: int) -> tuple[int, int]:
    """before and after of a window of this width; an even one has one channel more before."""
    return width // 2, (width - 1) // 2


def forward_bound(dtype: np.dtype[Any], beta: float) -> float:
    """The promise, in units in the last place of the exact result."""
    return 1 if dtype.itemsize == 2 else max(4, 3 + 2 * abs(beta))


def same_bits(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
