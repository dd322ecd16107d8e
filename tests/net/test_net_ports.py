"""Ports of nets: which of two things of one name is meant, what a port is called after a cut."""

from __future__ import annotations

import re

import numpy as np
import pytest

import lrnorm
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm import NetChain, NetGraph, NetPort, ParameterError

A, B, C = Layer(alpha=2.0), Layer(beta=0.7), Layer(bias=1.5)
X = np.random.default_rng(0).normal(size=(5, 2, 1))

same = np.testing.assert_array_equal


def total(*values):
    return sum(values)


# A layer and a port of the net that have one name


def test_a_netport_of_one_name_is_the_layer_where_there_is_one():
    layers = {"a": A, "b": B}
    fed_by_the_layer = NetGraph(layers, [(NetPort("a"), "b")])
    assert list(fed_by_the_layer.inputs) == ["Input"]
    same(fed_by_the_layer(X), B(A(X)))
    feeding_the_layer = NetGraph(layers, [("b", NetPort("a"))])
    assert list(feeding_the_layer.outputs) == ["Output"]
    same(feeding_the_layer(X), A(B(X)))


@pytest.mark.parametrize("port", ["Input", NetPort("Input")])
def test_reading_an_input_port_named_like_a_layer_reads_the_layer(port):
    net = NetGraph({"Input": A, "b": B}, [("Input", "b")])
    assert list(net.ports) == ["Input", "Output"]
    same(net(X, port=port), A(X))
    same(net({"Input": X}), B(A(X)))
    same(net(X, port=NetPort("Input", "Input")), X)


@pytest.mark.parametrize("port", ["Output", NetPort("Output")])
@pytest.mark.parametrize("kind", [NetChain, lambda layers: NetGraph(layers, [("Output", "b")])])
def test_reading_an_output_port_named_like_a_layer_reads_the_layer(kind, port):
    net = kind({"Output": A, "b": B})
    same(net(X, port=port), A(X))
    same(net(X), B(A(X)))
    same(net(X, port="b"), B(A(X)))


def test_two_names_are_a_port_before_they_are_a_layer_inside():
    inner = NetChain({"Input": A, "Output": B, "end": C})
    net = NetChain({"block": inner, "last": abs})
    same(net(X, port=NetPort("block", "Input")), X)
    same(net(X, port=NetPort("block", "Output")), C(B(A(X))))
    same(net(X, port=NetPort("block", "Output", "Input")), A(X))


def test_a_chain_is_cut_after_a_layer_named_like_a_port():
    net = NetChain({"Output": A, "ravel": np.ravel}, input=(5, 2, 1), output=(10,))
    assert net.drop(1).inputs == {"Input": (5, 2, 1)}


def test_a_graph_is_cut_at_layers_named_like_its_ports():
    unconnected = NetGraph({"Input": A, "b": B, "c": C}, input=(5, 2, 1))
    for net in (unconnected.take(2), unconnected[:2], unconnected.drop("c", "c")):
        assert net == NetGraph({"Input": A, "b": B}, input=(5, 2, 1))
    from_layer = NetGraph({"x": A, "Input": B}, [("x", "Input")]).drop("x")
    assert list(from_layer.inputs) == ["x"]
    same(from_layer(X), B(X))
    giving = NetGraph({"Output": A, "b": B}, [("Output", "b")], output=(5, 2, 1))
    same(giving.take(2)(X), B(A(X)))


def test_an_input_hidden_by_a_layer_stays_apart_from_that_layer():
    net = NetGraph({"x": A, "Input": B, "c": C}, [(NetPort("p"), "x", "Input")])
    found = net[:]({"p": X, "Input": 2 * X})
    same(found["Output1"], B(A(X)))
    same(found["Output2"], C(2 * X))


def test_hidden_inputs_of_a_layer_with_several():
    difference = NetGraph({"sub": np.subtract}, [([NetPort("left"), NetPort("right")], "sub")])
    net = NetGraph(
        {"left": A, "end": difference, "Input1": B, "add": np.add},
        [(NetPort("p"), NetPort("end", "right")), ("left", None), ("Input1", None)],
    )
    assert set(net[:].inputs) == set(net.inputs) == {"p", "left", "Input", "Input1", "Input2"}
    fed = {port: np.full((3, 2, 1), i) for i, port in enumerate(net.inputs)}
    for port, value in net(fed).items():
        same(net[:](fed)[port], value)
    assert list(net(fed)) == list(net[:](fed)) == ["Output1", "Output2"]


