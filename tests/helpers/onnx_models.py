"""ONNX models for the tests, and how to run one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import lrnorm
from lrnorm import LRNSpec

CAFFE = LRNSpec(scale=2e-05, beta=0.75, bias=1.0, before=2, after=2)
STRONG = LRNSpec(scale=0.3, beta=0.6, bias=1.7, before=1, after=1)

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"  # real architectures
# Their LRN is that of the papers but for alpha, which makes it count for inputs of any size.
LIGHT_SPEC = LRNSpec(scale=0.2, beta=0.75, bias=1.0, before=2, after=2)
NARROWER = {4096: 256}  # fully connected layers, which are a test of nothing when wide


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


def light(name, dtype):
    """The model with random weights, the same for each type, in place of its constant ones."""
    model = onnx.load(LIGHT / f"{name}.onnx")
    random = np.random.default_rng(7)
    sizes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            weights[node.output[0]] = [NARROWER.get(int(n), int(n)) for n in sizes[node.input[0]]]
    weights |= {t.name: list(t.dims) for t in model.graph.initializer if t.data_type == 1}
    kept = [t for t in model.graph.initializer if t.data_type != 1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for key, shape in weights.items():
        gain = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        array = (random.standard_normal(shape, np.float32) * np.float32(gain)).astype(dtype)
        model.graph.initializer.append(numpy_helper.from_array(array, key))
    nodes = [node for node in model.graph.node if node.op_type != "ConstantOfShape"]
    # Numbers that tell more than the probabilities that a softmax makes of them.
    [last] = [node for node in nodes if node.op_type == "Softmax"]
    nodes.remove(last)
    model.graph.output[0].name = last.input[0]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return lrnorm.onnx.rewrite(model, dict.fromkeys(lrnorm.onnx.specs(model), LIGHT_SPEC))


# Models to load

WORDS = {"size": 3, "alpha": 0.9, "beta": 0.6, "bias": 1.7}  # an LRN that is seen in the output
WORDS_SPEC = LRNSpec(0.9 / 3, 0.6, 1.7, 1, 1)
WEIGHT = np.random.default_rng(0).normal(size=(7, 7, 1, 1)).astype(np.float32)


def norm(x, spec=WORDS_SPEC, axis=1):
    return lrnorm.local_response_norm(x, spec=spec, axis=axis)


def sample(*shape, dtype=np.float32):
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


def tensor(array, name):
    return numpy_helper.from_array(np.asarray(array), name)


def graph_of(nodes, inputs, outputs, initializer=(), *, functions=(), ir_version=8):
    """A model of ports given as value infos."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=initializer)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=ir_version, functions=functions
    )


def deep(**more):
    """Conv, LRN, Conv, LRN, a sum with what came before the first of these, pool."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        lrn("a", "b", name="one", **WORDS),
        helper.make_node("Conv", ["b", "w"], ["c"]),
        lrn("c", "d", name="two", **WORDS),
        helper.make_node("Add", ["d", "a"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["y"]),
    ]
    return graph_of(
        nodes,
        [value("x", more.pop("shape", ["n", 7, "h", "w"]))],
        [value("y", None)],
        [tensor(WEIGHT, "w")],
        **more,
    )


def close(a, b, rtol=1e-5):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


def kinds(model):
    return [node.op_type for node in model.graph.node]


def agree(model, other, shape, seed=0):
    """Both compute the same, relative to the largest value."""
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 2
    a, b = run(model, x), run(other, x)
    assert a.shape == b.shape
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)
    return x, b
