"""lrnorm.onnx.load beside plain ONNX Runtime of the same model, in one interleaved run.

    python benchmarks/onnx_load.py [--rounds 15] [--results benchmarks/results]

inception_v1 (GoogLeNet) of the onnx package with random weights: how long it takes does not depend
on them. "without LRN" is ONNX Runtime with nothing in the place of the two LRN nodes: what would
be left if they cost nothing. Prints a Markdown table; `--results` also keeps it there, under the
date. Needs onnxruntime.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from printed import canary_text, parser_of, print_table

import lrnorm
from lrnorm.cli.bench import about_text, machine
from lrnorm.cli.measuring import batch_of, interleave

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/helpers"))
from onnx_models import light

BATCHES = (1, 8)
THREADS = 2


def inception() -> ModelProto:
    """The model for batches of any length, where the package's is fixed to one example."""
    model: ModelProto = light("light_inception_v1", np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == "OC2_DUMMY_1":  # what it flattens to
            tensor.CopyFrom(numpy_helper.from_array(np.array([-1, 1024]), tensor.name))
    for value in model.graph.input:
        if value.name == "data_0":
            value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def without_lrn(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type == "LRN":
            node.op_type = "Identity"
            del node.attribute[:]
    return copy


def session(model: ModelProto) -> Callable[[Any], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: made.run(None, {"data_0": x})[0]


def rows(rounds: int) -> list[str]:
    lrnorm.set_num_threads(THREADS)
    model = inception()
    ours, theirs = lrnorm.onnx.load(model), session(model)
    bare = session(without_lrn(model))
    lines = []
    for batch in BATCHES:
        x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
        entrants = [batch_of(partial(net, x)) for net in (ours, theirs, bare)]
        measured = interleave(entrants, rounds)
        times = [timing.min_ns / 1e6 for timing in measured.timings]
        medians = [timing.median_ns for timing in measured.timings]
        lines.append(
            f"| {batch} | {times[1] / times[0]:.2f} | {medians[1] / medians[0]:.2f} "
            f"| {times[0]:.1f} | {times[1]:.1f} | {times[2]:.1f} | {canary_text(measured)} |"
        )
    return lines


def table(rounds: int) -> str:
    versions = f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}"
    return "\n".join(
        [
            f"{about_text(machine())}; {versions}; {THREADS} threads",
            "",
            f"inception_v1, fastest of {rounds} interleaved rounds.",
            "",
            "| batch | ONNX Runtime by ours | of medians | ours, ms | ONNX Runtime, ms "
            "| without LRN, ms | canary |",
            "|---|---|---|---|---|---|---|",
            *rows(rounds),
            "",
        ]
    )


def main() -> None:
    arguments = parser_of("lrnorm.onnx.load beside plain ONNX Runtime").parse_args()
    print_table(arguments, "onnx", table)


if __name__ == "__main__":
    main()
