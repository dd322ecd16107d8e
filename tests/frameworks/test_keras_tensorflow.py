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
