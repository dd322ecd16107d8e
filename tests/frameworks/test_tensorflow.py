"""TensorFlow and TensorFlow Lite themselves, what they lack and what they get wrong."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import lrnorm
from lrnorm import conventions, models

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
WORDS = ("depth_radius", "alpha", "beta", "bias")


def last(x: Any) -> Any:
    """From (N, C, H, W) to (N, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def run(x: Any, **words: Any) -> Any:
    return tf.nn.local_response_normalization(x, **words).numpy()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 9])
def test_the_function(radius: int, x: Any, numbers: Any, ours: Any) -> None:
    words = dict(zip(WORDS, (radius, *numbers), strict=True))
    x = last(x)
    right = ours("tensorflow", x, axis=-1, **words)
    np.testing.assert_allclose(run(x, **words), right, rtol=1e-5)


def test_the_defaults(x: Any, ours: Any) -> None:
    np.testing.assert_allclose(run(last(x)), ours("tensorflow", last(x), axis=-1), rtol=1e-5)


def test_the_gradient(x: Any) -> None:
    x = last(x)
    words = {"depth_radius": 2, "alpha": 0.9, "beta": 0.75, "bias": 1.25}
    leaf = tf.Variable(x)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.nn.local_response_normalization(leaf, **words))
    spec = conventions.read("tensorflow", **words)
    right = lrnorm.local_response_norm_vjp(x, np.ones_like(x), spec=spec, axis=-1)
    np.testing.assert_allclose(tape.gradient(total, leaf), right, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("radius", [1, 2, 5])
def test_lite(radius: int, x: Any, numbers: Any, ours: Any) -> None:
    words = dict(zip(WORDS, (radius, *numbers), strict=True))
    x = last(x)
    holder = tf.Module()
    holder.call = tf.function(
        lambda x: tf.nn.local_response_normalization(x, **words),
        input_signature=[tf.TensorSpec(x.shape, tf.float32)],
    )
    concrete = holder.call.get_concrete_function()
    model = tf.lite.TFLiteConverter.from_concrete_functions([concrete], holder).convert()
    interpreter = tf.lite.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, ours("tflite", x, axis=-1, **words), rtol=1e-4)


@pytest.mark.parametrize("value", [1e20, 1e38])
def test_large_values_become_nan(value: float, ours: Any) -> None:
    x = np.full((1, 2, 3, 8), value, np.float32)
    words = {"depth_radius": 2, "alpha": 1.0, "beta": 0.5, "bias": 1.0}
    assert np.isnan(run(x, **words)).all()
    assert np.isfinite(ours("tensorflow", x, axis=-1, **words)).all()


def test_an_infinite_channel_spoils_those_beyond_its_reach(ours: Any) -> None:
    x = np.ones((1, 2, 3, 8), np.float32)
    x[..., 0] = np.inf
    words = {"depth_radius": 1, "alpha": 1.0, "beta": 0.5, "bias": 1.0}
    assert np.isnan(run(x, **words)[..., 2:]).all()
    assert np.isfinite(ours("tensorflow", x, axis=-1, **words)[..., 2:]).all()


def test_half_stays_in_half(x: Any, ours: Any) -> None:
    half = last(x).astype(np.float16)
    words = {"depth_radius": 2, "alpha": 0.9, "beta": 0.75, "bias": 1.25}
    right = ours("tensorflow", half.astype(np.float64), axis=-1, **words)
    y = run(tf.constant(half), **words)
    assert y.dtype == np.float16
    assert np.abs(y / right - 1).max() > 2 * np.finfo(np.float16).eps


def test_half_of_three_hundred_is_nan() -> None:
    x = np.full((1, 2, 3, 8), 300.0, np.float16)
    assert np.isnan(run(tf.constant(x), depth_radius=2, alpha=1.0, beta=0.5)).all()


def test_bfloat16_has_no_kernel_on_the_cpu() -> None:
    with pytest.raises(tf.errors.NotFoundError, match="Could not find device for node"):
        run(tf.ones((1, 2, 3, 8), tf.bfloat16))


def test_float64_is_no_type_of_it() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="half, bfloat16, float"):
        run(tf.ones((1, 2, 3, 8), tf.float64))


@pytest.mark.parametrize("shape", [(8,), (5, 8), (2, 5, 8), (2, 3, 4, 5, 8)], ids=str)
def test_rank_four_alone(shape: tuple[int, ...]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="in must be 4-dimensional"):
        run(np.ones(shape, np.float32))


def test_no_second_derivative() -> None:
    leaf = tf.Variable(np.ones((1, 2, 3, 8), np.float32))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            total = tf.reduce_sum(tf.nn.local_response_normalization(leaf))
        first = inner.gradient(total, leaf)
    with pytest.raises(LookupError, match="no entry for: LRNGrad"):
        outer.gradient(first, leaf)


def test_no_forward_mode() -> None:
    leaf = tf.ones((1, 2, 3, 8))
    with (
        pytest.raises(LookupError, match="no entry for: LRNGrad"),
        tf.autodiff.ForwardAccumulator(leaf, leaf),
    ):
        tf.nn.local_response_normalization(leaf)


# Files that TensorFlow writes, read by lrnorm.models and run by TensorFlow


class _Net(tf.Module):
    def __init__(self, words: dict[str, Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.call = tf.function(
            lambda x: tf.nn.local_response_normalization(x, name="norm1", **words),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )


def _written(net: Any, way: str, folder: Any) -> Any:
    concrete = net.call.get_concrete_function()
    graph = concrete.graph.as_graph_def(add_shapes=True)
    if way == "saved":
        tf.saved_model.save(net, str(folder / way))
        return folder / way
    if way == "graph.pbtxt":
        tf.io.write_graph(graph, str(folder), way, as_text=True)
    elif way == "graph.pb":
        (folder / way).write_bytes(graph.SerializeToString())
    else:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], net)
        (folder / way).write_bytes(converter.convert())
    return folder / way


@pytest.mark.parametrize("way", ["graph.pb", "graph.pbtxt", "saved", "net.tflite"])
@pytest.mark.parametrize("radius", [1, 2, 5])
def test_a_file_read_and_run(way: str, radius: int, x: Any, numbers: Any, tmp_path: Any) -> None:
    words = dict(zip(WORDS, (radius, *numbers), strict=True))
    x = last(x)
    net = _Net(words, x.shape)
    [found] = models.find(_written(net, way, tmp_path))
    if way == "net.tflite":
        words["radius"] = words.pop("depth_radius")
    assert (found.convention == "tflite") == (way == "net.tflite")
    assert found.words == pytest.approx(words)
    assert found.dtype == "float32"
    y = lrnorm.local_response_norm(x, spec=found.spec, axis=found.axis)
    np.testing.assert_allclose(net.call(x).numpy(), y, rtol=1e-5)


def test_defaults_that_saved_models_leave_out(x: Any, tmp_path: Any) -> None:
    x = last(x)
    net = _Net({}, x.shape)
    [found] = models.find(_written(net, "saved", tmp_path))
    y = lrnorm.local_response_norm(x, spec=found.spec, axis=found.axis)
    np.testing.assert_allclose(net.call(x).numpy(), y, rtol=1e-5)
