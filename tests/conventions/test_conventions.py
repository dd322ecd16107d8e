"""Every framework's words: what they mean."""

from __future__ import annotations

import doctest
import importlib.util
import math
import re
from pathlib import Path
from typing import Any

import pytest
from published import BOXES, EVEN_FOUR, LIMITED, LINES, TABLE, refused, words

import lrnorm
from lrnorm import KindError, LRNSpec, ParameterError, conventions

# Reading


def test_the_names_are_those_of_the_table() -> None:
    assert conventions.names() == tuple(sorted(TABLE))


@pytest.mark.parametrize("name", LINES)
def test_an_odd_window_reaches_equally_far(name: str) -> None:
    _, measure, _, divisor, _ = TABLE[name]
    width = 3 if measure == "width" else 1
    scale = 0.9 / 3 if divisor == "n" else 0.9
    spec = conventions.read(name, **words(name, width, 0.9, 0.6, 1.25))
    assert spec == LRNSpec(scale, 0.6, 1.25, 1, 1)


@pytest.mark.parametrize("name", [name for name in LINES if TABLE[name][1] == "width"])
def test_an_even_window_leans_as_the_framework_has_it(name: str) -> None:
    _, _, even, divisor, _ = TABLE[name]
    given = words(name, 4, 0.9, 0.6, 1.25)
    if even == "-":
        error = refused(conventions.read, name, **given)
        word = TABLE[name][0].split()[0]
        assert "must be odd" in str(error) and f"got 4. Nearest: {word}=5" in str(error)
        assert conventions.read(name, **error.nearest).ends(9) == (2, 2)
    else:
        scale = 0.9 / 4 if divisor == "n" else 0.9
        assert conventions.read(name, **given) == LRNSpec(scale, 0.6, 1.25, *EVEN_FOUR[even])


@pytest.mark.parametrize("name", LINES)
def test_the_defaults_are_the_frameworks(name: str) -> None:
    keys, measure, _, divisor, texts = TABLE[name]
    defaults = dict(zip(keys.split(), texts.split(), strict=True))
    missing = {word for word, text in defaults.items() if text == "!"}
    for word in missing:
        rest = dict.fromkeys(missing - {word}, 3)
        with pytest.raises(KindError, match=f"^{name} needs {word}, which has no default"):
            conventions.read(name, **rest)
    if len(missing) == 4:
        assert not set(conventions.describe(name).defaults) & set(defaults)
        return
    size, alpha, beta, bias = (float(t) if t != "!" else 3.0 for t in defaults.values())
    radius = int(size) // 2 if measure == "width" else int(size)
    scale = alpha / (2 * radius + 1) if divisor == "n" else alpha
    spec = conventions.read(name, **dict.fromkeys(missing, 3))
    assert spec == LRNSpec(scale, beta, bias, radius, radius)
    told = conventions.describe(name).defaults
    assert {word: told[word] for word in defaults if word not in missing} == {
        word: float(text) for word, text in defaults.items() if text != "!"
    }


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("pytorch", "torch"),
        ("PyTorch", "torch"),
        ("tf", "tensorflow"),
        ("TFLite", "tflite"),
        ("nnapi", "nnapi"),
        ("keras0", "keras"),
        ("pylearn2", "lasagne"),
        ("Core ML", "coreml"),
        ("mps", "coreml"),
        ("tinygrad", "burn"),
        ("trt", "tensorrt"),
        ("ort", "onnxruntime"),
        ("caffe-within", "caffe_within"),
        ("Mathematica", "wolfram"),
    ],
)
def test_what_people_say_is_understood(said: str, key: str) -> None:
    assert conventions.describe(said) == conventions.describe(key)


