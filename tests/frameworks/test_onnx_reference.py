"""The reference evaluator of the onnx package: it loops over the batch, and means the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

Run = Callable[..., Any]


@pytest.fixture
def run(one_lrn: Callable[..., bytes]) -> Run:
    def compute(x: Any, **attributes: Any) -> Any:
        model = onnx.load_from_string(one_lrn(x.shape, x.dtype.name, **attributes))
        return ReferenceEvaluator(model).run(None, {"x": x})[0]

    return compute


def random(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape) * 2


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 8, 15])
@pytest.mark.parametrize("channels", [5, 9])
def test_right_where_there_are_as_many_images_as_channels(
    channels: int, size: int, numbers: Any, run: Run, ours: Any
) -> None:
    x = random(channels, channels, 3, 4)
    words = dict(zip(("size", "alpha", "beta", "bias"), (size, *numbers), strict=True))
    np.testing.assert_allclose(run(x, **words), ours("onnx", x, **words), rtol=1e-6)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_channels_beyond_the_batch_go_without_neighbours(
    size: int, x: Any, numbers: Any, run: Run, ours: Any
) -> None:
    images = len(x)
    words = dict(zip(("size", "alpha", "beta", "bias"), (size, *numbers), strict=True))
    y, right = run(x, **words), ours("onnx", x, **words)
    np.testing.assert_allclose(y[:, :images], right[:, :images], rtol=1e-5)
    _, beta, bias = numbers
    np.testing.assert_allclose(y[:, images:], x[:, images:] * bias**-beta, rtol=1e-5)


def test_a_batch_of_more_images_than_channels_fails(run: Run) -> None:
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1 with size 3"):
        run(random(7, 3, 4, 4), size=3)


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 4), (3, 3, 4, 5, 6)], ids=str)
def test_rank_four_alone(shape: tuple[int, ...], run: Run) -> None:
    with pytest.raises(RuntimeError, match="only applies on 4D tensors"):
        run(random(*shape), size=3)
