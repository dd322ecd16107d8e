"""NodeGraph: layers and nets as one ONNX model, and its drawing."""

from __future__ import annotations

import operator
import re

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm import NetChain, NetGraph, NetPort, ParameterError, information
from lrnorm.net import elementwise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_models import lrn, model_of, value  # noqa: E402

node = helper.make_node
NORM = Layer(alpha=0.9, beta=0.6, bias=1.7)
LEANING = Layer(alpha=0.9, beta=0.6, channel_window_size=(2, 0))


def run(model, feed):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def sample(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def agree(net, *shape):
    """The model of a net gives, of a batch, what the net gives."""
    model, x = information(net, "NodeGraph"), sample(*shape)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == list(net.inputs)
    assert [value.name for value in model.graph.output] == list(net.outputs)
    found = run(model, dict.fromkeys(net.inputs, x))
    expected = net(dict.fromkeys(net.inputs, x))
    for name in net.outputs:
        wanted = expected[name] if len(net.outputs) > 1 else expected
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6)
    return model


def kinds(model):
    return [node.op_type for node in model.graph.node]


def test_a_bare_layer_is_what_to_onnx_writes():
    for layer in (NORM, LEANING, NORM.replace(input=(3, None, 2))):
        ours, theirs = information(layer, "NodeGraph"), lrnorm.onnx.to_onnx(layer)
        assert kinds(ours) == kinds(theirs)
        x = sample(2, 3, 4, 2)
        assert (run(ours, {"Input": x})["Output"] == run(theirs, {"Input": x})["Output"]).all()
        found = [value.name for value in (*ours.graph.input, *ours.graph.output)]
        assert found == ["Input", "Output"]


def test_nets_of_layers_and_functions():
    inner = NetChain({"norm": NORM, "leaning": LEANING, "tanh": elementwise(np.tanh)})
    net = NetGraph(
        {"a": inner, "b": inner, "difference": np.subtract, "size": abs},
        [
            (NetPort("left"), "a", "difference"),
            (NetPort("right"), "b", "difference", "size"),
            ("a", NetPort("early")),
            ("a", NetPort("again")),
        ],
        input={"left": (7, 3, 2), "right": (7, 3, 2)},
    )
    model = agree(net, 2, 7, 3, 2)
    names = [node.name for node in model.graph.node]
    assert {"a/norm", "b/norm", "a/tanh", "difference", "size"} <= set(names)
    assert len(set(names)) == len(names)
    assert lrnorm.onnx.specs(model) == {"a/norm": NORM.spec, "b/norm": NORM.spec}


def test_operands_of_a_function_keep_their_order():
    net = NetGraph(
        {"n": NORM, "minus": np.subtract}, [(NetPort("p"), "minus"), (NetPort("p"), "n", "minus")]
    )
    agree(net, 2, 5, 3, 2)


def test_a_model_comes_back_as_it_was():
    weight = numpy_helper.from_array(sample(7, 7, 1, 1), "w")
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        lrn("a", "b", name="one", size=3, alpha=0.9),
        node("Constant", [], ["two"], value_float=2.0),
        node("Mul", ["b", "two"], ["c"]),
        node("Conv", ["c", "w"], ["d"], name="last"),
        lrn("d", "e", name="two", size=3, alpha=0.9),
        node("Mul", ["e", "two"], ["y"]),
    ]
    model = model_of(nodes, shape=("n", 7, 3, 2), initializer=[weight])
    net = lrnorm.onnx.load(model)
    back = agree(net, 2, 7, 3, 2)
    assert sorted(map(str, map(bare, back.graph.node))) == sorted(map(str, map(bare, nodes)))
    assert list(back.graph.initializer) == [weight]
    assert lrnorm.onnx.specs(back) == lrnorm.onnx.specs(model)
    assert list(back.graph.input) == list(model.graph.input)
    assert [o.version for o in back.opset_import if not o.domain] == [17]


def bare(node):
    return (node.op_type, node.name, tuple(node.input), tuple(node.output))


def test_two_models_in_one_net():
    one, other = (
        model_of(
            [
                node("Mul", ["x", "k"], ["a"], name="mul"),
                node("Softmax", ["a"], ["b"], name="soft"),
                lrn("b", "y", name="n", size=3, alpha=9.0),
            ],
            initializer=[numpy_helper.from_array(np.float32([number]), "k")],
        )
        for number in (2, 3)
    )
    other.opset_import[0].version = 12  # in which Softmax is one over all axes after the first
    net = NetChain({"one": lrnorm.onnx.load(one), "other": lrnorm.onnx.load(other)})
    model = agree(net, 2, 7, 5, 4)
    names = [node.name for node in model.graph.node]
    assert names[:3] == ["mul", "soft", "one/n"]
    assert names[3] == "mul (2)"
    given = [name for name in names if name]
    assert len(set(given)) == len(given)


