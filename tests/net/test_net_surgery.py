"""Nets as values, and nets made of nets."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import KindError, NetChain, NetGraph, NetPort, ParameterError, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm.net import LayerLookupError, elementwise

A, B, C = Layer(alpha=2.0), Layer(beta=0.7), Layer(bias=1.5)
TANH = elementwise(np.tanh)
CHAIN = NetChain({"a": A, "b": B, "c": C}, input=(5, 2, 1))
GRAPH = NetGraph(
    {"a": A, "b": B, "c": C, "add": np.add},
    [("a", "b", "add"), ("a", "c", "add"), ("b", NetPort("early"))],
    input=(5, 2, 1),
)
X = np.random.default_rng(0).normal(size=(5, 2, 1))

same = np.testing.assert_array_equal


def test_index_name_length_iteration():
    assert len(CHAIN) == 3
    assert list(CHAIN) == [A, B, C]
    assert CHAIN["b"] == CHAIN[1] == CHAIN[-2] == B
    nested = NetChain({"block": CHAIN, "end": TANH})
    assert nested["block", "c"] == nested.extract("block", "c") == nested.extract(["block", "c"])
    assert nested.extract("block", 0) == A
    for key, rule in (("d", "one of ['a', 'b', 'c']"), (3, "in -3 … 2"), (-4, "in -3 … 2")):
        with refused(LayerLookupError, "layer", rule, key):
            CHAIN[key]
    for kind in (KeyError, IndexError, ValueError):
        assert issubclass(LayerLookupError, kind)
    with refused(LayerLookupError, "layer", "must be one of", "bb", "Did you mean 'b'?"):
        CHAIN["bb"]


def test_slices_are_nets():
    assert CHAIN[:2] == NetChain({"a": A, "b": B}, input=(5, 2, 1))
    assert CHAIN["a":"b"] == CHAIN[:2]
    assert NetChain([A, B, C])[1:] == NetChain([B, C])
    assert NetChain([A, B, C])[::2] == NetChain([A, C])
    with refused(ParameterError, "the net that remains", "must have at least one layer"):
        CHAIN[3:]


def test_take_and_drop_of_a_chain():
    names = {
        "a": [CHAIN.take(1), CHAIN.take("a"), CHAIN.drop(-2), CHAIN.drop("b", "c")],
        "ab": [CHAIN.take(2), CHAIN.take("b"), CHAIN.take("a", "b"), CHAIN.drop(-1)],
        "bc": [CHAIN.take(-2), CHAIN.take(("b", "c")), CHAIN.drop(1), CHAIN.drop("a")],
        "ac": [CHAIN.drop("b", "b")],
    }
    for kept, nets in names.items():
        for net in nets:
            assert "".join(net.layers) == kept
            assert net.inputs == {"Input": (5, 2, 1)}  # what was inferred at the cut
    same(CHAIN.drop(1)(CHAIN.take(1)(X)), CHAIN(X))
    for wrong in (4, -4):
        with refused(LayerLookupError, "take", "at most 3 layers", wrong):
            CHAIN.take(wrong)
    with refused(ParameterError, "the net that remains", "must have at least one layer"):
        CHAIN.drop(3)
    with refused(KindError, "take", "takes a number, a name"):
        CHAIN.take()


@pytest.mark.parametrize("net", [CHAIN, GRAPH], ids=["chain", "graph"])
@pytest.mark.parametrize(
    "cut",
    [
        lambda net: net.take(0),
        lambda net: net.drop(len(net)),
        lambda net: net[1:1],
        lambda net: net.take("c", "a"),
    ],
    ids=["take none", "drop all", "empty slice", "wrong order"],
)
def test_a_net_without_layers_is_refused(net, cut):
    way_out = "Name the ends of a stretch in the order in which they are computed."
    with refused(ParameterError, "the net that remains", "at least one layer", way_out=way_out):
        cut(net)


def test_take_of_a_graph_is_all_that_a_layer_needs():
    net = GRAPH.take("b")
    assert list(net.layers) == ["a", "b"]
    same(net(X), B(A(X)))
    assert list(net.outputs) == ["early"]
    between = GRAPH.take("b", "add")
    assert list(between.layers) == ["b", "add"]
    assert between.inputs == {"a": (5, 2, 1), "c": (5, 2, 1)}
    same(between({"a": A(X), "c": C(A(X))})["Output"], GRAPH(X)["Output"])


def test_what_is_cut_becomes_a_port():
    net = GRAPH.drop("add", "add")
    assert list(net.outputs) == ["early", "Output"]
    same(net(X)["Output"], C(A(X)))
    net = GRAPH.drop("a")
    assert net.inputs == {"Input": (5, 2, 1)}
    same(net(A(X))["Output"], GRAPH(X)["Output"])
    listed = NetGraph([A, B, np.subtract], [(0, 2), (1, 2)])
    same(listed[1:]({"0": A(X), "Input": X}), A(X) - B(X))
    muted = NetGraph({"a": A, "b": B, "c": C}, [("b", None), ("a", "c")]).drop("a")
    assert list(muted.outputs) == ["Output"]


def test_replace():
    other = CHAIN.replace("b", TANH)
    assert (other[1], CHAIN[1]) == (TANH, B)
    same(other(X), C(np.tanh(A(X))))
    assert CHAIN.replace({"a": B, "b": A})[:2] == NetChain({"a": B, "b": A}, input=(5, 2, 1))
    assert CHAIN.replace(input=None).inputs == {"Input": (None,) * 3}
    assert NetChain([A, B]).replace(-1, C) == NetChain([A, C])
    same(GRAPH.replace("add", np.subtract)(X)["Output"], B(A(X)) - C(A(X)))
    nested = NetChain({"block": CHAIN, "end": TANH})
    assert nested.replace(("block", "a"), C)["block", "a"] == C
    with pytest.raises(ShapeError, match=r"layer 'b' .*must have the shape of .*layer 'a'"):
        CHAIN.replace("b", Layer(input=(4, 2, 1)))
    rule = "must be a net, to hold the layer 'end' / 'a'"
    with refused(LayerLookupError, "layer 'end'", rule, TANH):
        nested.replace(("end", "a"), C)
    with refused(KindError, "replace()", "has no argument 'shape'", (5, 2, 1)):
        CHAIN.replace(shape=(5, 2, 1))


@pytest.mark.parametrize("net", [CHAIN, GRAPH, NetChain([CHAIN, TANH]), NetGraph([A, B], [(0, 1)])])
def test_equal_by_value_hashable_picklable(net):
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for other in (net.replace(), *copies):
        assert (other, hash(other), other.ports) == (net, hash(net), net.ports)
    assert len({net, *copies}) == 1


def test_unequal_where_anything_differs():
    nets = [CHAIN, CHAIN.replace("a", B), CHAIN.replace(input=None), NetChain([A, B, C])]
    nets += [NetChain({"a": A, "b": B, "d": C}, input=(5, 2, 1)), GRAPH]
    nets += [NetGraph(GRAPH.layers, [("a", "b", "add"), ("a", "c", "add")], input=(5, 2, 1))]
    assert len(set(nets)) == len(nets)
    assert CHAIN != "CHAIN"


def test_repr_evaluates_back():
    for net in (NetChain([A, B], input=(5, 2, 1)), CHAIN, NetGraph({"a": A, "b": B}, [("a", "b")])):
        assert eval(repr(net), {name: getattr(lrnorm, name) for name in dir(lrnorm)}) == net
    text = repr(NetGraph({"f": abs}, [(NetPort("x"), "f")]))
    assert text == "NetGraph({'f': abs}, [(NetPort('x'), 'f')])"


def test_immutable():
    with pytest.raises(AttributeError, match=r"'edges' cannot be set: net\.replace"):
        CHAIN.edges = ()
    with pytest.raises(AttributeError, match="'layers' cannot be deleted"):
        del CHAIN.layers
    with pytest.raises(AttributeError, match="'path' cannot be set"):
        NetPort("a").path = ()


def test_ports_are_found_under_their_names():
    assert {NetPort("a"): 1, NetPort("a", "Output"): 2}["a"] == 1
    assert NetPort("a", "Output") == ("a", "Output") != NetPort("a")
    assert repr(NetPort("a", "Output")) == "NetPort('a', 'Output')"
    for wrong in ((), (None,), ("a", ("b",))):
        with pytest.raises(KindError, match="NetPort takes names"):
            NetPort(*wrong)


def test_printed_as_a_table():
    net = NetChain({"norm": A, "block": NetChain({"tanh": TANH})}, input=(5, 2, None))
    assert str(net) == "\n".join(
        [
            "NetChain  Input: 5 × 2 × ? → Output: 5 × 2 × ?",
            "  layer         type                             gives      elements",
            "  norm          LocalResponseNormalizationLayer  5 × 2 × ?",
            "  block / tanh  elementwise                      5 × 2 × ?",
            "  2 layers, 0 elements in arrays",
        ]
    )
    page = NetChain({"<b>": A})._repr_html_()
    assert "&lt;b&gt;" in page
    assert re.search(r"<caption>NetChain  Input: \? × \? × \? →", page)


def test_elementwise_is_a_value():
    assert elementwise(np.tanh) == TANH != elementwise(np.sinh)
    assert repr(TANH) == "elementwise(np.tanh)"
    with pytest.raises(KindError, match="elementwise's function must be callable, got 3"):
        elementwise(3)


class Square:
    """A function with a gradient of its own."""

    def __call__(self, x):
        return x * x

    def vjp(self, x, g):
        return 2 * g * x


def test_elementwise_takes_the_gradient_that_a_function_has():
    same(NetChain([elementwise(Square())]).vjp(X, 3 * X), 6 * X * X)
    own = elementwise(Square(), vjp=lambda x, g: -g)
    same(NetChain([own]).vjp(X, 3 * X), -3 * X)


def test_layers_are_read_only():
    for change in (lambda: GRAPH.layers.clear(), lambda: GRAPH.layers.__setitem__("a", B)):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert GRAPH["a"] == A


def test_what_is_in_a_net():
    nested = NetChain({"block": CHAIN, "end": TANH})
    assert "block" in nested
    assert ("block", "a") in nested
    assert CHAIN in nested
    assert "a" not in nested
    assert "x" not in nested
    assert A not in nested


def test_all_layers_of_a_graph_are_the_graph():
    graph = NetGraph({"a": A, "b": B}, [("a", "b")], input=(5, 2, 1))
    for same_graph in (graph[:], graph.take("a", "b"), graph.take(2), GRAPH[:]):
        assert same_graph in (graph, GRAPH)


def test_other_spellings_of_paths():
    nested = NetChain({"block": CHAIN, "end": TANH})
    assert NetPort(["block", "Output"]) == NetPort("block", "Output")
    assert nested.replace(["block", "a"], C)["block", "a"] == C
    [path] = [path for path in lrnorm.information(nested, "Layers") if path[-1] == "a"]
    same(nested(X, port=path), A(X))
    same(nested(X, port=-1), nested(X))
    same(nested(X, port=("block", 0)), A(X))


def test_hints_of_wrong_names():
    with pytest.raises(AttributeError, match=r"no attribute 'input'\. Ask net\.inputs"):
        CHAIN.input  # noqa: B018
    numbered = NetChain([A, B])
    with refused(LayerLookupError, "layer", "must be one of [0, 1]", "0", "Did you mean 0?"):
        numbered.take("0")
    with pytest.raises(KindError, match=r"NetPort takes names .*, got nothing\. Write"):
        NetPort()


def test_a_chain_refuses_a_layer_of_several_inputs():
    two = NetGraph({"sub": np.subtract}, [([NetPort("p"), NetPort("q")], "sub")])
    text = r"layer 1 \(NetGraph\) must have one input, .* got \['p', 'q'\]\. Write a NetGraph"
    with pytest.raises(ParameterError, match=text):
        NetChain([A, two])
    assert list(NetChain([two, A]).inputs) == ["p", "q"]


def test_classes_say_where_users_import_them():
    for one in (CHAIN, GRAPH, NetPort("a"), A, lrnorm.information(A)):
        assert type(one).__module__ == "lrnorm"
