"""ONNX models for the tests, and how to run one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lrnorm import LRNSpec

CAFFE = LRNSpec(scale=2e-05, beta=0.75, bias=1.0, before=2, after=2)
STRONG = LRNSpec(scale=0.3, beta=0.6, bias=1.7, before=1, after=1)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def lrn(source, result, *, name="", **attributes):
    return helper.make_node("LRN", [source], [result], name=name, **attributes)


def model_of(nodes, *, shape=("n", 7, 5, 4), functions=(), initializer=(), inputs=(), result="y"):
    graph = helper.make_graph(
        nodes, "g", [value("x", shape), *inputs], [value(result, shape)], initializer=initializer
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def example(channels=7):
    shape = (2, channels, 5, 4)
    return np.random.default_rng(3).normal(size=shape).astype(np.float32) * 2


def branches(then, other):
    return helper.make_node(
        "If",
        ["c"],
        ["y"],
        name="outer",
        then_branch=helper.make_graph([then], "t", [], [value("t", None)]),
        else_branch=helper.make_graph([other], "e", [], [value("e", None)]),
    )


def with_branches():
    nodes = [branches(lrn("x", "t", name="inner", size=3), lrn("x", "e", name="inner", size=5))]
    return model_of(nodes, inputs=[value("c", [], TensorProto.BOOL)])


def loop():
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            lrn("state", "next", name="inner", size=3, alpha=0.9),
        ],
        "body",
        [
            value("i", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("state", None),
        ],
        [value("on", [], TensorProto.BOOL), value("next", None)],
    )
    times = numpy_helper.from_array(np.array(2), "times")
    return model_of(
        [helper.make_node("Loop", ["times", "", "x"], ["y"], name="again", body=body)],
        initializer=[times],
    )


def function(*, defaults=()):
    """own.Block(v; alpha): an LRN of size 5 whose alpha is the caller's."""
    node = lrn("v", "w", name="inner", size=5)
    node.attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="strength", type=onnx.AttributeProto.FLOAT)
    )
    made = helper.make_function(
        "own",
        "Block",
        ["v"],
        ["w"],
        [node],
        [helper.make_opsetid("", 17)],
        attributes=[] if defaults else ["strength"],
    )
    made.attribute_proto.extend(defaults)
    return made


def call(source, result, name, **attributes):
    return helper.make_node("Block", [source], [result], name=name, domain="own", **attributes)
