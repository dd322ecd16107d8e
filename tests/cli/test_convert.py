"""`lrnorm convert`, and `lrnorm apply --convention`: what they print, and how they end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import check_parts

import lrnorm
from lrnorm import (
    ConventionError,
    FileError,
    KindError,
    LRNormError,
    LRNSpec,
    ParameterError,
    conventions,
)

Run = Callable[..., tuple[int, str, str]]
LrnError = Callable[..., LRNormError]
PAIR = "a parameter", "must be given as KEY=VALUE, such as size=5"
NAME = "convention", "must be a known name"


def test_five_numbers_the_axis_and_the_call(lrn: Run) -> None:
    status, out, err = lrn("convert", "torch", "tensorflow", "size=5", "alpha=1e-4")
    assert (status, err) == (0, "")
    assert out == (
        "LRNSpec(scale=2e-05, beta=0.75, bias=1.0, before=2, after=2)\n"
        "channels: from axis 1 of (N, C, H, W) to axis 3 of (N, H, W, C): "
        "transpose by (0, 2, 3, 1)\n"
        "note: tensorflow takes rank 4\n"
        "\n"
        "tf.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=2e-05, beta=0.75)\n"
    )


def test_the_transposition_brings_the_channels_there(lrn: Run) -> None:
    x = np.empty((2, 3, 4, 5))  # (N, C, H, W)
    for target, shape in (("tf", (2, 4, 5, 3)), ("matconvnet", (4, 5, 3, 2))):
        _, out, _ = lrn("convert", "torch", target, "size=5")
        axes = re.search(r"transpose by \((.*)\)", out)
        assert axes is not None
        assert x.transpose([int(i) for i in axes[1].split(",")]).shape == shape


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("caffe", "they stay on axis 1 of (N, C, H, W)"),
        ("wolfram", "from axis 1 of (N, C, H, W) to axis 0 of (C, H, W)"),
        ("paper", "1 of (N, C, …) → the kernel maps at one position"),
    ],
)
def test_where_the_channels_are(lrn: Run, target: str, line: str) -> None:
    assert lrn("convert", "torch", target, "size=5")[1].splitlines()[1] == f"channels: {line}"


CALLS = {
    "torch": "torch.nn.LocalResponseNorm(size=5, alpha=0.0001, beta=0.75, k=1.0)",
    "wolfram": 'LocalResponseNormalizationLayer["Alpha" -> 0.0001, "Beta" -> 0.75, '
    '"Bias" -> 1.0, "ChannelWindowSize" -> 2]',
    "arm_compute": "arm_compute::NormalizationLayerInfo(arm_compute::NormType::CROSS_MAP, 5, "
    "0.0001, 0.75, 1.0, true)",
    "openvino": "openvino.opset10.lrn(x, axes=[1], alpha=0.0001, beta=0.75, bias=1.0, size=5)",
    "caffe2": 'brew.lrn(model, "x", "y", size=5, alpha=0.0001, beta=0.75, bias=1.0, '
    "order='NCHW')",
    "matconvnet": "vl_nnnormalize(x, [5 1.0 2e-05 0.75])",
    "darknet": "[normalization]\nsize=5\nalpha=2e-05\nbeta=0.75\nkappa=1.0",
}


@pytest.mark.parametrize("target", CALLS)
def test_it_ends_with_the_call(lrn: Run, target: str) -> None:
    assert lrn("convert", "torch", target, "size=5")[1].endswith(f"\n\n{CALLS[target]}\n")


@pytest.mark.parametrize(
    "name", [n for n in conventions.names() if not n.endswith(("_within", "_divisive"))]
)
def test_every_call_says_every_number(lrn: Run, name: str) -> None:
    spec = LRNSpec(0.25, 0.625, 1.75, 3, 3)
    given = [f"{w}={v}" for w, v in conventions.write("tf", spec).items()]
    call = lrn("convert", "tf", name, *given)[1].split("\n\n")[1]
    assert "$" not in call
    for value in conventions.write(name, spec).values():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        assert re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", call), (value, call)


def test_wolfram_s_own_exponents(lrn: Run) -> None:
    out = lrn("convert", "caffe", "wolfram", "alpha=1e-5")[1]
    assert '"Alpha" -> 1*^-05,' in out


def test_words_may_be_lists_and_switches(lrn: Run) -> None:
    _, out, _ = lrn("convert", "nnef", "arm_compute", "size=[1,3,1,1]", "alpha=0.75")
    assert "CROSS_MAP, 3, 0.75, 0.5, 1.0, true)" in out
    _, out, _ = lrn("convert", "arm_compute", "tf", "norm_size=3", "alpha=2", "is_scaled=false")
    assert "alpha=2.0," in out
    assert lrn("convert", "caffe2", "tf", "size=3", "order=NHWC")[0] == 0


def test_a_scale_that_cannot_be_met_is_told(lrn: Run) -> None:
    _, out, _ = lrn("convert", "tf", "torch", "depth_radius=1", "alpha=0.1")
    assert "\nscale: 0.09999999999999999, the nearest to 0.1 that can be said\n" in out
    assert "scale:" not in lrn("convert", "tf", "torch", "depth_radius=1", "alpha=0.25")[1]


@pytest.mark.parametrize(
    ("words", "kind", "subject", "rule", "more"),
    [
        (
            *("torch tensorflow size=4", ConventionError, ""),
            *("tensorflow has no window of before=2, after=1", {"way_out": "Nearest: depth_r"}),
        ),
        ("torch tensorflow", KindError, "torch", "needs size, which has no default", {}),
        (
            *("torch tensorflow sizes=4", KindError, "torch", "has no word 'sizes'"),
            {"value": 4, "way_out": "It takes size, alpha, beta, k"},
        ),
        ("torch tensorflow size", ParameterError, *PAIR, {"value": "size"}),
        ("torch tensorflow size=", ParameterError, *PAIR, {"value": "size="}),
        ("torch tensorflow =5", ParameterError, *PAIR, {"value": "=5"}),
        (
            *("torch tensorflow size=5 size=7", ParameterError, "size", "must be given once"),
            {"value": "size=7", "got": "size=7 too"},
        ),
        ("torch tensorflow size=five", KindError, "size", "must be an integer", {"value": "five"}),
        (
            *("jax tensorflow", ParameterError, *NAME),
            {"value": "jax", "way_out": "Choose from alexnet_paper"},
        ),
        ("torch jax size=5", ParameterError, *NAME, {"value": "jax", "way_out": "Choose from"}),
        (
            *("caffe_within torch", ConventionError, ""),
            *("torch sums along the channels alone, not over a box of 2 axes", {}),
        ),
        ("torch", ParameterError, "", "the following arguments are required: TO", {}),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    lrn_error: LrnError, words: str, kind: Any, subject: str, rule: str, more: dict[str, Any]
) -> None:
    check_parts(lrn_error("convert", *words.split()), kind, subject, rule, **more)


def test_help_names_an_example(lrn: Run) -> None:
    assert "lrnorm convert torch tensorflow size=5 alpha=1e-4" in lrn("convert", "--help")[1]
    assert "\n  convert " in lrn("--help")[1]


# apply --convention


@pytest.fixture
def x(lrn: Run) -> Any:
    x = np.random.default_rng(1).normal(size=(6, 5, 4))
    np.save("x.npy", x)
    return x


def test_apply_in_a_framework_s_words(lrn: Run, x: Any) -> None:
    words = ["--convention", "caffe", "--set", "local_size=3", "--set", "alpha=0.9"]
    assert lrn("apply", "x.npy", "-o", "y.npy", *words)[0] == 0
    spec = LRNSpec(0.9 / 3, 0.75, 1.0, 1, 1)
    np.testing.assert_array_equal(np.load("y.npy"), lrnorm.local_response_norm(x, spec=spec))
    assert str(spec) in lrn("apply", "x.npy", *words)[1]


def test_a_convention_s_defaults_need_no_set(lrn: Run, x: Any) -> None:
    out = lrn("apply", "x.npy", "--convention", "wolfram")[1]
    assert str(LRNSpec.from_keywords()) in out


@pytest.mark.parametrize(
    ("words", "kind", "subject", "rule", "more"),
    [
        (
            *("--set size=5", ParameterError, "--set size=5", "is a parameter of a framework"),
            {"way_out": "Say of which with --convention NAME"},
        ),
        (
            "--convention torch --set size=5 --alpha 2 --channel-window-size 1",
            *(ParameterError, "--convention", "replaces --alpha, --channel-window-size"),
            {"way_out": "with --set KEY=VALUE"},
        ),
        (
            *("--convention torch --set local_size=5", KindError, "torch"),
            *("has no word 'local_size'", {"value": 5}),
        ),
        ("--convention pytorche", ParameterError, *NAME, {"value": "pytorche"}),
        ("--convention torch --set size", ParameterError, *PAIR, {"value": "size"}),
    ],
)
def test_apply_refuses_in_one_line(
    lrn_error: LrnError,
    x: Any,
    words: str,
    kind: Any,
    subject: str,
    rule: str,
    more: dict[str, Any],
) -> None:
    error = lrn_error("apply", "x.npy", "-o", "y.npy", *words.split())
    check_parts(error, kind, subject, rule, **more)
    assert not Path("y.npy").exists()


# Model files

DEPLOY = """
layer { name: "norm1" type: "LRN" lrn_param { local_size: 5 alpha: 1e-4 } }
layer { name: "norm2" type: "LRN" lrn_param { local_size: 4 } }
layer { name: "relu" type: "ReLU" }
"""


def test_every_lrn_of_a_file(lrn: Run) -> None:
    Path("deploy.prototxt").write_text(DEPLOY)
    status, out, err = lrn("convert", "deploy.prototxt", "tf")
    assert (status, err) == (0, "")
    first, second = re.split(r"\n\n(?=norm2)", out)
    assert first.splitlines()[0] == "norm1"
    assert "  LRNSpec(scale=2e-05, beta=0.75, bias=1.0, before=2, after=2)" in first
    assert "  channels: from axis 1 of (N, C, H, W) to axis 3 of (N, H, W, C)" in first
    assert (
        "\n  tf.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=2e-05" in first
    )
    assert "not converted: " in second and "must be odd" in second


def test_what_the_target_cannot_say_is_said_for_each(lrn: Run) -> None:
    text = "7767517\n2 3\nLRN a 1 1 x y 1=4\nLRN b 1 1 y z 1=5\n"
    Path("net.param").write_text(text)
    out = lrn("convert", "net.param", "tensorrt")[1]
    assert "a\n  LRNSpec(scale=0.25, beta=0.75, bias=1.0, before=2, after=2)" in out
    assert out.count("network.add_lrn(x, window=5") == 2
    out = lrn("convert", "net.param", "wolfram")[1]
    assert "channels: they stay on axis 0 of (C, H, W)" in out


def test_a_file_without_an_lrn_is_an_error_that_says_what_it_holds(lrn_error: LrnError) -> None:
    Path("net.prototxt").write_text('layer { name: "relu" type: "ReLU" }')
    rule = "holds no LRN: Caffe net (.prototxt) of 1 operator (1 ReLU)"
    error = lrn_error("convert", "net.prototxt", "torch")
    check_parts(error, FileError, "net.prototxt", rule, way_out="lrnorm.identify")


def test_files_in_bad_order(lrn_error: LrnError) -> None:
    Path("deploy.prototxt").write_text(DEPLOY)
    error = lrn_error("convert", "deploy.prototxt", "nothing")
    check_parts(error, ParameterError, *NAME, value="nothing")
    check_parts(
        lrn_error("convert", "nowhere.onnx", "torch"), FileError, "nowhere.onnx", "does not exist"
    )
    error = lrn_error("convert", "deploy.prototxt", "torch", "size=5")
    check_parts(error, ParameterError, "", "a model file, which tells its words")
