"""The Keras layer on TensorFlow: everything that the other backends are asked, and graphs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("KERAS_BACKEND") != "tensorflow":  # as it is where that alone is installed
    pytest.skip("for KERAS_BACKEND=tensorflow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

sys.path.append(str(Path(__file__).parents[1] / "keras"))
from test_keras import *  # noqa: E402, F403 — collected here once more, on this backend
from test_keras import BACKEND, NAMES, SPEC, WORDS, Layer, keras, reference, sample  # noqa: E402


def test_the_backend_is_tensorflow() -> None:
    assert BACKEND == "tensorflow"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_graph_of_unknown_sizes(compiled: bool) -> None:
    layer = Layer(**WORDS)

    @tf.function(jit_compile=compiled, input_signature=[tf.TensorSpec((None, None, 7), tf.float32)])
    def graph(x: Any) -> Any:
        return layer(x)

    for shape in ((2, 3, 7), (5, 1, 7)):
        x = sample(*shape)
        np.testing.assert_allclose(graph(x), reference.forward(x, SPEC, -1), rtol=1e-6)


def test_a_second_derivative() -> None:
    """Which TensorFlow's own operation has not."""
    x = tf.Variable(sample(2, 7, dtype="float64"))
    layer = Layer(**WORDS, dtype="float64")
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            total = tf.reduce_sum(layer(x) ** 2)
        first = inner.gradient(total, x)
        along = tf.reduce_sum(first * x)
    second = outer.gradient(along, x).numpy()

    def slope(values: Any) -> Any:
        y = reference.forward(values, SPEC, -1)
        return np.sum(reference.vjp(values, 2 * y, SPEC, -1) * values)

    for place in ((0, 0), (1, 3)):
        step = np.zeros((2, 7))
        step[place] = 1e-6
        change = (slope(x.numpy() + step) - slope(x.numpy() - step)) / 2e-6
        assert abs(second[place] - change) < 1e-6


def test_an_exported_model_needs_nothing_of_ours(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((None, 7)), Layer(**WORDS, learnable=NAMES)])
    model.export(tmp_path / "saved", verbose=False)
    x = sample(2, 5, 7)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-6)


class ByHand(keras.layers.Layer):  # type: ignore[misc]
    """An LRN in Keras's own operations, along the last axis: size 3."""

    def call(self, x: Any) -> Any:
        padded = keras.ops.pad(keras.ops.square(x), [[0, 0], [0, 0], [0, 0], [1, 1]])
        sums = sum(padded[..., i : i + 8] for i in range(3))
        return x / keras.ops.power(2.0 + 0.05 * sums, 0.75)


def ours() -> Any:
    return Layer(alpha=0.15, beta=0.75, bias=2.0, channel_window_size=1)


@pytest.mark.parametrize("norm", [ByHand, ours])
def test_two_lrns_between_convolutions_become_nodes_of_onnx(norm: Any, tmp_path: Path) -> None:
    """tf2onnx moves the channels to axis 1, and leaves a Transpose inside an LRN."""
    pytest.importorskip("tf2onnx")
    import lrnorm.onnx

    layers = []
    for _ in range(2):
        layers += [keras.layers.Conv2D(8, 3, padding="same", activation="relu"), norm()]
    model = keras.Sequential([keras.Input((6, 5, 8)), *layers])
    x, path = sample(1, 6, 5, 8), tmp_path / "net.onnx"
    y = np.asarray(model(x))
    model.export(str(path), format="onnx", verbose=False)
    fused = lrnorm.onnx.fuse(path)
    specs = lrnorm.onnx.specs(fused).values()
    assert [spec.isclose(lrnorm.LRNSpec(0.05, 0.75, 2.0, 1, 1)) for spec in specs] == [True, True]
    np.testing.assert_allclose(lrnorm.onnx.load(fused)(x), y, rtol=1e-5, atol=1e-6)
