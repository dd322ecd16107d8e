"""A chain of nodes in which one thing at a time is another: what is LRN, and what only looks so."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper
from onnx_models import agree, kinds, value


@functools.cache
def parts():
    """A chain of nodes by name, as PyTorch writes it for (N, C, L): size 3."""
    make = helper.make_node
    return {
        "square": make("Mul", ["x", "x"], ["x2"]),
        "plane": make("Unsqueeze", ["x2", "one"], ["planes"]),
        "pad": make("Pad", ["planes", "pads"], ["padded"], mode="constant"),
        "pool": make("AveragePool", ["padded"], ["pooled"], kernel_shape=[3, 1]),
        "back": make("Squeeze", ["pooled", "one"], ["mean"]),
        "scale": make("Mul", ["mean", "alpha"], ["scaled"]),
        "shift": make("Add", ["scaled", "bias"], ["D"]),
        "power": make("Pow", ["D", "beta"], ["denominator"]),
        "divide": make("Div", ["x", "denominator"], ["y"]),
    }


NUMBERS = {
    "one": np.array([1]),
    "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0]),
    "alpha": np.array(0.9, np.float32),
    "bias": np.array(1.5, np.float32),
    "beta": np.array(0.6, np.float32),
}


def chain_model(*, nodes=None, numbers=None, more=(), outputs=("y",), inputs=(), kind=1):
    named = parts() | (nodes or {})
    held = {
        name: number if number.dtype == np.int64 or kind == 1 else number.astype(np.float64)
        for name, number in (NUMBERS | (numbers or {})).items()
    }
    graph = helper.make_graph(
        [*named.values(), *more],
        "g",
        [value("x", ["n", 7, 6], kind), *inputs],
        [value(name, None, kind) for name in outputs],
        initializer=[numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_chain_by_hand_is_one():
    model = chain_model()
    assert lrnorm.onnx.chains(model)["y"].nodes == 9
    fused = lrnorm.onnx.fuse(model)
    assert list(lrnorm.onnx.specs(fused).values()) == [LRNSpec(0.9 / 3, 0.6, 1.5, 1, 1)]
    agree(model, fused, (4, 7, 6))
    swapped = {
        "scale": helper.make_node("Mul", ["alpha", "mean"], ["scaled"]),
        "shift": helper.make_node("Add", ["bias", "scaled"], ["D"]),
    }
    assert "LRN" in kinds(lrnorm.onnx.fuse(chain_model(nodes=swapped)))


def make(kind, sources, results, **attributes):
    return helper.make_node(kind, sources, results, **attributes)


OTHERS = {
    "square of two values": {"square": make("Mul", ["x", "z"], ["x2"])},
    "square of another value": {"square": make("Mul", ["z", "z"], ["x2"])},
    "sum for square": {"square": make("Add", ["x", "x"], ["x2"])},
    "plane elsewhere": {"plane": make("Unsqueeze", ["x2", "two"], ["planes"])},
    "padding reflects": {"pad": make("Pad", ["planes", "pads"], ["padded"], mode="edge")},
    "padding of ones": {"pad": make("Pad", ["planes", "pads", "alpha"], ["padded"])},
    "padding that varies": {"pad": make("Pad", ["planes", "free"], ["padded"])},
    "pool of a maximum": {"pool": make("MaxPool", ["padded"], ["pooled"], kernel_shape=[3, 1])},
    "pool with steps": {
        "pool": make("AveragePool", ["padded"], ["pooled"], kernel_shape=[3, 1], strides=[2, 1])
    },
    "pool over space": {"pool": make("AveragePool", ["padded"], ["pooled"], kernel_shape=[3, 3])},
    "pool that pads": {
        "pool": make(
            *("AveragePool", ["padded"], ["pooled"]), kernel_shape=[3, 1], pads=[1, 0, 1, 0]
        )
    },
    "pool that pads by itself": {
        "pool": make(
            "AveragePool", ["padded"], ["pooled"], kernel_shape=[3, 1], auto_pad="SAME_UPPER"
        )
    },
    "squeeze elsewhere": {"back": make("Squeeze", ["pooled", "two"], ["mean"])},
    "alpha that varies": {"scale": make("Mul", ["mean", "z"], ["scaled"])},
    "exponent that varies": {"power": make("Pow", ["D", "z"], ["denominator"])},
    "base and exponent swapped": {"power": make("Pow", ["beta", "D"], ["denominator"])},
    "quotient the other way": {"divide": make("Div", ["denominator", "x"], ["y"])},
    "another value divided": {"divide": make("Div", ["z", "denominator"], ["y"])},
    "operator of another domain": {
        "pool": make("AveragePool", ["padded"], ["pooled"], domain="own")
    },
}
OTHER_NUMBERS = {
    "wider padding": {"pads": np.array([0, 0, 2, 0, 0, 0, 2, 0])},
    "padding of space": {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    "padding that cuts": {"pads": np.array([0, 0, -1, 0, 0, 0, 3, 0])},
    "alpha a channel": {"alpha": np.linspace(0.5, 1, 7, dtype=np.float32)[:, None]},
    "beta a place": {"beta": np.linspace(0.5, 1, 6, dtype=np.float32)},
}


@pytest.mark.parametrize(
    ("nodes", "numbers"),
    [*((nodes, {}) for nodes in OTHERS.values()), *(({}, n) for n in OTHER_NUMBERS.values())],
    ids=[*OTHERS, *OTHER_NUMBERS],
)
def test_what_is_another_computation_stays(nodes, numbers):
    model = chain_model(
        nodes=nodes,
        numbers={"two": np.array([2]), **numbers},
        inputs=[value("z", ["n", 7, 6]), value("free", [8], TensorProto.INT64)],
    )
    assert lrnorm.onnx.chains(model) == {}
    assert lrnorm.onnx.fuse(model).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("number", sorted(NUMBERS))
def test_a_number_that_is_an_input_is_no_constant(number):
    array = NUMBERS[number]
    kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
    model = chain_model(inputs=[value(number, array.shape, kind)])
    assert lrnorm.onnx.chains(model) == {}


@pytest.mark.parametrize("inner", ["x2", "planes", "padded", "pooled", "mean", "scaled", "D"])
def test_an_inner_value_that_is_used_elsewhere_keeps_the_chain(inner):
    read = chain_model(more=[make("Relu", [inner], ["r"])], outputs=["y", "r"])
    for model in (read, chain_model(outputs=["y", inner])):
        assert lrnorm.onnx.chains(model)["y"].why_not == (
            f"its inner value {inner!r} is used elsewhere"
        )
        assert lrnorm.onnx.fuse(model).SerializeToString() == model.SerializeToString()


def test_an_inner_value_that_a_branch_reads_keeps_the_chain():
    then = helper.make_graph([make("Relu", ["D"], ["t"])], "t", [], [value("t", None)])
    other = helper.make_graph([make("Neg", ["x"], ["e"])], "e", [], [value("e", None)])
    branch = make("If", ["c"], ["r"], then_branch=then, else_branch=other)
    flag = value("c", [], TensorProto.BOOL)
    model = chain_model(more=[branch], outputs=["y", "r"], inputs=[flag])
    assert lrnorm.onnx.chains(model)["y"].why_not == "its inner value 'D' is used elsewhere"


def test_other_types_stay():
    model = chain_model(kind=TensorProto.DOUBLE)
    assert "the input is float64" in lrnorm.onnx.chains(model)["y"].why_not
    assert "LRN" not in kinds(lrnorm.onnx.fuse(model))


def test_constants_that_others_use_stay():
    model = chain_model(more=[make("Mul", ["x", "alpha"], ["r"])], outputs=["y", "r"])
    fused = lrnorm.onnx.fuse(model)
    assert [t.name for t in fused.graph.initializer if t.name in NUMBERS] == ["alpha"]
    assert "LRN" in kinds(fused) and kinds(fused)[-1] == "Mul"


def test_nodes_in_any_order():
    model = chain_model()
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert kinds(lrnorm.onnx.fuse(model))[1:3] == ["LRN", "Shape"]
    model.graph.node[-1].input[1] = "y"  # a circle, which no runtime takes
    assert lrnorm.onnx.chains(model) == {}


def test_a_chain_in_a_branch():
    then = helper.make_graph(list(parts().values()), "t", [], [value("y", None)])
    other = helper.make_graph([make("Neg", ["x"], ["e"])], "e", [], [value("e", None)])
    graph = helper.make_graph(
        [make("If", ["c"], ["out"], name="outer", then_branch=then, else_branch=other)],
        "g",
        [value("x", ["n", 7, 6]), value("c", [], TensorProto.BOOL)],
        [value("out", None)],
        initializer=[numpy_helper.from_array(array, name) for name, array in NUMBERS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert list(lrnorm.onnx.chains(model)) == ["outer/then_branch/y"]
    found = lrnorm.onnx.specs(lrnorm.onnx.fuse(model))
    assert found == {"outer/then_branch/y": LRNSpec(0.9 / 3, 0.6, 1.5, 1, 1)}


@pytest.mark.parametrize(
    ("index", "length", "axis", "same"),
    [(1, 1, 1, True), (0, 1, 1, False), (1, 2, 1, False), (1, 1, 2, False)],
)
def test_the_question_of_the_older_exporter(index, length, axis, same):
    """Is the axis that is squeezed of length 1? Only that question has one answer."""
    where = numpy_helper.from_array(np.array([axis]), "where")
    then = [
        make("Constant", [], ["where"], value=where),
        make("Squeeze", ["pooled", "where"], ["t"]),
    ]
    asked = {
        "shape": make("Shape", ["pooled"], ["lengths"]),
        "length": make("Gather", ["lengths", "index"], ["second"]),
        "equal": make("Equal", ["second", "length"], ["flat"]),
        "back": make(
            *("If", ["flat"], ["mean"]),
            then_branch=helper.make_graph(then, "t", [], [value("t", None)]),
            else_branch=helper.make_graph(
                [make("Identity", ["pooled"], ["e"])], "e", [], [value("e", None)]
            ),
        ),
    }
    model = chain_model(
        nodes=asked,
        numbers={"index": np.array(index), "length": np.array(length)},
    )
    assert len(lrnorm.onnx.chains(model)) == same


def reshaped(to, back, shape):
    """The chain of PyTorch's four axes with these targets of its two Reshapes."""
    nodes = {
        "plane": make("Reshape", ["x2", "to"], ["planes"]),
        "pool": make("AveragePool", ["padded"], ["pooled"], kernel_shape=[3, 1, 1]),
    }
    if back is not None:
        nodes["scale"] = make("Reshape", ["mean", "from"], ["restored"])
        nodes["shift"] = make("Mul", ["restored", "alpha"], ["scaled"])
        nodes["power"] = make("Add", ["scaled", "bias"], ["D"])
        nodes["divide"] = make("Pow", ["D", "beta"], ["denominator"])
        nodes["last"] = make("Div", ["x", "denominator"], ["y"])
    model = chain_model(
        nodes=nodes,
        numbers={
            "to": np.array(to),
            "from": np.array(back or [0]),
            "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0]),
        },
    )
    del model.graph.input[:]
    model.graph.input.append(value("x", shape))
    return model


