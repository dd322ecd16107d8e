"""append, prepend, insert, delete, +, flatten, rename, add: beside nets built from the start."""

from __future__ import annotations

import numpy as np
import pytest

from lrnorm import KindError, NetChain, NetGraph, NetPort, ParameterError, ShapeError, information
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm.net import LayerLookupError, elementwise

A, B, C = Layer(alpha=2.0), Layer(beta=0.7), Layer(bias=1.5)
TANH = elementwise(np.tanh)
SHAPE = (5, 2, 1)
X = np.random.default_rng(0).normal(size=SHAPE)

NUMBERED = NetChain([A, B, C, TANH], input=SHAPE)
NAMED = NetChain({"a": A, "b": B, "c": C, "tanh": TANH}, input=SHAPE)
GRAPH = NetGraph(
    {"a": A, "b": B, "sub": np.subtract, "tanh": TANH},
    [("a", "sub"), ("b", "sub"), ("sub", "tanh")],
    input=SHAPE,
)


def alike(net, other):
    """The same layers under the same names, ports, shapes, structure and values."""
    assert type(net) is type(other)
    assert dict(net.layers) == dict(other.layers)
    assert list(net.layers) == list(other.layers)
    assert net.ports == other.ports
    for name in ("Layers", "TopologyHash", "InputPorts", "OutputPorts"):
        assert information(net, name) == information(other, name)
    nodes, edges = information(net, "LayersGraph")
    assert (set(nodes), set(edges)) == tuple(map(set, information(other, "LayersGraph")))
    np.testing.assert_array_equal(net(X), other(X))


@pytest.mark.parametrize(
    ("made", "whole"),
    [
        (NUMBERED.take(3).append(TANH), NUMBERED),
        (NUMBERED.take(2).append([C, TANH]), NUMBERED),
        (NAMED.take(3).append("tanh", TANH), NAMED),
        (NAMED.take(2).append({"c": C, "tanh": TANH}), NAMED),
        (NUMBERED.drop(1).prepend(A), NUMBERED),
        (NAMED.drop(2).prepend({"a": A, "b": B}), NAMED),
        (NUMBERED.delete(1).insert(1, B), NUMBERED),
        (NUMBERED.delete(1).insert(-2, B), NUMBERED),
        (NAMED.delete("b").insert("c", "b", B), NAMED),
        (NAMED.delete("tanh").insert(3, "tanh", TANH), NAMED),
        (NUMBERED.take(2) + NetChain([C, TANH]), NUMBERED),
        (NAMED.take(2) + NetChain({"c": C, "tanh": TANH}), NAMED),
        (NetChain([NetChain([A, B], input=SHAPE), NetChain([C]), TANH]).flatten(), NUMBERED),
        (NAMED.rename({"b": "z"}).rename({"z": "b"}), NAMED),
        (NAMED.rename(str.upper).rename(str.lower), NAMED),
        (NAMED.rename({"a": "b", "b": "a"}).rename({"a": "b", "b": "a"}), NAMED),
        (GRAPH.take("sub").append("tanh", TANH), GRAPH),
        (GRAPH.take("sub") + NetChain({"tanh": TANH}), GRAPH),
        (GRAPH.take("sub").add({"tanh": TANH}, [("sub", "tanh")]), GRAPH),
        (GRAPH.delete("tanh").append({"tanh": TANH}), GRAPH),
        (GRAPH.rename({"a": "x"}).rename({"x": "a"}), GRAPH),
        (GRAPH.rename({NetPort("Input"): "p"}).rename({NetPort("p"): NetPort("Input")}), GRAPH),
    ],
)
def test_a_net_made_by_a_verb_is_the_net_built_from_the_start(made, whole):
    alike(made, whole)


def test_inserting_into_a_graph():
    layers = {"n": C, "a": A, "b": B, "sub": np.subtract}
    graph = GRAPH.take("sub")
    before_all = NetGraph(layers, [("n", ["a", "b"], "sub")], input=SHAPE)
    alike(graph.prepend("n", C).replace(input=SHAPE, output=None), before_all)
    layers = {"a": A, "n": C, "b": B, "sub": np.subtract}
    before_one = NetGraph(layers, [("a", "sub"), ("n", "b", "sub")], input=SHAPE)
    alike(graph.insert("b", "n", C), before_one)
    with pytest.raises(ParameterError, match=r"layer 'sub' \(subtract\) must have one input, got"):
        graph.insert("sub", "n", C)


def test_a_graph_in_a_chain_is_flattened_as_a_graph():
    nested = NetChain({"g": GRAPH, "end": NetChain({"c": C})})
    flat = nested.flatten()
    assert list(flat.layers) == ["g/a", "g/b", "g/sub", "g/tanh", "end/c"]
    assert type(flat) is NetGraph
    assert flat.ports == nested.ports
    np.testing.assert_array_equal(flat(X), nested(X))
    one = nested.flatten(0)
    assert one == nested
    deep = NetChain({"x": NetChain({"y": NetChain({"z": A})})})
    assert list(deep.flatten(1).layers) == ["x/y"]
    assert list(deep.flatten().layers) == ["x/y/z"]
    straight = NetGraph({"a": A, "b": B}, [("a", "b")])
    assert straight.flatten() == NetChain({"a": A, "b": B})