def test_graphs_inside_nodes_read_under_the_new_names():
    def branch(name):
        made = node("Add", ["a", "k"], [name])
        return helper.make_graph([made], name, [], [value(name, None)])

    nodes = [
        node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        node("Neg", ["x"], ["a"]),
        node("If", ["c"], ["b"], then_branch=branch("t"), else_branch=branch("e")),
        lrn("b", "y", name="n", size=3, alpha=0.9),
    ]
    nets = [
        lrnorm.onnx.load(
            model_of(nodes, initializer=[numpy_helper.from_array(np.float32([k]), "k")])
        )
        for k in (1, 2)
    ]
    agree(NetChain(nets), 2, 7, 5, 4)


def test_types_are_those_of_the_segments():
    nodes = [lrn("x", "a", name="n", size=3), node("Neg", ["a"], ["y"])]
    ports = [value(name, ["n", 7, 2, 2], TensorProto.DOUBLE) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    back = information(lrnorm.onnx.load(model), "NodeGraph")
    for port in (*back.graph.input, *back.graph.output):
        assert port.type.tensor_type.elem_type == TensorProto.DOUBLE


def test_modules_of_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    net = NetGraph(
        {
            "conv": nn.Conv2d(3, 8, 3),
            "norm": NORM,
            "bn": nn.BatchNorm2d(8),
            "relu": nn.ReLU(),
            "flat": nn.Flatten(),
            "fc": nn.Linear(8 * 16, 4),
            "double": operator.add,
        },
        [("conv", "norm", "bn", "relu", "flat", "fc", "double"), ("fc", "double")],
        input=(3, 6, 6),
    )
    before = net["bn"].training
    model = agree(net, 5, 3, 6, 6)
    assert net["bn"].training is before
    assert kinds(model).count("LRN") == 1
    assert "conv/weight" in {tensor.name for tensor in model.graph.initializer}
    text = r"layer 'conv' \(Conv2d\) cannot be said in ONNX: the shape of its input is not known"
    with pytest.raises(ParameterError, match=text):
        information(net.replace(input=None), "NodeGraph")

    class Sparse(nn.Module):
        def forward(self, x):
            return x.to_sparse().to_dense()

    with pytest.raises(ParameterError, match=r"layer 'sparse' \(Sparse\) cannot be said"):
        information(NetChain({"sparse": Sparse()}, input=(2,)), "NodeGraph")


def test_what_onnx_cannot_say_is_named():
    def own(x):
        return x

    net = NetChain({"block": NetChain({"own": own})})
    text = re.escape("layer 'block' / 'own' (own) cannot be said in ONNX: ")
    for name in ("NodeGraph", "node_graph_plot"):
        with pytest.raises(ParameterError, match=text):
            information(net, name)
    with pytest.raises(ParameterError, match="of one meaning for an example and a batch: abs, "):
        information(net, "NodeGraph")
    net = NetGraph({"add": np.add}, [(NetPort("p"), "add"), (NetPort("q"), "add")])
    information(net, "NodeGraph")
    mixed = net.replace(input={"p": (3, 2, 2), "q": (2,)})
    with pytest.raises(ParameterError, match=r"'add' .* cannot be said"):
        information(mixed, "NodeGraph")


@pytest.mark.parametrize("name", ["MXNetNodeGraph", "mx_net_node_graph", "MXNetNodeGraphPlot"])
def test_the_name_in_wolfram_leads_to_ours(name):
    ours = "NodeGraphPlot" if name.endswith("Plot") else "NodeGraph"
    way_out = f"The graph of elementary operations is {ours!r} here"
    with refused(ParameterError, "property", "must be one of", name, way_out):
        information(NORM, name)


def test_the_drawing_has_the_operators():
    net = lrnorm.onnx.load(
        model_of(
            [
                node("Conv", ["x", "w"], ["a"]),
                lrn("a", "b", name="norm", size=3),
                node("Constant", [], ["two"], value_float=2.0),
                node("Mul", ["b", "two"], ["y"]),
            ],
            initializer=[numpy_helper.from_array(sample(6, 7, 1, 1), "w")],
        )
    )
    drawing = information(net, "NodeGraphPlot")
    assert [box.lines for box in drawing.boxes.values()] == [
        ("x",),
        ("Conv",),
        ("norm", "LRN"),
        ("Mul",),
        ("y",),
    ]
    assert [arrow.text for arrow in drawing.arrows] == ["7 × 5 × 4", *["6 × 5 × 4"] * 3]
    assert "LRN" in drawing.svg


def test_a_module_with_a_frozen_part_stays_as_it_is() -> None:
    torch = pytest.importorskip("torch")
    block = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).train()
    block[1].eval()
    information(NetChain([block], input=(3, 6, 6)), "NodeGraph")
    assert [module.training for module in block.modules()] == [True, True, False]


