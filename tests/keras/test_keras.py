"""The Keras layer, whatever the backend: PyTorch here, JAX in a process of its own, and TensorFlow
in an environment of its own (tests/frameworks)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refusal
from tolerances import assert_close, for_forward

import lrnorm
from lrnorm import KindError, LRNormError, LRNSpec, ParameterError, ShapeError
from lrnorm._spec import reference as reference

keras: Any = pytest.importorskip("keras")

from lrnorm.keras import LocalResponseNormalization as Layer  # noqa: E402

# Keras asks NumPy for PyTorch's numbers in a way that NumPy is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BACKEND = keras.backend.backend()
SPEC = LRNSpec(0.3, 0.75, 1.1, 2, 1)
WORDS: dict[str, Any] = {"alpha": 1.2, "beta": 0.75, "bias": 1.1, "channel_window_size": (2, 1)}
NAMES = ("alpha", "beta", "bias")


def sample(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * 1.5).astype(dtype)


def numpy_of(tensor: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _torch_gradient(total: Callable[[Any], Any], x: Any) -> Any:
    import torch

    leaf = torch.tensor(x, requires_grad=True)
    return torch.autograd.grad(total(leaf), leaf)[0]


def _jax_gradient(total: Callable[[Any], Any], x: Any) -> Any:
    import jax

    return jax.grad(total)(jax.numpy.asarray(x))


def _tensorflow_gradient(total: Callable[[Any], Any], x: Any) -> Any:
    import tensorflow as tf

    leaf = tf.Variable(x)
    with tf.GradientTape() as tape:
        value = total(leaf)
    return tape.gradient(value, leaf)


GRADIENTS = {"torch": _torch_gradient, "jax": _jax_gradient, "tensorflow": _tensorflow_gradient}


def trained(layer: Any, x: Any, g: Any, **how: Any) -> Any:
    """A model of that layer after one step of gradient descent on the mean of sum(g * y)."""
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    axes = tuple(range(1, x.ndim))
    model.compile(
        keras.optimizers.SGD(1.0),
        lambda g, y: keras.ops.sum(g * y, axis=axes),
        **how,
    )
    model.fit(x, g, batch_size=len(x), verbose=0)
    return model


# On PyTorch a C++ compiler builds each step.
waits_for_a_compiler = pytest.mark.slow if BACKEND == "torch" else lambda test: test


# Values


@pytest.mark.parametrize("learnable", [False, True])
def test_values(learnable: bool, specs: dict[str, LRNSpec]) -> None:
    x = sample(2, 5, 3, 7)
    for spec in specs.values():
        names = ("beta", "bias") if spec.before is None or spec.after is None else True
        for axis in (-1, 1, -2):
            layer = Layer(spec=spec, axis=axis, learnable=names if learnable else False)
            y = numpy_of(layer(x))
            assert y.dtype == np.float32
            name = for_forward(y.dtype, spec.beta) if not learnable else "steep forward"
            assert_close(y, reference.forward(x, layer.spec, axis), name, note=(spec, axis))


@pytest.mark.parametrize("shape", [(2, 7), (2, 4, 7), (2, 3, 4, 2, 7), (0, 3, 7), (3, 1), (2, 0)])
def test_ranks_and_sizes(shape: tuple[int, ...]) -> None:
    x = sample(*shape)
    y = numpy_of(Layer(**WORDS)(x))
    assert y.shape == shape
    assert_close(y, reference.forward(x, SPEC, -1), "steep forward")


@pytest.mark.parametrize(
    "policy", ["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"]
)
def test_policies(policy: str) -> None:
    """What comes out, and what is computed from, has the compute dtype."""
    layer = Layer(**WORDS, dtype=policy, learnable="beta")
    name = policy.removeprefix("mixed_")
    x = keras.ops.cast(sample(3, 4, 7), name)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == name
    assert layer.beta.dtype == "float32"
    wide, result = (numpy_of(keras.ops.cast(v, "float64")) for v in (x, y))
    right = reference.forward(wide, SPEC, -1)
    units = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-21, "float64": 2.0**-49}
    np.testing.assert_allclose(result, right, rtol=units[name])
    assert Layer(dtype=policy).compute_output_spec(keras.KerasTensor((2, 7))).dtype == name


def test_integers_come_in_as_well() -> None:
    x = np.arange(14.0).reshape(2, 7)
    for dtype in ("float32", "float64"):
        y = numpy_of(Layer(**WORDS, dtype=dtype)(np.arange(14).reshape(2, 7)))
        assert y.dtype == dtype
        assert_close(y, reference.forward(x, SPEC, -1), "steep forward")


def test_squares_beyond_the_type() -> None:
    x = np.full((1, 3), 1e20, np.float32)
    y = numpy_of(Layer(alpha=3.0, channel_window_size=1)(x))
    np.testing.assert_allclose(y, [[0.5**0.5, 3**-0.5, 0.5**0.5]], rtol=1e-6)


def test_one_infinite_channel_stays_in_its_window() -> None:
    x = sample(1, 12)
    x[0, 6] = np.inf
    y = numpy_of(Layer(**WORDS)(x))[0]
    assert np.isnan(y).tolist() == [i == 6 for i in range(12)]
    assert (np.flatnonzero(y == 0)).tolist() == [5, 7, 8]


# Gradients and training


def test_the_gradient_is_the_oracles() -> None:
    x, g = sample(2, 4, 7), sample(2, 4, 7, seed=1)
    for axis in (-1, 1):
        layer = Layer(**WORDS, axis=axis)
        dx = GRADIENTS[BACKEND](
            lambda x, layer=layer: keras.ops.sum(keras.ops.multiply(layer(x), g)), x
        )
        right = reference.vjp(x, g, SPEC, axis)
        np.testing.assert_allclose(numpy_of(dx), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("learnable", [True, "beta", ("bias", "alpha")], ids=str)
@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}], ids=str)
def test_a_step_of_training_goes_down_the_oracles_gradient(learnable: Any, how: Any) -> None:
    x, g = sample(4, 3, 7), sample(4, 3, 7, seed=1) * 0.01
    layer = trained(Layer(**WORDS, learnable=learnable), x, g, **how).layers[0]
    gradients = reference.parameter_gradients(x, g, SPEC, -1)
    gradients["alpha"] = gradients["scale"] / 4
    for name in NAMES:
        value = getattr(layer, name)
        if learnable is True or name in learnable:
            right = WORDS[name] - gradients[name] / len(x)
            assert abs(gradients[name]) > 1e-4
            np.testing.assert_allclose(numpy_of(value), [right], rtol=1e-5)
        else:
            assert value == WORDS[name]


@waits_for_a_compiler
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_compiled_step_is_the_same() -> None:
    x, g = sample(4, 3, 7), sample(4, 3, 7, seed=1) * 0.01
    compiled, plain = (
        trained(Layer(**WORDS, learnable=True), x, g, jit_compile=jit).layers[0]
        for jit in (True, False)
    )
    for name in NAMES:
        ours, theirs = (numpy_of(getattr(layer, name)) for layer in (compiled, plain))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        assert ours != np.float32(WORDS[name])


def test_weights_hold_the_numbers_given() -> None:
    layer = Layer(**WORDS, learnable=True, dtype="mixed_float16")
    assert layer.spec == SPEC
    layer.build((None, None, 7))
    assert [weight.name for weight in layer.trainable_weights] == list(NAMES)
    for name, weight in zip(NAMES, layer.trainable_weights, strict=True):
        assert (weight.shape, weight.dtype) == ((1,), "float32")
        assert numpy_of(weight) == np.float32(WORDS[name])
    assert layer.spec.isclose(SPEC)
    layer.beta.assign([0.5])
    assert layer.spec.beta == 0.5
    assert Layer(**WORDS).trainable_weights == []
    assert Layer(learnable=["bias", "alpha"]).learnable == ("alpha", "bias")


def test_a_spec_tells_alpha_where_its_window_has_a_width() -> None:
    layer = Layer(spec=SPEC)
    assert (layer.alpha, layer.beta, layer.bias) == (1.2, 0.75, 1.1)
    assert Layer(spec=LRNSpec.divisive(1)).alpha is None


def test_weights_keep_their_precision_under_a_policy_of_sixteen_bits() -> None:
    """As float16, this alpha would be 0."""
    x = np.full((1, 3), 3e4, np.float16)
    y = Layer(alpha=1e-8, channel_window_size=1, learnable=True, dtype="mixed_float16")(x)
    right = reference.forward(x, LRNSpec.from_keywords(1e-8, channel_window_size=1), -1)
    np.testing.assert_allclose(numpy_of(y).astype("float64"), right, rtol=2.0**-10)


def test_a_step_under_mixed_precision() -> None:
    x, g = sample(4, 3, 7), sample(4, 3, 7, seed=1) * 0.01
    layer = trained(Layer(**WORDS, learnable=True, dtype="mixed_bfloat16"), x, g).layers[0]
    exactly = reference.parameter_gradients(x, g, SPEC, -1)
    change = (numpy_of(layer.bias) - WORDS["bias"]) * -len(x)
    np.testing.assert_allclose(change, exactly["bias"], rtol=0.05)


# Shapes


def test_unknown_sizes_stay_unknown() -> None:
    x = keras.Input((None, None, 7))
    y = Layer(**WORDS, learnable=True)(x)
    assert (y.shape, y.dtype) == ((None, None, None, 7), "float32")
    model = keras.Model(x, y)
    for shape in ((1, 2, 3, 7), (3, 1, 5, 7)):
        values = sample(*shape)
        right = reference.forward(values, SPEC, -1)
        assert_close(numpy_of(model(values)), right, "steep forward")
    assert Layer(axis=1).compute_output_shape((None, 5, None)) == (None, 5, None)


def test_masks_go_through() -> None:
    x = np.array([[[1.0, 2.0], [0.0, 0.0]]], np.float32)
    masked = keras.layers.Masking()(x)
    assert numpy_of(Layer()(masked)._keras_mask).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("axis", "shape", "text"),
    [
        (0, (2, 3, 7), "axis must be that of the channels, got 0 for the shape (2, 3, 7), which"),
        (-3, (2, 3, 7), "is the batch. Pass another, for example axis=-1."),
        (3, (2, 3, 7), "axis must lie in -3 … 2 for an array of rank 3, got 3."),
        (-1, (2, None), "the number of channels must be known, got the shape (2, None) with axis"),
        (1, (None, None, 7), "axis 1. Give that size, for example in keras.Input."),
    ],
)
def test_a_shape_that_does_not_fit(axis: int, shape: Any, text: str) -> None:
    with refusal(ShapeError, text):
        Layer(axis=axis)(keras.KerasTensor(shape))


# Saving


CASES: dict[str, dict[str, Any]] = {
    "numbers": WORDS,
    "defaults": {},
    "spec": {"spec": LRNSpec.divisive(0.5), "axis": 1},
    "learning": {**WORDS, "learnable": ("beta", "alpha"), "name": "norm"},
    "learning spec": {"spec": SPEC, "learnable": True, "dtype": "mixed_float16"},
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_a_configuration_makes_the_same_layer(words: dict[str, Any]) -> None:
    layer = Layer(**words)
    config = json.loads(json.dumps(layer.get_config()))
    again = Layer.from_config(config)
    assert (again.spec, again.axis, again.learnable) == (layer.spec, layer.axis, layer.learnable)
    assert again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(Layer) == "lrnorm>LocalResponseNormalization"


def test_a_configuration_holds_plain_numbers() -> None:
    numbers = {"alpha": np.float32(1.5), "beta": 2, "channel_window_size": np.int64(3)}
    config = Layer(**numbers).get_config()
    assert [config[name] for name in (*NAMES, "channel_window_size")] == [1.5, 2.0, 1.0, 3]
    assert {type(config[name]) for name in NAMES} == {float}
    assert Layer(spec=SPEC).get_config()["spec"] == [0.3, 0.75, 1.1, 2, 1]


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_a_saved_model_predicts_the_same_bits(words: dict[str, Any], tmp_path: Path) -> None:
    x = sample(3, 4, 5, 7)
    model = keras.Sequential([keras.Input((4, 5, 7)), keras.layers.Dense(7), Layer(**words)])
    model.compile("sgd", "mse")
    model.fit(x, x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[1].spec == model.layers[1].spec
    assert model.predict(x, verbose=0).tobytes() == again.predict(x, verbose=0).tobytes()


def test_loading_needs_only_the_import(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((7,)), Layer(**WORDS, learnable=True)])
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, lrnorm.keras\n"
        "layer = keras.models.load_model(sys.argv[1]).layers[0]\n"
        "print(layer.spec)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == repr(model.layers[0].spec)


# Errors at construction


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ({"alpha": "1"}, KindError, "alpha must be a finite real number, got '1'."),
        ({"bias": np.inf}, ParameterError, "bias must be a finite real number, got inf."),
        (
            {"channel_window_size": 2.5},
            ParameterError,
            "channel_window_size must be a positive integer, got 2.5. It is a radius: 2 averages",
        ),
        ({"spec": 5}, KindError, "spec must be an LRNSpec, got 5."),
        (
            {"spec": SPEC, "beta": 0.5},
            KindError,
            "got spec and beta. Give one or the other.",
        ),
        ({"axis": 1.0}, KindError, "axis must be an integer, got 1.0."),
        ({"axis": None}, KindError, "axis must be an integer, got None."),
        (
            {"learnable": "gamma"},
            ParameterError,
            "learnable must be True, False or names among alpha, beta, bias, got 'gamma'.",
        ),
        (
            {"learnable": 1.0},
            KindError,
            "learnable must be True, False or names among alpha, beta, bias, got 1.0.",
        ),
        (
            {"learnable": True, "spec": LRNSpec.divisive(1)},
            ParameterError,
            "learnable alpha is divided by the window size, got a window that reaches to the end "
            "of the axis: LRNSpec(scale=1.0, beta=0.5, bias=1.0, before=None, after=None)",
        ),
        (
            {"size": 5},
            KindError,
            "LocalResponseNormalization() has no argument 'size'. size is a width in PyTorch: "
            "here channel_window_size=2",
        ),
        ({"depth_radius": 2}, KindError, "here channel_window_size=2 and alpha=alpha * 5"),
        (
            {"data_format": "channels_first"},
            KindError,
            "has no argument 'data_format'. data_format is a layout: here axis=-1",
        ),
        (
            {"depth": 1},
            KindError,
            "has no argument 'depth'. It takes alpha, beta, bias, channel_window_size, "
            "spec, axis, learnable, name, dtype, trainable, autocast, activity_regularizer.",
        ),
    ],
    ids=str,
)
def test_nonsense_is_refused_at_once(
    words: dict[str, Any], kind: type[LRNormError], text: str
) -> None:
    with refusal(kind, text):
        Layer(**words)


def test_without_keras_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("raise ImportError('no backend')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", "import lrnorm; lrnorm.keras"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "MissingDependencyError: lrnorm.keras needs Keras 3 and the backend" in done.stderr
    assert "pip install 'lrnorm[keras]'" in done.stderr


# The other backends


@pytest.mark.skipif(BACKEND != "torch", reason="one process for each backend")
def test_all_of_this_on_jax() -> None:
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"[5-9]\d passed, \d skipped", done.stdout)


def test_the_layer_is_reached_from_the_package() -> None:
    assert lrnorm.keras.LocalResponseNormalization is Layer


def test_complex_numbers_are_refused_before_they_are_cut():
    with pytest.raises(TypeError, match="x must hold real numbers, got complex128"):
        Layer()(np.ones((1, 4), complex))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX exports by way of TensorFlow")
@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize(("axis", "shape"), [(1, (7, 5, 4)), (-1, (5, 4, 7)), (-1, (5, 7))])
@pytest.mark.parametrize("radius", [2, [2, 1]])
def test_lrns_are_found_in_the_onnx_export(
    axis: int, shape: tuple[int, ...], radius: Any, tmp_path: Path
) -> None:
    for module in ("onnx", "onnxruntime", "onnxscript" if BACKEND == "torch" else "tf2onnx"):
        pytest.importorskip(module)
    import lrnorm.onnx

    layer = Layer(alpha=0.9, beta=0.6, bias=1.5, channel_window_size=radius, axis=axis)
    model = keras.Sequential([keras.Input(shape), layer])
    x, path = sample(1, *shape), tmp_path / "net.onnx"  # Keras writes a batch of one
    y = numpy_of(model(x))
    model.export(str(path), format="onnx", verbose=False)
    [found] = lrnorm.models.find(path)
    assert found.spec is not None and found.spec.isclose(layer.spec)
    assert found.axis == axis % (len(shape) + 1)
    whole, fused = lrnorm.onnx.load(path), lrnorm.onnx.fuse(path)
    assert len(lrnorm.onnx.specs(fused)) == (radius == 2)
    for net in (whole, lrnorm.onnx.load(fused)):
        assert_close(numpy_of(net(x)), y, "framework")