def test_flattening_keeps_ports_and_muted_outputs():
    inner = NetGraph({"p": A, "q": B}, [(NetPort("left"), "p"), ("q", None)])
    net = NetGraph({"x": inner, "c": C}, [("x", "c", NetPort("kept"))], output=SHAPE)
    flat = net.flatten()
    assert list(flat.layers) == ["x/p", "x/q", "c"]
    assert flat.ports == net.ports
    fed = dict.fromkeys(net.inputs, X)
    np.testing.assert_array_equal(flat(fed), net(fed))


def test_a_shared_layer_stays_shared():
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(5, 5, 1)
    net = NetChain([conv, A], input=SHAPE).append(conv)
    assert net[0] is net[2] is conv
    assert information(net + net, "SharedArraysCount") == 2
    assert information((net + net).flatten(), "ArraysTotalElementCount") == 30


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (
            lambda: NAMED.append("a", C),
            ParameterError,
            r"the new layer 'a' \(Local.*\) must have a name of its own, got that of layer 'a' \(",
        ),
        (lambda: NAMED + NAMED, ParameterError, "the new layer 'a' .* got that of layer 'a'"),
        (lambda: GRAPH.add({"a": C}), ParameterError, "the new layer 'a' .* that of layer 'a'"),
        (lambda: NUMBERED.append("x", C), KindError, "layer 'x' cannot have a name in a net whose"),
        (
            lambda: NetChain([Layer(input=(5, 1, 1))]) + NetChain([Layer(input=(4, 1, 1))]),
            ShapeError,
            r"second net must have .*'Output' of the first net, \(5, 1, 1\), got \(4, 1, 1\)",
        ),
        (
            lambda: NAMED.append("x", Layer(input=(4, 1, 1))),
            ShapeError,
            r"port 'Input' of layer 'x' .* layer 'tanh' .* \(5, 2, 1\): .*got \(4, 1, 1\)",
        ),
        (
            lambda: NAMED + A,
            KindError,
            r"\+ joins two nets, got Local.* net.append\(layer\) adds a",
        ),
        (
            lambda: A + NAMED,
            KindError,
            r"\+ joins two nets, got Local.* net.prepend\(layer\) adds a",
        ),
        (lambda: NAMED.add({"x": A}), AttributeError, "A NetGraph has it; net.append"),
        (lambda: NAMED + 5, TypeError, "unsupported operand"),
        (lambda: NAMED.delete("x"), LayerLookupError, "layer must be one of .*, got 'x'"),
        (lambda: NUMBERED.insert(9, A), LayerLookupError, "place must lie in .*, got 9"),
        (lambda: NAMED.rename({"x": "y"}), LayerLookupError, "layer must be one of .*, got 'x'"),
        (
            lambda: NAMED.rename("a", "b"),
            KindError,
            "rename takes a mapping .*, got 2 arguments. {'a': 'b'} is the mapping of one name",
        ),
        (
            lambda: NAMED.rename({"a": "b"}),
            ParameterError,
            "layer 'a' and layer 'b' would both be called 'b'",
        ),
        (
            lambda: NetChain({"a/b": A, "a": NetChain({"b": B})}).flatten(),
            ParameterError,
            "layer 'a/b' and layer 'a' / 'b' would both be called 'a/b'",
        ),
        (
            lambda: NAMED.rename({"a": "Output"}),
            ParameterError,
            "port 'Output', an output of the net, must have a name of its own",
        ),
        (
            lambda: NetGraph({"a": A, "b": B}).append("c", C),
            ParameterError,
            r"must have one output to be joined there, got \['Output1', 'Output2'\]",
        ),
        (
            lambda: NAMED.append("f", np.subtract),
            ParameterError,
            r"layer 'f' \(subtract\) must have one input and one output",
        ),
        (lambda: NAMED.delete(*NAMED.layers), ParameterError, "must have at least one layer"),
    ],
)
def test_what_a_verb_refuses_names_both_sides(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_declared_shapes_stay_at_the_ends_that_stay():
    by_output = NetChain([A, B], output=SHAPE)
    assert by_output.append(C).ports == {"Input": SHAPE, "Output": SHAPE}
    assert NetChain([A, B], input=SHAPE).prepend(TANH).ports["Output"] == SHAPE
    assert NetChain([abs], output=(3,)).append(lambda x: x).outputs == {"Output": None}
    assert NetChain([A]).append(B, input=SHAPE).outputs == {"Output": SHAPE}


def test_a_declared_shape_whose_port_goes_is_named():
    net = NetGraph({"a": A, "b": B}, [("a", "b")], output=SHAPE)
    text = r"The shape \(5, 2, 1\) of port 'Output' is not kept: .* are \['Output1', 'Output2'\]"
    with pytest.warns(UserWarning, match=text):
        net.add({"c": C}, [("a", "c")])


def test_the_net_itself_does_not_change():
    before = repr(NAMED)
    NAMED.append("x", A)
    NAMED.prepend("x", A)
    NAMED.rename(str.upper)
    assert repr(NAMED) == before
