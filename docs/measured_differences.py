"""Measures the LRN of every framework found here with `lrnorm.identify`:

    python docs/measured_differences.py     the first table of known-differences.md

A row holds an operator with the parameters that were asked for. What it computes instead, and what
it does with large values, nan or one large activation, is found without being told.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import known_differences as known
import numpy as np

import lrnorm
from lrnorm import IdentificationError, LRNSpec, conventions


class Operator:
    """A framework's operator; `bias` is what it was given, as a module would hold it."""

    def __init__(self, call: Callable[..., Any], bias: float, words: dict[str, Any]) -> None:
        self.call, self.bias, self.words = call, bias, words

    def __call__(self, x: Any) -> Any:
        return self.call(x, **self.words)


class Row(NamedTuple):
    framework: str  # a row of known_differences.FRAMEWORKS
    operator: str
    call: Callable[..., Any]
    convention: str
    words: dict[str, Any]
    axis: int = 1
    dtype: str = "float32"


def cross_map(x: Any, **words: Any) -> Any:
    return known.cross_map(np.asarray(x), **words)


def tensorflow_half(x: Any, **words: Any) -> Any:
    return known.tensorflow_lrn(x, dtype="float16", **words)


CAFFE = {"local_size": 5, "alpha": 0.5, "beta": 0.75}
ONNX = {"size": 5, "alpha": 0.5, "beta": 0.75, "bias": 1.5}
TORCH = {"size": 5, "alpha": 0.5, "beta": 0.75, "k": 1.5}
TENSORFLOW = {"depth_radius": 2, "alpha": 0.1, "beta": 0.75, "bias": 1.5}
ROWS = [
    Row("PyTorch", "functional.local_response_norm", known.torch_lrn, "torch", TORCH),
    Row("PyTorch", "the same, size 4", known.torch_lrn, "torch", TORCH | {"size": 4}),
    Row("PyTorch", "the same, float64", known.torch_lrn, "torch", TORCH, dtype="float64"),
    Row("PyTorch", "CrossMapLRN2d", cross_map, "torch", TORCH),
    Row("onnx reference evaluator", "LRN", known.onnx_reference, "onnx", ONNX),
    Row("ONNX Runtime", "LRN", known.onnxruntime_lrn, "onnx", ONNX),
    Row("ONNX Runtime", "LRN of float16", known.onnxruntime_lrn, "onnx", ONNX, dtype="float16"),
    Row("OpenVINO", "LRN", known.openvino_lrn, "openvino", ONNX | {"bias": 2.0}),
    Row("OpenVINO", "LRN, bias 0.8", known.openvino_lrn, "openvino", ONNX | {"bias": 0.8}),
    Row("OpenVINO", "an ONNX model, size 4", known.openvino_onnx, "onnx", ONNX | {"size": 4}),
    Row("OpenCV", "dnn layer LRN", known.opencv_lrn, "opencv", CAFFE | {"bias": 1.5}),
    Row("OpenCV", "a Caffe model, k 2.5", known.opencv_caffe, "caffe", CAFFE | {"k": 2.5}),
    Row("TensorFlow", "nn.lrn", known.tensorflow_lrn, "tensorflow", TENSORFLOW, axis=-1),
    Row(
        "TensorFlow", "nn.lrn of float16", tensorflow_half, "tensorflow", TENSORFLOW, -1, "float16"
    ),
    Row("PaddlePaddle", "functional.local_response_norm", known.paddle_lrn, "paddle", TORCH),
]


def cannot_run(row: Row) -> str | None:
    """Why the operator cannot be measured here."""
    line = "opencv_caffe" if row.call is known.opencv_caffe else row.call.__name__
    return known.cannot_run(known.Finding(row.operator, row.framework, line, ""))


def expected(row: Row) -> LRNSpec:
    return conventions.read(row.convention, **row.words)


def measured(row: Row) -> tuple[str, str, str]:
    """(what differs from the parameters given, largest error, remarks)."""
    right = expected(row)
    try:
        found = lrnorm.identify(
            Operator(row.call, right.bias, row.words), axis=row.axis, dtype=row.dtype
        )
    except IdentificationError as error:
        return f"no LRN: {error.reason}", "", f"`{error.code}`"
    differs = [
        f"{field.name} {got:g} in place of {want:g}"
        for field in dataclasses.fields(right)
        if not _close(
            want := getattr(right, field.name),
            got := getattr(found.spec, field.name),
            found.uncertainty.get(field.name, 0),
        )
    ]
    said = "; ".join(f"`{remark.code}`: {remark.text}" for remark in found.remarks)
    return ", ".join(differs) or "nothing", f"{found.max_ulp:.3g} ulp", said or "none"


def _close(want: float, got: float, spread: float) -> bool:
    return abs(want - got) <= 2 * spread + 1e-6 * abs(want)


def rows() -> Iterator[tuple[str, ...]]:
    for row in ROWS:
        if why := cannot_run(row):
            print(f"left out: {row.framework}, {row.operator}: {why}", file=sys.stderr)
            continue
        yield f"{row.framework} {known.release(row.framework)}", row.operator, *measured(row)


def table() -> str:
    head = ("framework", "operator", "differs from what was asked", "largest error", "remarks")
    cells = [head, ("---",) * len(head), *rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


if __name__ == "__main__":
    print(table())