def test_an_unknown_name_lists_those_there_are() -> None:
    text = r"convention must be a known name, got 'jax'\. Choose from alexnet"
    with pytest.raises(ParameterError, match=text):
        conventions.read("jax")
    with pytest.raises(KindError, match="name of a convention must be a str, got 5"):
        conventions.describe(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("torch", {"local_size": 5}, "^torch has no word 'local_size'. It takes size, alpha, beta"),
        ("arm_compute", {"n": 5}, "It takes norm_size, alpha, beta, kappa, is_scaled"),
        ("torch", {"size": 5, "Size": 5}, "^torch got size twice, the second time as 'Size'"),
        ("torch", {"size": 5.0}, r"^size must be an integer, got 5\.0"),
        ("torch", {"size": True}, "^size must be an integer, got True"),
        ("torch", {"size": 5, "alpha": "1"}, "^alpha must be a finite real number, got '1'"),
        ("nnef", {"size": "5"}, "^size must be an integer, got '5'"),
        ("openvino", {"axes": "C"}, "^axes must be an axis or a list of axes, got 'C'"),
        ("matconvnet", {"param": [5, 1, 2, 0.5], "N": 7}, "^param holds N too. Give it once"),
        ("matconvnet", {"n": 7, "Param": [5, 1, 2, 0.5]}, "^param holds n too"),
    ],
)
def test_words_and_kinds_that_do_not_fit(name: str, given: Any, message: str) -> None:
    with pytest.raises(KindError, match=message):
        conventions.read(name, **given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("torch", {"size": 0}, "^size must be at least 1, got 0"),
        ("tensorflow", {"depth_radius": -1}, "^depth_radius must be at least 0, got -1"),
        ("wolfram", {"channel_window_size": 0}, "^channel_window_size must be at least 1, got 0"),
        ("torch", {"size": 5, "k": math.nan}, "^k must be a finite real number, got nan"),
        ("opencv", {"norm_by_size": 1}, "^norm_by_size must be True or False, got 1"),
        ("caffe2", {"size": 5, "order": "CHW"}, "^order must be 'NCHW' or 'NHWC', got 'CHW'"),
        ("lrnorm", {"channel_window_size": (0, 0)}, r"must not be \(0, 0\)"),
        ("nnef", {"size": []}, r"^size must be a list with a width for each axis, got \[\]"),
        ("nnef", {"size": [1, 0]}, r"^size\[1\] must be at least 1, got 0"),
    ],
)
def test_values_that_mean_nothing(name: str, given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        conventions.read(name, **given)


def test_capitals_and_underscores_do_not_matter() -> None:
    spec = conventions.read("wolfram", Alpha=2.0, ChannelWindowSize=1)
    assert spec == conventions.read("wolfram", alpha=2.0, channel_window_size=1)


def test_a_radius_of_none_is_a_window_of_one() -> None:
    assert conventions.read("tf", depth_radius=0) == LRNSpec(1.0, 0.5, 1.0, 0, 0)


def test_switches_say_whether_alpha_is_divided() -> None:
    arm = {"norm_size": 3, "alpha": 0.9}
    assert conventions.read("arm_compute", **arm, is_scaled=False).scale == 0.9
    assert conventions.read("arm_compute", **arm, is_scaled=True).scale == 0.9 / 3
    assert conventions.read("opencv", local_size=3, alpha=0.9, norm_by_size=False).scale == 0.9


def test_where_the_channels_are_does_not_change_the_numbers() -> None:
    for name, word in (("caffe2", "order"), ("paddle", "data_format")):
        given = {"size": 3, "alpha": 0.9}
        last = conventions.read(name, **given, **{word: "NHWC"})
        assert last == conventions.read(name, **given)


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("cudnn", {"lrnN": 17}, "lrnN is a width.*at most 16, got 17"),
        ("cudnn", {"lrnK": 9e-6}, "^cudnn takes 1e-05 ≤ lrnK, got 9e-06"),
        ("cudnn", {"lrnBeta": 0.009}, "^cudnn takes 0.01 ≤ lrnBeta, got 0.009"),
        ("matlab", {"WindowChannelSize": 17}, "at most 16, got 17"),
        ("tensorrt", {"windowSize": 17}, "at most 15, got 17"),
        ("tensorrt", {"alpha": 2e20}, r"takes -1e\+20 ≤ alpha ≤ 1e\+20, got 2e\+20"),
        ("tensorrt", {"beta": 0.0}, "takes 0.01 ≤ beta ≤ 100000, got 0.0"),
        ("tensorrt", {"k": 0.0}, r"takes 1e-05 ≤ k ≤ 1e\+10, got 0.0"),
        ("onnxruntime", {"alpha": 0.0}, "^onnxruntime takes alpha > 0, got 0.0"),
        ("onnxruntime", {"beta": -1}, "^onnxruntime takes beta > 0, got -1.0"),
    ],
)
def test_values_outside_the_limits(name: str, given: Any, reason: str) -> None:
    error = refused(conventions.read, name, **(words(name, 5, 1.0, 0.75, 1.0) | given))
    assert re.search(reason, error.reason)
    conventions.read(name, **error.nearest)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cudnn", words("cudnn", 16, 1.0, 0.01, 1e-5)),
        ("tensorrt", words("tensorrt", 15, -1e20, 0.01, 1e-5)),
        ("tensorrt", words("tensorrt", 15, 1e20, 1e5, 1e10)),
    ],
)
def test_the_limits_themselves_are_inside(name: str, given: Any) -> None:
    assert conventions.write(name, conventions.read(name, **given)) == given


