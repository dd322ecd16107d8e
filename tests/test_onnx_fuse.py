"""What PyTorch's exporters write out becomes one LRN node again, and nothing else does."""

from __future__ import annotations

import functools
import io
import logging
import warnings

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_models import run, value  # noqa: E402


def kinds(model):
    return [node.op_type for node in model.graph.node]


def agree(model, other, shape, seed=0):
    """Both compute the same, relative to the largest value."""
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 2
    a, b = run(model, x), run(other, x)
    assert a.shape == b.shape
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)
    return x, b


# From PyTorch


def exported(module, shape, *, dynamo, free=(), **more):
    """By either exporter, whose own warnings are none of ours."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    x = torch.zeros(shape)
    with warnings.catch_warnings():
        for message in (
            r"`isinstance\(treespec, LeafSpec\)` is deprecated",
            "You are using the legacy TorchScript-based ONNX export",
            "The feature will be removed",
            r"Constant folding - Only steps=1 can be constant folded",
            "Converting a tensor to a Python",
        ):
            warnings.filterwarnings("ignore", message)
        axes = {axis: f"axis_{axis}" for axis in free}
        if dynamo:
            more |= {"dynamic_shapes": (axes,)} if free else {}
            program = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False, **more)
            return program.model_proto
        stream = io.BytesIO()
        more |= {"dynamic_axes": {"x": axes}} if free else {}
        torch.onnx.export(module.eval(), (x,), stream, dynamo=False, input_names=["x"], **more)
        return onnx.load_from_string(stream.getvalue())


def module_of(size=5, alpha=3e-4, beta=0.6, k=2.0):
    return pytest.importorskip("torch").nn.LocalResponseNorm(size, alpha, beta, k)


def functional(size, **words):
    torch = pytest.importorskip("torch")

    class Functional(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.local_response_norm(x, size, **words)

    return Functional()


both = pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
SHAPES = {
    (2, 7, 6): ((), (0,)),
    (2, 7, 6, 5): ((), (0,), (0, 2, 3)),
    (2, 7, 4, 3, 5): ((), (0,)),
}
CASES = [(shape, free) for shape, frees in SHAPES.items() for free in frees]


@both
@pytest.mark.parametrize(("shape", "free"), CASES)
def test_odd_windows_become_one_node(dynamo, shape, free):
    model = exported(module_of(), shape, dynamo=dynamo, free=free)
    before = model.SerializeToString()
    [(name, chain)] = lrnorm.onnx.chains(model).items()
    assert chain.spec == LRNSpec(3e-4 / 5, 0.6, 2.0, 2, 2)
    assert (chain.why_not, chain.dtype, len(chain.shape)) == (None, "float32", len(shape))
    assert chain.nodes >= 9
    fused = lrnorm.onnx.fuse(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(fused, full_check=True)
    assert lrnorm.onnx.specs(model) == {}
    assert lrnorm.onnx.specs(fused) == {name: LRNSpec(3e-4 / 5, 0.6, 2.0, 2, 2)}
    folded = ["Constant", "Shape", "Reshape", "LRN", "Reshape"]
    assert kinds(fused) == (["LRN"] if len(shape) == 4 else folded)
    assert not fused.graph.initializer and not lrnorm.onnx.chains(fused)
    other = [n + 1 if axis in free else n for axis, n in enumerate(shape)]
    x, y = agree(model, fused, other)
    expected = lrnorm.local_response_norm(x, spec=chain.spec, axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize(("shape", "free"), CASES[::2])
def test_even_windows_stay(dynamo, shape, free, caplog):
    model = exported(functional(4), shape, dynamo=dynamo, free=free)
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec == LRNSpec(1e-4 / 4, 0.75, 1.0, 2, 1)
    assert "got before=2, after=1" in chain.why_not
    with caplog.at_level(logging.WARNING, "lrnorm.onnx"):
        fused = lrnorm.onnx.fuse(model)
    assert "stays as it is: an LRN node of ONNX has" in caplog.text
    assert fused.SerializeToString() == model.SerializeToString()


@both
def test_an_even_window_over_so_few_channels_that_it_does_not_matter(dynamo):
    model = exported(functional(4, alpha=0.8), (3, 2, 6, 5), dynamo=dynamo)
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    [found] = lrnorm.onnx.specs(fused).values()
    assert (found.before, found.after) == (1, 1) and found.scale == pytest.approx(0.2)
    agree(model, fused, (3, 2, 6, 5))
    wider = exported(functional(4, alpha=0.8), (3, 3, 6, 5), dynamo=dynamo)
    assert "LRN" not in kinds(lrnorm.onnx.fuse(wider))


@both
@pytest.mark.parametrize(
    ("words", "spec"),
    [
        ({"k": 0.0}, LRNSpec(1e-4 / 3, 0.75, 0.0, 1, 1)),
        ({"alpha": 1.0}, LRNSpec(1 / 3, 0.75, 1.0, 1, 1)),
        ({"alpha": 1.0, "k": 0.0, "beta": 0.5}, LRNSpec(1 / 3, 0.5, 0.0, 1, 1)),
        ({"beta": 1.0}, LRNSpec(1e-4 / 3, 1.0, 1.0, 1, 1)),
    ],
)
def test_numbers_that_exporters_leave_out(dynamo, words, spec):
    model = exported(functional(3, **words), (2, 7, 6, 5), dynamo=dynamo)
    fused = lrnorm.onnx.fuse(model)
    assert list(lrnorm.onnx.specs(fused).values()) == [spec]
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 5)).astype(np.float32) * 2
    y = run(model, x)
    np.testing.assert_allclose(run(fused, x), y, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 12, 13, 16, 18])
def test_older_operator_sets(opset):
    model = exported(module_of(3), (2, 7, 6, 5), dynamo=False, free=(0,), opset_version=opset)
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    agree(model, fused, (3, 7, 6, 5))


def test_without_the_exporter_s_optimizer():
    model = exported(module_of(3), (2, 7, 6, 5), dynamo=True, optimize=False)
    assert kinds(lrnorm.onnx.fuse(model)) == ["LRN"]


@both
@pytest.mark.parametrize("free", [(), (0,), (0, 2, 3)])
def test_a_net_of_two(dynamo, free, tmp_path):
    nn = pytest.importorskip("torch").nn
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 6, 3),
        nn.LocalResponseNorm(3, alpha=0.3, k=1.5),
    )
    model = exported(net, (2, 3, 32, 32), dynamo=dynamo, free=free)
    fused = lrnorm.onnx.fuse(model)
    onnx.checker.check_model(fused, full_check=True)
    assert [kind for kind in kinds(fused) if kind != "Constant"] == [
        *("Conv", "Relu", "LRN", "MaxPool", "Conv", "LRN")
    ]
    shape = [n + 3 if axis in free else n for axis, n in enumerate((2, 3, 32, 32))]
    agree(model, fused, shape)
    # Everything in a file of its own: weights, and the numbers of the chains.
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    again = lrnorm.onnx.fuse(path)
    assert lrnorm.onnx.specs(again) == lrnorm.onnx.specs(fused)
    agree(fused, again, shape)


# By hand: a chain in which one thing at a time is another


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
    "difference for sum": {"shift": make("Sub", ["scaled", "bias"], ["D"])},
    "exponent that varies": {"power": make("Pow", ["D", "z"], ["denominator"])},
    "base and exponent swapped": {"power": make("Pow", ["beta", "D"], ["denominator"])},
    "product for quotient": {"divide": make("Mul", ["x", "denominator"], ["y"])},
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
    "alpha a channel": {"alpha": np.ones((7, 1), np.float32)},
    "beta a place": {"beta": np.ones(6, np.float32)},
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
    assert [tensor.name for tensor in fused.graph.initializer] == ["alpha"]
    assert "LRN" in kinds(fused) and kinds(fused)[-1] == "Mul"


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
        ([2, 1, -1, 4, 5], None, [2, "c", 4, 5], False),
    ],
)
def test_reshapes_must_keep_the_channels(to, back, shape, same):
    model = reshaped(to, back, shape)
    assert len(lrnorm.onnx.chains(model)) == same
    assert ("LRN" in kinds(lrnorm.onnx.fuse(model))) == same