@pytest.mark.parametrize(
    ("to", "back", "shape", "same"),
    [
        ([2, 1, 6, 4, -1], None, [2, 6, 4, 5], True),
        ([2, 1, 6, 4, -1], [2, 6, 4, 5], [2, 6, 4, 5], True),
        ([-1, 1, 6, 4, 5], None, ["n", 6, 4, 5], True),
        ([-1, 1, 6, 5, 4], [-1, 6, 4, 5], ["n", 6, 4, 5], True),
        ([2, 1, 6, 4, -1], None, ["n", 6, 4, 5], False),  # right for a batch of two only
        ([2, 1, 3, 8, -1], [2, 6, 4, 5], [2, 6, 4, 5], False),  # pairs of channels
        ([1, 1, 12, 4, -1], [2, 6, 4, 5], [2, 6, 4, 5], False),  # across the batch
        ([2, 1, 6, 5, -1], None, [2, 6, 4, 5], False),  # height and width swapped
        ([2, 1, 6, 4, -1], [2, 6, 5, 4], [2, 6, 4, 5], False),
        ([2, 1, 6, 4, -1], [2, 6, -1, 4], [2, 6, "h", "w"], False),
        ([2, 1, -1, 4, 5], None, [2, "c", 4, 5], True),
    ],
)
def test_reshapes_must_keep_the_channels(to, back, shape, same):
    model = reshaped(to, back, shape)
    assert len(lrnorm.onnx.chains(model)) == same
    assert ("LRN" in kinds(lrnorm.onnx.fuse(model))) == same