# Boxes: name, words, and what they mean.
SAID = [
    *(
        (name, words(name, 3, 0.9, 0.75, 1.0), LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1)))
        for name in BOXES
    ),
    (
        "caffe",
        {"local_size": 3, "alpha": 0.9, "norm_region": "WITHIN_CHANNEL"},
        LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1)),
    ),
    (
        "opencv",
        {"local_size": 5, "alpha": 0.5, "bias": 2.0, "norm_region": "WITHIN_CHANNEL"},
        LRNSpec(0.02, 0.75, 2.0, (2, 2), (2, 2)),
    ),
    (
        "miopen",
        {"mode": "miopenLRNWithinChannel", **words("miopen", 3, 0.9, 0.75, 1.0)},
        LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1)),
    ),
    ("openvino", {"axes": [2, 3], "size": 4}, LRNSpec(1 / 16, 0.5, 1.0, (1, 1), (1, 1))),
    ("openvino", {"axes": [2, 3, 4], "size": 2}, LRNSpec(1 / 8, 0.5, 1.0, (0, 0, 0), (0, 0, 0))),
    ("nnef", {"size": [1, 1, 3, 4]}, LRNSpec(1 / 12, 0.5, 1.0, (1, 1), (1, 2))),
    ("cudnn_divisive", {"lrnN": 4, "nbDims": 5}, LRNSpec(1e-4 / 64, 0.75, 2.0, (1,) * 3, (2,) * 3)),
    (
        "onednn_within",
        {"ndims": 5, **words("onednn_within", 3, 2.7, 0.75, 1.0)},
        LRNSpec(0.1, 0.75, 1.0, (1,) * 3, (1,) * 3),
    ),
    ("mnn_within", words("mnn_within", 4, 1.6, 1.0, 2.0), LRNSpec(0.1, 1.0, 2.0, (2, 2), (1, 1))),
    ("ncnn_within", {"local_size": 2}, LRNSpec(0.25, 0.75, 1.0, (1, 1), (0, 0))),
    (
        "lrnorm",
        {"channel_window_size": [1, (2, 0)], "axis": (2, 3)},
        LRNSpec(1 / 9, 0.5, 1.0, (1, 2), (1, 0)),
    ),
    (
        "lrnorm",
        {"channel_window_size": (1, 0), "axis": (2, 3)},
        LRNSpec(0.25, 0.5, 1.0, (1, 1), (0, 0)),
    ),
]


@pytest.mark.parametrize(("name", "given", "spec"), SAID)
def test_boxes(name: str, given: Any, spec: LRNSpec) -> None:
    read = conventions.read(name, **given)
    assert read.isclose(spec, rel_tol=1e-15) and isinstance(read.before, tuple)
    said = conventions.write(name, read)
    assert conventions.read(name, **said).isclose(read, rel_tol=1e-15)
    line = conventions.call(name, read)
    assert "$" not in line and (name != "caffe" or "WITHIN_CHANNEL" in line)


def test_a_box_is_computed_as_the_words_say() -> None:
    x = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    spec = conventions.read("caffe", local_size=3, alpha=9, beta=1, norm_region="WITHIN_CHANNEL")
    y = lrnorm.local_response_norm(x, spec=spec, axis=(0, 1))
    assert y == lrnorm.local_response_norm(x, **conventions.write("lrnorm", spec))
    assert (y[0][0], y[1][1]) == (1 / 47, 5 / 286)


@pytest.mark.parametrize(
    "name", [name for name in LINES if name not in ("nnef", "openvino", "lrnorm")]
)
def test_a_box_is_refused_where_there_is_none(name: str) -> None:
    spec = LRNSpec(0.1, 0.75, 1.25, (1, 1, 1), (1, 1, 1))
    error = refused(conventions.write, name, spec)
    assert "not over" in error.reason
    assert conventions.read(name, **error.nearest).before == 1


def test_a_box_with_another_width_along_each_axis() -> None:
    error = refused(conventions.write, "caffe_within", LRNSpec(0.1, 0.75, 1.0, (1, 2), (1, 2)))
    assert "caffe_within has no box of before=(1, 2), after=(1, 2)" in error.reason
    assert "the same along each axis" in error.reason
    assert conventions.read("caffe_within", **error.nearest).before == (2, 2)