def test_each_lrn_of_pytorch_is_one_node() -> None:
    torch = pytest.importorskip("torch")
    from lrnorm.torch import LocalResponseNorm, LocalResponseNormalizationLayer, as_module

    ours = LocalResponseNormalizationLayer(alpha=0.9, beta=0.6)
    block = torch.nn.Sequential(LocalResponseNorm(3, alpha=0.5), torch.nn.ReLU())
    theirs = torch.nn.LocalResponseNorm(5, alpha=0.9, beta=0.7)
    net = NetChain({"theirs": theirs, "ours": ours, "block": block, "n": NORM}, input=(7, 3, 2))
    model = agree(net, 2, 7, 3, 2)
    assert kinds(model) == ["LRN", "LRN", "LRN", "Relu", "LRN"]
    specs = list(lrnorm.onnx.specs(model).values())
    assert [spec.scale for spec in specs] == pytest.approx([0.9 / 5, 0.9 / 5, 0.5 / 3, 0.9 / 5])
    assert kinds(lrnorm.onnx.to_onnx(net)) == kinds(model)
    assert kinds(lrnorm.onnx.to_onnx(LocalResponseNorm(3))) == ["LRN"]
    x = torch.tensor(sample(2, 7, 3, 2))
    assert as_module(net)(x).shape == x.shape


def test_shared_weights_are_written_once() -> None:
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(7, 7, 1)
    tied = torch.nn.Conv2d(7, 7, 1)
    tied.weight = conv.weight
    model = agree(NetChain([conv, NORM, conv, tied], input=(7, 3, 2)), 2, 7, 3, 2)
    assert [tuple(t.dims) for t in model.graph.initializer].count((7, 7, 1, 1)) == 1


@pytest.mark.parametrize(
    ("net", "operators"),
    [
        (NetChain([np.tanh, NORM, np.square]), ["Tanh", "LRN", "Mul"]),
        (
            NetGraph({"n": NORM, "j": np.concatenate}, [("n", "j"), (NetPort("p"), "j")]),
            ["LRN", "Concat"],
        ),
        (
            NetGraph({"n": NORM, "add": np.add}, [("n", "add"), (NetPort("Input"), "add")]),
            ["LRN", "Add"],
        ),
    ],
)
def test_functions_of_the_table(net, operators):
    assert kinds(agree(net, 2, 5, 3, 2)) == operators
    assert kinds(lrnorm.onnx.to_onnx(net)) == operators


def test_what_to_onnx_does_not_take() -> None:
    with pytest.raises(TypeError, match="to_onnx takes a layer, a net or an LRNSpec, got 3"):
        lrnorm.onnx.to_onnx(3)
    box = lrnorm.LRNSpec(0.1, 0.75, 1.0, (1, 1), (1, 1))
    with pytest.raises(ParameterError, match="to_onnx takes a spec with one window, along the ch"):
        lrnorm.onnx.to_onnx(box)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_every_way_into_pytorchs_exporter_gives_lrn_nodes(dynamo, tmp_path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from lrnorm.torch import LocalResponseNorm, as_module

    class Calls(torch.nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    residual = NetGraph({"n": NORM, "add": np.add}, [("n", "add"), (NetPort("Input"), "add")])
    modules = [
        as_module(NetChain([NORM])),
        as_module(residual),
        Calls(lrnorm.local_response_norm),
        Calls(NORM),
        LocalResponseNorm(5),
    ]
    x = torch.tensor(sample(2, 7, 3, 2))
    for module in modules:
        path = tmp_path / "model.onnx"
        words = {"dynamic_axes": {"x": {0: "n"}}} if not dynamo else {"verbose": False}
        torch.onnx.export(module.eval(), (x,), path, input_names=["x"], dynamo=dynamo, **words)
        model = onnx.load(path)
        assert kinds(model).count("LRN") == 1
        assert set(kinds(model)) <= {"LRN", "Add"}
        [found] = run(model, {"x": x.numpy()}).values()
        np.testing.assert_allclose(found, module(x).numpy(), rtol=1e-5)
