"""Prints what the frameworks found here compute otherwise than they say:

    python docs/known_differences.py     the table of known-differences.md, for what is installed

A row holds a line of Python, what it gives, and what would be right. The names in the lines are
those defined below: run it as `python -i docs/known_differences.py` to try them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

import lrnorm
from lrnorm import conventions

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

# What the lines below speak of: (1, 8, 1, 1), a pixel of eight channels.
ramp = np.arange(1, 9, dtype=np.float32).reshape(1, 8, 1, 1)
huge = np.full_like(ramp, 1e20)
spike = np.where(np.arange(8) == 3, 1e7, 1.0).astype(np.float32).reshape(1, 8, 1, 1)
infinite = np.where(np.arange(8) == 0, np.inf, 1.0).astype(np.float32).reshape(1, 8, 1, 1)


def right(name: str, x: Any, *, axis: int = 1, **words: Any) -> Any:
    return lrnorm.local_response_norm(x, spec=conventions.read(name, **words), axis=axis)


def right_gradient(name: str, x: Any, **words: Any) -> Any:
    spec = conventions.read(name, **words)
    return lrnorm.local_response_norm_vjp(x, np.ones_like(x), spec=spec, axis=1)


def torch_lrn(x: Any, **words: Any) -> Any:
    import torch

    return torch.nn.functional.local_response_norm(torch.as_tensor(x), **words)


def torch_half(x: Any, **words: Any) -> Any:
    import torch

    return torch_lrn(torch.from_numpy(x).half(), **words)


def cross_map(x: Any, **words: Any) -> Any:
    import torch

    return torch.nn.CrossMapLRN2d(**words)(torch.from_numpy(x))


def cross_map_gradient(x: Any, **words: Any) -> Any:
    import torch

    leaf = torch.from_numpy(x).requires_grad_()
    torch.nn.CrossMapLRN2d(**words)(leaf).sum().backward()
    return leaf.grad


def one_node(x: Any, attributes: dict[str, Any]) -> Any:
    """An ONNX model of one LRN."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ends = [helper.make_tensor_value_info(name, kind, x.shape) for name in "xy"]
    node = helper.make_node("LRN", ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "one", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def onnx_reference(x: Any, **attributes: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(one_node(x, attributes)).run(None, {"x": x})[0]


def onnxruntime_lrn(x: Any, **attributes: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = one_node(x, attributes).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def openvino_lrn(x: Any, *, axes: Any = (1,), **words: Any) -> Any:
    import openvino
    from openvino import opset10

    source = opset10.parameter(list(x.shape), x.dtype)
    result = opset10.lrn(source, axes=list(axes), **words)
    return _openvino(openvino.Model([result], [source], "one"), x)


def openvino_onnx(x: Any, **attributes: Any) -> Any:
    import openvino

    model = io.BytesIO(one_node(x, attributes).SerializeToString())
    return _openvino(openvino.Core().read_model(model), x)


def _openvino(model: Any, x: Any) -> Any:
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(model, "CPU", hint)([x])[0]


def opencv_lrn(x: Any, **words: Any) -> Any:
    import cv2

    net = cv2.dnn_Net()
    net.addLayerToPrev("norm", "LRN", cv2.CV_32F, words)
    net.setInput(x)
    return net.forward()


def opencv_caffe(x: Any, **words: Any) -> Any:
    import cv2

    shape = " ".join(f"input_dim: {n}" for n in x.shape)
    param = " ".join(f"{word}: {value}" for word, value in words.items())
    text = f'input: "x" {shape} layer {{ name: "norm" type: "LRN" bottom: "x" top: "y" '
    text += f"lrn_param {{ {param} }} }}"
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(x)
    return net.forward()


def tensorflow_lrn(x: Any, *, dtype: str = "float32", **words: Any) -> Any:
    import tensorflow as tf

    return tf.nn.local_response_normalization(tf.constant(x, dtype), **words)


def paddle_lrn(x: Any, **words: Any) -> Any:
    import paddle

    return paddle.nn.functional.local_response_norm(paddle.to_tensor(x), **words)


class Finding(NamedTuple):
    name: str
    framework: str  # a row of FRAMEWORKS
    line: str
    right: str


# Module and the distributions that hold it.
FRAMEWORKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "PyTorch": ("torch", ("torch",)),
    "onnx reference evaluator": ("onnx", ("onnx",)),
    "ONNX Runtime": ("onnxruntime", ("onnxruntime",)),
    "OpenVINO": ("openvino", ("openvino",)),
    "OpenCV": ("cv2", ("opencv-python-headless", "opencv-python")),
    "TensorFlow": ("tensorflow", ("tensorflow-cpu", "tensorflow")),
    "PaddlePaddle": ("paddle", ("paddlepaddle",)),
}
UNIT = "alpha=1.0, beta=0.5"
FINDINGS = [
    Finding(
        "CrossMapLRN2d counts channel 0 in every later window",
        "PyTorch",
        "cross_map(ramp, size=3, alpha=1.0)",
        'right("torch", ramp, size=3, alpha=1.0)',
    ),
    Finding(
        "the gradient of CrossMapLRN2d is not that of the formula",
        "PyTorch",
        "cross_map_gradient(ramp, size=3, alpha=1.0)",
        'right_gradient("torch", ramp, size=3, alpha=1.0)',
    ),
    Finding(
        "float16 is not implemented on the CPU",
        "PyTorch",
        f"torch_half(ramp, size=5, {UNIT})",
        f'right("torch", ramp, size=5, {UNIT})',
    ),
    Finding(
        "squares overflow: 1e20 becomes 0",
        "PyTorch",
        f"torch_lrn(huge, size=5, {UNIT})",
        f'right("torch", huge, size=5, {UNIT})',
    ),
    Finding(
        "loops over the batch in place of the channels: of one image only channel 0 is normalized",
        "onnx reference evaluator",
        "onnx_reference(ramp, size=3, alpha=1.0)",
        'right("onnx", ramp, size=3, alpha=1.0)',
    ),
    Finding(
        "a channel of 1e7 that leaves a running sum spoils those after it",
        "ONNX Runtime",
        "onnxruntime_lrn(spike, size=5)",
        'right("onnx", spike, size=5)',
    ),
    Finding(
        "an infinite channel spoils those beyond its window",
        "ONNX Runtime",
        f"onnxruntime_lrn(infinite, size=3, {UNIT})",
        f'right("onnx", infinite, size=3, {UNIT})',
    ),
    Finding(
        "squares overflow: 1e20 becomes 0 and nan",
        "ONNX Runtime",
        f"onnxruntime_lrn(huge, size=5, {UNIT})",
        f'right("onnx", huge, size=5, {UNIT})',
    ),
    Finding(
        "even sizes are refused, which ONNX allows",
        "ONNX Runtime",
        "onnxruntime_lrn(ramp, size=4, alpha=1.0)",
        'right("onnx", ramp, size=4, alpha=1.0)',
    ),
    Finding(
        "no float64, which ONNX allows",
        "ONNX Runtime",
        "onnxruntime_lrn(ramp.astype(float), size=3, alpha=1.0)",
        'right("onnx", ramp.astype(float), size=3, alpha=1.0)',
    ),
    Finding(
        "an even size in an ONNX model loses a channel of the window",
        "OpenVINO",
        "openvino_onnx(ramp, size=4, alpha=1.0, beta=0.75, bias=1.0)",
        'right("onnx", ramp, size=4, alpha=1.0, beta=0.75, bias=1.0)',
    ),
    Finding(
        "bias is cut to an integer",
        "OpenVINO",
        "openvino_lrn(ramp, size=3, alpha=0.1, bias=0.8)",
        'right("openvino", ramp, size=3, alpha=0.1, bias=0.8)',
    ),
    Finding(
        "beside height and width, axes leave the channels out",
        "OpenVINO",
        "openvino_lrn(ramp, axes=[1, 2, 3], size=3, alpha=27.0)",
        'right("openvino", ramp, size=3, alpha=3.0)',
    ),
    Finding(
        "squares overflow: 1e20 becomes 0",
        "OpenVINO",
        f"openvino_lrn(huge, size=5, {UNIT})",
        f'right("openvino", huge, size=5, {UNIT})',
    ),
    Finding(
        "a channel of 1e7 that leaves a running sum takes all else with it",
        "OpenCV",
        "opencv_lrn(spike, local_size=5, alpha=1.0)",
        'right("opencv", spike, local_size=5, alpha=1.0)',
    ),
    Finding(
        "an infinite channel spoils those beyond its window",
        "OpenCV",
        f"opencv_lrn(infinite, local_size=3, {UNIT})",
        f'right("opencv", infinite, local_size=3, {UNIT})',
    ),
    Finding(
        "squares overflow: 1e20 becomes 0 and nan",
        "OpenCV",
        f"opencv_lrn(huge, local_size=5, {UNIT})",
        f'right("opencv", huge, local_size=5, {UNIT})',
    ),
    Finding(
        "alpha left out of a model of Caffe is 1e-4, not Caffe's 1",
        "OpenCV",
        "opencv_caffe(ramp, local_size=3)",
        'right("caffe", ramp, local_size=3)',
    ),
    Finding(
        "k of a model of Caffe is ignored",
        "OpenCV",
        "opencv_caffe(ramp, local_size=3, alpha=1.0, k=50.0)",
        'right("caffe", ramp, local_size=3, alpha=1.0, k=50.0)',
    ),
    Finding(
        "squares overflow: 1e20 becomes nan",
        "TensorFlow",
        f"tensorflow_lrn(huge.reshape(1, 1, 1, 8), depth_radius=2, {UNIT})",
        f'right("tensorflow", huge, depth_radius=2, {UNIT})',
    ),
    Finding(
        "an infinite channel spoils those beyond its window",
        "TensorFlow",
        f"tensorflow_lrn(infinite.reshape(1, 1, 1, 8), depth_radius=1, {UNIT})",
        f'right("tensorflow", infinite, depth_radius=1, {UNIT})',
    ),
    Finding(
        "float16 is computed in float16: 100, 200, … become nan",
        "TensorFlow",
        f'tensorflow_lrn(100 * ramp.reshape(1, 1, 1, 8), dtype="float16", depth_radius=2, {UNIT})',
        f'right("tensorflow", (100 * ramp).astype("float16"), depth_radius=2, {UNIT})',
    ),
    Finding(
        "squares overflow: 1e20 becomes 0",
        "PaddlePaddle",
        f"paddle_lrn(huge, size=5, {UNIT})",
        f'right("paddle", huge, size=5, {UNIT})',
    ),
]


def cannot_run(finding: Finding) -> str | None:
    """Why the line cannot be run here."""
    if importlib.util.find_spec(FRAMEWORKS[finding.framework][0]) is None:
        return f"{finding.framework} is not installed"
    if "onnx" in finding.line and importlib.util.find_spec("onnx") is None:
        return "onnx is not installed"
    if finding.line.startswith("opencv_caffe"):
        import cv2

        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            return "this OpenCV reads no models of Caffe"
    return None


def evaluate(line: str) -> Any:
    """The numbers that the line gives, or the error it raises."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(eval(line, globals())).ravel()
    except Exception as error:  # whatever a framework refuses with is what the table shows
        return error


def differ(theirs: Any, ours: Any) -> bool:
    return isinstance(theirs, Exception) or not np.allclose(
        theirs.astype(np.float64), ours.astype(np.float64), rtol=1e-2, equal_nan=True
    )


def written(result: Any) -> str:
    if isinstance(result, Exception):
        return type(result).__name__
    return " ".join(f"{value:.3g}" for value in result.astype(np.float64))


def release(framework: str) -> str:
    for distribution in FRAMEWORKS[framework][1]:
        with contextlib.suppress(PackageNotFoundError):
            return version(distribution).split("+")[0]  # which build it is does not matter here
    return str(importlib.import_module(FRAMEWORKS[framework][0]).__version__)


def rows() -> Iterator[tuple[str, ...]]:
    for finding in FINDINGS:
        if why := cannot_run(finding):
            print(f"left out: {finding.framework}, {finding.name}: {why}", file=sys.stderr)
            continue
        theirs, ours = evaluate(finding.line), evaluate(finding.right)
        gives = written(theirs) if differ(theirs, ours) else "what is right: mended"
        who = f"{finding.framework} {release(finding.framework)}"
        yield who, finding.name, f"`{finding.line}`", gives, written(ours)


def table() -> str:
    head = ("framework", "what is wrong", "line", "gives", "right")
    cells = [head, ("---",) * len(head), *rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


if __name__ == "__main__":
    print(table())
