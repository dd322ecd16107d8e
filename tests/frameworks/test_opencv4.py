"""OpenCV 4 reads models of Caffe, which OpenCV 5 no longer does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
if not hasattr(cv2.dnn, "readNetFromCaffe"):
    pytest.skip("this OpenCV reads no models of Caffe", allow_module_level=True)


def caffe(x: Any, words: str) -> Any:
    shape = " ".join(f"input_dim: {n}" for n in x.shape)
    text = f'input: "x" {shape} layer {{ name: "norm" type: "LRN" bottom: "x" top: "y" '
    text += f"lrn_param {{ {words} }} }}"
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(x)
    return net.forward()


@pytest.mark.parametrize("size", [1, 3, 5, 9, 15])
def test_models_of_caffe(size: int, x: Any, ours: Any) -> None:
    y = caffe(x, f"local_size: {size} alpha: 0.9 beta: 0.6")
    right = ours("caffe", x, local_size=size, alpha=0.9, beta=0.6)
    np.testing.assert_allclose(y, right, rtol=1e-4)


@pytest.mark.parametrize("k", [0.5, 2.0])
def test_k_is_ignored(k: float, x: Any, ours: Any) -> None:
    y = caffe(x, f"local_size: 3 alpha: 0.9 beta: 0.75 k: {k}")
    words = {"local_size": 3, "alpha": 0.9, "beta": 0.75}
    np.testing.assert_allclose(y, ours("caffe", x, k=1.0, **words), rtol=1e-4)
    assert not np.allclose(y, ours("caffe", x, k=k, **words), rtol=0.1)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_models_of_caffe_within_channels(size: int, x: Any, ours: Any) -> None:
    y = caffe(x, f"local_size: {size} alpha: 0.9 beta: 0.75 norm_region: WITHIN_CHANNEL")
    words = {"local_size": size, "alpha": 0.9, "beta": 0.75}
    for name in ("caffe", "opencv"):
        right = ours(name, x, axis=(2, 3), norm_region="WITHIN_CHANNEL", **words)
        np.testing.assert_allclose(y, right, rtol=1e-4)


def test_alpha_left_out_is_not_caffes_one(x: Any, ours: Any) -> None:
    x = x * 300
    y = caffe(x, "local_size: 3")
    np.testing.assert_allclose(y, ours("caffe", x, local_size=3, alpha=1e-4), rtol=1e-4)
    assert not np.allclose(y, ours("caffe", x, local_size=3), rtol=0.1)