def test_words_of_a_framework_s_own() -> None:
    spec = LRNSpec(2e-5, 0.75, 1.0, 2, 2)
    assert conventions.read("matconvnet", param=[5, 1, 2e-5, 0.75]) == spec
    with pytest.raises(ParameterError, match=r"^param must be \[N KAPPA ALPHA BETA\], got \[5\]"):
        conventions.read("matconvnet", param=[5])
    with pytest.raises(ParameterError, match=r"^axes must be different axes, got \[2, 2\]"):
        conventions.read("openvino", size=3, axes=[2, 2])
    given = {"alpha": 2e-5, "beta": 0.75, "bias": 1.0}
    for name, word in (
        ("tflite", "radius"),
        ("tf", "radius"),
        ("nnapi", "radius"),
        ("tfjs", "depthRadius"),
    ):
        assert conventions.read(name, **{word: 2}, **given) == spec
    assert conventions.write("tflite", spec)["radius"] == 2


@pytest.mark.parametrize("name", BOXES)
def test_a_box_of_one_is_a_window_of_one(name: str) -> None:
    bias = 1.0 if name == "caffe_within" else 1.25
    given = words(name, 1, 0.9, 0.6, bias)
    spec = conventions.read(name, **given)
    assert spec == LRNSpec(0.9, 0.6, bias, (0, 0), (0, 0))
    assert conventions.write(name, spec) == given


def test_caffe_ignores_k_within_channels() -> None:
    assert conventions.read("caffe_within", local_size=1, k=3.0).bias == 1.0
    error = refused(conventions.write, "caffe_within", LRNSpec(0.9, 0.6, 2.0, (0, 0), (0, 0)))
    assert error.reason == "caffe_within ignores k: it is always 1, not 2.0"
    assert error.nearest == words("caffe_within", 1, 0.9, 0.6, 1.0)


def test_one_axis_of_nnef_and_openvino_is_a_window() -> None:
    spec = LRNSpec(0.9 / 3, 0.6, 1.25, 1, 1)
    rest = {"alpha": 0.9, "beta": 0.6, "bias": 1.25}
    for size in ([1, 3, 1, 1], [1, 1, 1, 3], (3,), 3):
        assert conventions.read("nnef", size=size, **rest) == spec
    for axes in ([1], [3], 2):
        assert conventions.read("openvino", size=3, axes=axes, **rest) == spec


# Describing


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_description_tells_all(name: str) -> None:
    page = conventions.describe(name)
    text = repr(page)
    assert text.startswith(f"{name}: {page.title}\n") and "{" not in text.replace("{0,1}", "")
    size, alpha, beta, bias = TABLE[name][0].split()
    assert page.formula.startswith("y") and f"^-{beta}" in page.formula and alpha in page.formula
    assert (bias in page.formula) == (name != "caffe_within")
    assert ("/" in page.formula) == (TABLE[name][3] == "n")
    assert size in page.window and ("radius" in page.window) == (TABLE[name][1] == "radius")
    assert bool(page.limits) == (name in (*LIMITED, "cudnn_divisive"))
    for line in (page.window, page.axis, page.source, page.limits or "none"):
        assert line and line in text


def test_limits_are_told() -> None:
    assert conventions.describe("cudnn").limits == "lrnN ≤ 16, 0.01 ≤ lrnBeta, 1e-05 ≤ lrnK"
    assert conventions.describe("onnxruntime").limits == "alpha > 0, beta > 0"


# The layer


def test_a_layer_from_a_framework_s_words() -> None:
    make = lrnorm.LocalResponseNormalizationLayer.from_convention
    layer = make("caffe", local_size=5, alpha=1e-4, input=(5, None, None))
    assert layer == lrnorm.LocalResponseNormalizationLayer(
        alpha=1e-4, beta=0.75, bias=1.0, channel_window_size=2, input=(5, None, None)
    )
    assert make("torch", size=4).channel_window_size == (2, 1)
    assert make("onnx", size=4).spec == conventions.read("onnx", size=4)
    assert make("wolfram") == lrnorm.LocalResponseNormalizationLayer()


def test_a_layer_has_no_window_of_one() -> None:
    error = refused(
        lrnorm.LocalResponseNormalizationLayer.from_convention, "torch", size=1, alpha=0.9
    )
    assert "lrnorm.local_response_norm(x, spec=LRNSpec(scale=0.9, beta=0.75" in error.reason


# The page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is in the repository only")
def test_the_page_is_what_the_code_generates() -> None:
    path = DOCS / "conventions_table.py"
    module = importlib.util.spec_from_file_location("conventions_table", path)
    assert module is not None and module.loader is not None
    generator = importlib.util.module_from_spec(module)
    module.loader.exec_module(generator)
    text = generator.PAGE.read_text(encoding="utf-8")
    assert generator.page(text) == text, "run: python docs/conventions_table.py"
    examples = doctest.testfile(str(generator.PAGE), module_relative=False, encoding="utf-8")
    assert examples.attempted > 5 and examples.failed == 0
