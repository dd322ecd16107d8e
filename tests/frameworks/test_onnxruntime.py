"""ONNX Runtime itself on the CPU, what it refuses and what it gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lrnorm import ConventionError, conventions

onnxruntime = pytest.importorskip("onnxruntime")
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, NotImplemented  # noqa: E402

Run = Callable[..., Any]
NUMBERS = {"size": 3, "alpha": 0.9, "beta": 0.6, "bias": 1.25}


@pytest.fixture
def run(one_lrn: Callable[..., bytes]) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is refused here is expected

    def compute(x: Any, **attributes: Any) -> Any:
        model = one_lrn(x.shape, x.dtype.name, **attributes)
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]

    return compute


@pytest.mark.parametrize("size", [1, 3, 5, 9, 15, 31])
@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_odd_sizes(name: str, size: int, x: Any, numbers: Any, run: Run, ours: Any) -> None:
    words = dict(zip(("size", "alpha", "beta", "bias"), (size, *numbers), strict=True))
    np.testing.assert_allclose(run(x, **words), ours(name, x, **words), rtol=1e-5)


def test_the_defaults(x: Any, run: Run, ours: Any) -> None:
    np.testing.assert_allclose(run(x * 300, size=5), ours("onnx", x * 300, size=5), rtol=1e-5)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_even_sizes_are_refused(size: int, x: Any, run: Run) -> None:
    with pytest.raises(Fail, match="size_ % 2 == 1 was false"):
        run(x, size=size)
    with pytest.raises(ConventionError, match="must be odd"):
        conventions.read("onnxruntime", size=size)


@pytest.mark.parametrize("word", ["alpha", "beta"])
@pytest.mark.parametrize("value", [0.0, -0.5])
def test_alpha_and_beta_must_be_positive(word: str, value: float, x: Any, run: Run) -> None:
    words = NUMBERS | {word: value}
    with pytest.raises(Fail, match=f"{word}_ > 0.0f was false"):
        run(x, **words)
    with pytest.raises(ConventionError, match=f"{word} > 0"):
        conventions.read("onnxruntime", **words)


@pytest.mark.parametrize("dtype", ["float64", ml_dtypes.bfloat16])
def test_neither_float64_nor_bfloat16(dtype: Any, x: Any, run: Run) -> None:
    with pytest.raises(NotImplemented, match=r"Could not find an implementation for LRN\(13\)"):
        run(x.astype(dtype), **NUMBERS)


def test_float16_is_cast_to_float32(x: Any, run: Run, ours: Any) -> None:
    half = x.astype(np.float16)
    y = run(half, **NUMBERS)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, ours("onnx", half, **NUMBERS), rtol=1e-3)


@pytest.mark.parametrize("shape", [(8, 5), (2, 8, 5), (2, 8, 3, 4, 5)], ids=str)
def test_rank_four_alone(shape: tuple[int, ...], run: Run) -> None:
    with pytest.raises(Fail, match=r"NumDimensions\(\) == 4 was false"):
        run(np.ones(shape, np.float32), **NUMBERS)


def test_one_large_channel_spoils_those_after_it(spike: Any, run: Run, ours: Any) -> None:
    words = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    y, right = run(spike, **words), ours("onnx", spike, **words)
    assert np.isfinite(right).all()
    np.testing.assert_allclose(y[:, :6], right[:, :6], rtol=1e-5)
    assert not np.isfinite(y[:, 6:]).any()  # the sum it left is below zero


def test_an_infinite_channel_spoils_all_after_it(run: Run, ours: Any) -> None:
    x = np.ones((1, 8, 2, 3), np.float32)
    x[:, 0] = np.inf
    words = NUMBERS | {"size": 3}
    assert np.isnan(run(x, **words)[:, 2:]).all()
    assert np.isfinite(ours("onnx", x, **words)[:, 2:]).all()


def test_large_values_become_zero_and_nan(huge: Any, run: Run) -> None:
    y = run(huge, size=5, alpha=1.0, beta=0.5, bias=1.0)
    assert (y[:, :3] == 0).all()
    assert np.isnan(y[:, 3:]).all()
