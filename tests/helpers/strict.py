"""Arrays of array-api-strict, which refuses whatever the standard does not promise, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrnorm import LRNSpec

xp: Any = pytest.importorskip("array_api_strict")

SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
DEVICES = ("CPU_DEVICE", "no_float64")


def strict(values: Any, device: str = "CPU_DEVICE") -> Any:
    return xp.asarray(values, device=xp.Device(device))


def numpy_of(x: Any) -> Any:
    return np.from_dlpack(xp.asarray(x, device=xp.Device("CPU_DEVICE")))


def sample(*shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * 1.5).astype(dtype)
