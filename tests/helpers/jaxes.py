"""JAX to test with: values, both ways to compute, and what NumPy sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from lrnorm._fronts.jax import ffi  # noqa: E402

SHAPE = (3, 7, 4, 5)
DTYPES = ["float32", "float64", "float16", "bfloat16"]
every_dtype = pytest.mark.parametrize("kind", DTYPES)


@pytest.fixture(params=["core", "plain"])
def way(request: Any, monkeypatch: Any) -> Iterator[str]:
    """With the compiled core, and as on a device without one."""
    if request.param == "core":
        assert ffi.are_available()
        yield request.param
    else:
        monkeypatch.setattr(ffi, "are_available", lambda: False)
        jax.clear_caches()  # of programs that call the core
        yield request.param
        jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def sample(shape: Any = SHAPE, dtype: Any = "float64", seed: int = 0) -> Any:
    """Of NumPy: float64 is kept whatever mode JAX is in."""
    values = np.random.default_rng(seed).normal(size=shape) * 1.5
    return np.asarray(values).astype(jnp.dtype(dtype))


def wide(x: Any) -> Any:
    """For the reference."""
    return np.asarray(x).astype(np.float64)


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def program(function: Any, *arguments: Any) -> str:
    """The compiled program, as XLA prints it."""
    return str(jax.jit(function).lower(*arguments).compile().as_text())
