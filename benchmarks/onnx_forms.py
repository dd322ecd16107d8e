"""LRN in ONNX Runtime: the operator beside the forms that `lrnorm.onnx.decompose` writes.

    python benchmarks/onnx_forms.py

Prints the processor time of one call, the least of many interleaved rounds on one thread, so that
neighbours on the machine count little.
"""

from __future__ import annotations

import time

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper

import lrnorm

SHAPES = ((1, 64, 56, 56), (1, 96, 55, 55), (1, 192, 56, 56))
FORMS = ("conv", "pool", "slices")
ROUNDS = 40


def one_lrn(shape: tuple[int, ...]) -> ModelProto:
    node = helper.make_node("LRN", ["x"], ["y"], size=5, alpha=1e-4, beta=0.75, bias=1.0)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def main() -> None:
    print("| shape |", " | ".join(("LRN operator, ms", *(f"{form}, times" for form in FORMS))), "|")
    print("|" + " --- |" * (len(FORMS) + 2))
    for shape in SHAPES:
        model = one_lrn(shape)
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 20
        sessions = {"LRN": session(model)}
        sessions |= {form: session(lrnorm.onnx.decompose(model, form=form)) for form in FORMS}
        right = lrnorm.local_response_norm(x, spec=lrnorm.LRNSpec(2e-5, 0.75, 1.0, 2, 2))
        least = dict.fromkeys(sessions, float("inf"))
        for _ in range(ROUNDS):
            for name, run in sessions.items():
                start = time.thread_time()
                [y] = run.run(None, {"x": x})
                least[name] = min(least[name], time.thread_time() - start)
                np.testing.assert_allclose(y, right, rtol=1e-5)
        times = [f"{least['LRN'] / least[form]:.1f}" for form in FORMS]
        print(f"| {'×'.join(map(str, shape))} | {least['LRN'] * 1e3:.1f} |", " | ".join(times), "|")


if __name__ == "__main__":
    main()