@pytest.mark.parametrize(
    ("kind", "given", "results"),
    [
        *((kind, [], ["r"]) for kind in ("Cast", "LRN", "Mul", "Pow", "ReduceL2", "Shape", "Sub")),
        *((kind, ["x"], ["r"]) for kind in ("Div", "Mul", "Pow", "Sub")),
        *((kind, ["x"], []) for kind in ("LRN", "ReduceSumSquare", "Shape")),
        ("Div", ["x", "s"], []),
    ],
)
def test_a_node_without_its_inputs_or_output_is_no_operator(kind, given, results, tmp_path):
    """What searches a graph leaves it alone; `load` refuses it; the LRN beside it is found."""
    nodes = [
        helper.make_node("LRN", ["x"], ["n"], name="right", size=5),
        helper.make_node("Mul", ["x", "x"], ["s"]),
        helper.make_node(kind, given, results, name="broken"),
        helper.make_node("Pow", [*results, "x"], ["p"]),
        helper.make_node("Mul", ["p", "p"], ["q"]),
        helper.make_node("Div", ["n", "q"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", *([value(name, [1, 7, 4, 3])] for name in "xy"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert list(lrnorm.onnx.specs(model)) == ["right"]
    assert lrnorm.onnx.fuse(model) == model
    assert kinds(lrnorm.onnx.decompose(model, form="slices")).count("LRN") == (kind == "LRN")
    with pytest.raises(lrnorm.FileError, match=r"the model: the part with .* is refused by ONNX"):
        lrnorm.onnx.load(model)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert "right" in [found.name for found in lrnorm.models.find(path)]