def test_what_is_cut_off_and_what_was_unconnected_stay_two_ports():
    net = NetGraph({"Input": A, "c": C, "sub": np.subtract}, [(["Input", "c"], "sub")])
    rest = net.drop("Input", "Input")
    assert list(rest.inputs) == ["Input", "Input/Output"]
    same(rest({"Input": X, "Input/Output": A(X)}), net(X))


# Ports after a cut

FORK = NetGraph({"p": A, "q": B})
FORKED = NetGraph(
    {"fork": FORK, "sub": np.subtract},
    [(NetPort("fork", "Output2"), "sub"), (NetPort("fork", "Output1"), "sub")],
    input=(5, 2, 1),
)


@pytest.mark.parametrize(
    "rest", [FORKED.drop("fork"), FORKED.drop(1), FORKED.take("sub", "sub"), FORKED[1:]]
)
def test_each_output_of_a_layer_that_is_cut_off_is_a_port(rest):
    assert list(rest.layers) == ["sub"]
    assert rest.inputs == {"fork/Output2": (5, 2, 1), "fork/Output1": (5, 2, 1)}
    same(rest({"fork/Output1": A(X), "fork/Output2": B(X)}), FORKED(X))
    same(rest({"fork/Output1": X, "fork/Output2": 2 * X}), X)


NAMES = {name: getattr(lrnorm, name) for name in dir(lrnorm)} | {"square": np.square}
BOTH = {"Output1": (5, 2, 1), "Output2": (5, 2, None)}


@pytest.mark.parametrize(
    ("cut", "layers", "outputs"),
    [
        (lambda net: net.take("f"), "af", {"Output1": (5, 2, 1)}),
        (lambda net: net.drop("h", "h"), "af", {"Output1": (5, 2, 1)}),
        (lambda net: net.take("h"), "ah", {"Output2": (5, 2, None)}),
        (lambda net: net.drop("f", "f"), "ah", {"Output2": (5, 2, None)}),
        (lambda net: net[-1:], "h", {"Output2": (5, 2, None)}),
        (lambda net: net.drop("a"), "fh", BOTH),
    ],
)
def test_the_shape_of_an_output_stays_with_its_layer(cut, layers, outputs):
    net = cut(NetGraph({"a": A, "f": np.square, "h": abs}, [("a", ["f", "h"])], output=BOTH))
    assert "".join(net.layers) == layers
    assert net.outputs == outputs
    assert eval(repr(net), NAMES) == net


# A function of any number of inputs


def twice(port, first, second):
    return (
        f"port {port!r} of layer 'total' (function) is connected twice: to port 'Output' of layer "
        f"{first!r} (LocalResponseNormalizationLayer) and to port 'Output' of layer {second!r} "
        "(LocalResponseNormalizationLayer). It takes one edge: put a layer that joins the two "
        "between them."
    )


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        ([("a", "total"), ("b", NetPort("total", "Input1"))], twice("Input1", "a", "b")),
        (
            [(["a", "b"], "total"), ("c", NetPort("total", "Input2"))],
            twice("Input2", "b", "c"),
        ),
        (
            [("a", "total"), ("b", NetPort("total", "Input3"))],
            "layer 'total' (function) has no port 'Input3', it has ['Input1', 'Input2'].",
        ),
    ],
)
def test_a_function_of_any_number_of_inputs_takes_one_edge_at_each(edges, text):
    with pytest.raises(ParameterError, match=f"{re.escape(text)}$"):
        NetGraph({"a": A, "b": B, "c": C, "total": total}, edges)
    free = [("a", "total"), ("b", NetPort("total", "Input2"))]
    same(NetGraph({"a": A, "b": B, "total": total}, free)(X), A(X) + B(X))


# Gradients at ports


@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_by_an_input_that_no_output_uses_is_zero(batch, dtype):
    net = NetGraph({"a": A, "b": B}, [(NetPort("used"), "a"), (NetPort("unused"), "b", None)])
    x = np.ones((*batch, 5, 2, 1), dtype)
    unused = np.full((*batch, 3, 4, 2), np.nan, dtype)
    found = net.vjp({"used": x, "unused": unused})
    assert list(found) == ["used", "unused"]
    assert (found["unused"].shape, found["unused"].dtype) == (unused.shape, dtype)
    same(found["unused"], np.zeros_like(unused))
    same(found["used"], A.vjp(x))
