"""What the frameworks are run on: numbers near 1, where every wrong reading shows, and sizes that
all differ from each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import conventions


@pytest.fixture(params=[(2, 7, 5, 4), (3, 12, 2, 6)], ids=str)
def x(request: Any) -> Any:
    return (np.random.default_rng(5).normal(size=request.param) * 2).astype(np.float32)


@pytest.fixture(
    params=[(0.9, 0.6, 1.25), (1.3, 0.75, 2.0), (0.7, 1.0, 0.5), (1.1, 2.5, 3.0)], ids=str
)
def numbers(request: Any) -> Any:
    """alpha, beta, bias"""
    return request.param


@pytest.fixture(scope="session")
def ours() -> Callable[..., Any]:
    """What this library computes for the words of a framework."""

    def compute(name: str, x: Any, *, axis: Any = 1, **words: Any) -> Any:
        return lrnorm.local_response_norm(x, spec=conventions.read(name, **words), axis=axis)

    return compute


@pytest.fixture(scope="session")
def one_lrn() -> Callable[..., bytes]:
    """An ONNX model of one LRN node."""
    helper = pytest.importorskip("onnx").helper

    def serialized(shape: tuple[int, ...], dtype: str = "float32", **attributes: Any) -> bytes:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        ends = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
        node = helper.make_node("LRN", ["x"], ["y"], **attributes)
        graph = helper.make_graph([node], "one", ends[:1], ends[1:])
        opsets = [helper.make_opsetid("", 13)]
        model: bytes = helper.make_model(
            graph, opset_imports=opsets, ir_version=8
        ).SerializeToString()
        return model

    return serialized


@pytest.fixture(scope="session")
def spike() -> Any:
    """Ones, and one channel of 1e7: what a running sum that subtracts cannot forget."""
    x = np.ones((1, 8, 4, 4), np.float32)
    x[:, 3] = 1e7
    return x


@pytest.fixture(scope="session")
def huge() -> Any:
    """Entries whose squares are beyond float32, while the result is near 1."""
    return np.full((1, 8, 2, 3), 1e20, np.float32)
