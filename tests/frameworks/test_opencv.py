"""OpenCV's networks themselves, what they refuse and what they get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrnorm import ConventionError, conventions

cv2 = pytest.importorskip("cv2")

Run = Callable[..., Any]


def layer(x: Any, **words: Any) -> Any:
    net = cv2.dnn_Net()
    net.addLayerToPrev("norm", "LRN", cv2.CV_32F, words)
    net.setInput(x)
    return net.forward()


@pytest.fixture
def run(one_lrn: Callable[..., bytes]) -> Run:
    """Through the importer of ONNX models."""

    def compute(x: Any, **attributes: Any) -> Any:
        model = one_lrn(x.shape, **attributes)
        net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
        net.setInput(x)
        return net.forward()

    return compute


# Its sums add and subtract, so that the error is one of the largest square.
@pytest.mark.parametrize("size", [1, 3, 5, 9, 15])
@pytest.mark.parametrize("by_size", [True, False])
def test_the_layer(by_size: bool, size: int, x: Any, numbers: Any, ours: Any) -> None:
    words = dict(zip(("local_size", "alpha", "beta", "bias"), (size, *numbers), strict=True))
    words["norm_by_size"] = by_size
    np.testing.assert_allclose(layer(x, **words), ours("opencv", x, **words), rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5, 9, 15])
def test_models_of_onnx(size: int, x: Any, numbers: Any, run: Run, ours: Any) -> None:
    words = dict(zip(("size", "alpha", "beta", "bias"), (size, *numbers), strict=True))
    np.testing.assert_allclose(run(x, **words), ours("onnx", x, **words), rtol=1e-4)


def test_the_default_of_alpha_is_not_one(x: Any, ours: Any) -> None:
    x = x * 300
    y = layer(x)
    np.testing.assert_allclose(y, ours("opencv", x, alpha=1e-4), rtol=1e-4)
    assert not np.allclose(y, ours("opencv", x), rtol=0.1)


def test_the_other_defaults(x: Any, ours: Any) -> None:
    np.testing.assert_allclose(layer(x, alpha=0.9), ours("opencv", x, alpha=0.9), rtol=1e-4)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_even_sizes_are_refused(size: int, x: Any) -> None:
    with pytest.raises(cv2.error, match="only positive odd values for local_size"):
        layer(x, local_size=size)
    with pytest.raises(ConventionError, match="must be odd"):
        conventions.read("opencv", local_size=size)


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 7, 3, 4, 5)], ids=str)
def test_rank_four_alone(shape: tuple[int, ...], run: Run) -> None:
    with pytest.raises(cv2.error, match="dims == 4"):
        run(np.ones(shape, np.float32), size=3)


def test_a_large_channel_wipes_out_those_after_it(spike: Any, ours: Any) -> None:
    words = {"local_size": 5, "alpha": 1.0, "beta": 0.75}
    y, right = layer(spike, **words), ours("opencv", spike, **words)
    assert (y[:, 6:] == 1).all()  # as if the window were empty
    assert (right[:, 6:] < 0.71).all()


def test_an_infinite_channel_spoils_all_after_it(ours: Any) -> None:
    x = np.ones((1, 8, 2, 3), np.float32)
    x[:, 0] = np.inf
    words = {"local_size": 3, "alpha": 1.0, "beta": 0.5}
    assert np.isnan(layer(x, **words)[:, 2:]).all()
    assert np.isfinite(ours("opencv", x, **words)[:, 2:]).all()


def test_large_values_become_zero_and_nan(huge: Any) -> None:
    y = layer(huge, local_size=5, alpha=1.0, beta=0.5)
    assert (y[:, :6] == 0).all()
    assert np.isnan(y[:, 6:]).all()
