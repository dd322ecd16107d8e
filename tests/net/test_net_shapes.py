"""Shapes of nets: inferred from either end, and refused where they clash."""

from __future__ import annotations

import re

import numpy as np
import pytest
from refusals import refused

from lrnorm import KindError, NetChain, NetGraph, NetPort, ParameterError, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm.net import elementwise

UNKNOWN = (None, None, None)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_known_layer_tells_the_whole_chain(place):
    layers = [Layer(), Layer(), Layer()]
    layers[place] = Layer(input=(5, 2, 1))
    assert NetChain(layers).ports == {"Input": (5, 2, 1), "Output": (5, 2, 1)}


@pytest.mark.parametrize("ports", [{"input": (5, 2, 1)}, {"output": (5, 2, 1)}])
def test_either_end_of_a_chain_tells_it(ports):
    net = NetChain([Layer(), elementwise(np.tanh), Layer()], **ports)
    assert net.ports == {"Input": (5, 2, 1), "Output": (5, 2, 1)}


def test_sizes_come_together_from_both_ends():
    net = NetChain([Layer(input=(5, None, None)), Layer(output=(None, 2, None))], output=(5, 2, 7))
    assert net.inputs == {"Input": (5, 2, 7)}
    assert NetChain([Layer(), Layer()]).ports == {"Input": UNKNOWN, "Output": UNKNOWN}


def test_layers_stay_as_they_were():
    layer = Layer()
    assert NetChain([layer, Layer(input=(5, 2, 1))])[0].input == UNKNOWN
    assert layer == Layer()


def test_a_plain_function_tells_nothing_and_an_elementwise_one_keeps_shapes():
    for function, output in ((lambda x: x, None), (elementwise(np.cbrt), (5, 2, 1))):
        net = NetChain([Layer(input=(5, 2, 1)), function])
        assert net.ports == {"Input": (5, 2, 1), "Output": output}


def test_a_graph_is_told_across_its_branches_and_through_nets_inside():
    inner = NetChain([Layer(), Layer()])
    net = NetGraph(
        {"a": Layer(), "block": inner, "b": Layer(input=(4, 3, 2))}, [("a", "block"), ("a", "b")]
    )
    assert net.ports == dict.fromkeys(("Input", "Output1", "Output2"), (4, 3, 2))
    assert inner.inputs == {"Input": UNKNOWN}
    assert NetChain([Layer(), NetChain([Layer(input=(4, 3, 2))])]).inputs == {"Input": (4, 3, 2)}


def test_a_clash_names_both_layers_both_ports_and_both_shapes():
    subject = "port 'Input' of layer 'b' (LocalResponseNormalizationLayer)"
    rule = "the shape of port 'Output' of layer 'a' (LocalResponseNormalizationLayer), (5, 2, 1):"
    with refused(ShapeError, subject, rule, (4, None, None)):
        NetChain({"a": Layer(input=(5, 2, 1)), "b": Layer(input=(4, None, None))})


@pytest.mark.parametrize(
    ("make", "subject", "shape", "other", "has"),
    [
        (
            lambda: NetChain({"block": NetChain([Layer()], input=(5, 1, 1))}, input=(4, 1, 1)),
            "port 'Input' of the net",
            (4, 1, 1),
            "port 'Input' of layer 'block'",
            (5, 1, 1),
        ),
        (
            lambda: NetChain({"block": NetChain([abs], output=(5, 1, 1))}, output=(4, 1, 1)),
            "port 'Output' of the net",
            (4, 1, 1),
            "port 'Output' of layer 'block'",
            (5, 1, 1),
        ),
        (
            lambda: NetChain([NetChain([abs], output=(5,)), NetChain([abs], input=(4,))]),
            "port 'Input' of layer 1",
            (4,),
            "port 'Output' of layer 0",
            (5,),
        ),
        (
            lambda: NetChain([NetChain({"x": NetChain([abs], input=(5,))})], input=(4,)),
            "port 'Input' of the net",
            (4,),
            "port 'Input' of layer 0 / 'x'",
            (5,),
        ),
        (
            lambda: NetChain({"block": NetChain({"x": Layer(input=(5, 1, 1))})}, input=(4, 1, 1)),
            "port 'Input' of layer 'block' / 'x' (LocalResponseNormalizationLayer)",
            (5, 1, 1),
            "port 'Input' of the net",
            (4, 1, 1),
        ),
    ],
)
def test_a_clash_at_a_net_inside_names_two_ports(make, subject, shape, other, has):
    with refused(ShapeError, subject, f"must have the shape of {other}, {has}", shape):
        make()


def test_a_clash_is_found_from_afar():
    with pytest.raises(
        ShapeError, match=r"of layer 2 .*of port 'Output' of layer 1 .*\(5, .*got \(4, "
    ):
        NetChain([Layer(input=(5, 1, 1)), Layer(), Layer(input=(4, 1, 1))])
    with pytest.raises(ShapeError, match=r"layer 0 .*'Input' of the net, \(3, 1, 1\)"):
        NetChain([Layer(input=(5, 1, 1))], input=(3, 1, 1))
    with pytest.raises(ShapeError, match=r"layer 'block' / 0 .*\(5, 1, 1\)"):
        NetChain({"block": NetChain([Layer(input=(5, 1, 1))]), "end": Layer(input=(6, 1, 1))})
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        NetChain([Layer()], input=(3, 3))


def test_two_that_take_one_value_must_agree():
    layers = {"a": Layer(input=(5, 1, 1)), "b": Layer(input=(4, 1, 1))}
    with pytest.raises(ShapeError, match=r"port 'Input' of layer 'b' .*port 'Input' of layer 'a'"):
        NetGraph(layers, [])


def test_what_is_fed_must_fit():
    net = NetChain([Layer(), abs], input=(5, None, 1))
    for shape in ((4, 2, 1), (2, 4, 2, 1), (5, 2), (1, 1, 5, 2, 1)):
        got = re.escape(str(shape[-3:] if len(shape) in (3, 4) else shape))
        with pytest.raises(
            ShapeError, match=rf"port 'Input' expects .* = \(5, None, 1\), or .*got .*{got}"
        ):
            net(np.ones(shape))
    assert net(np.ones((9, 5, 3, 1))).shape == (9, 5, 3, 1)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (NetChain([Layer()]), UNKNOWN),
        (NetChain([Layer(), abs], input=(5, None, 1)), (5, None, 1)),
        (NetChain([abs], input=(5, None, 1)), (5, None, 1)),
    ],
)
def test_in_a_list_of_examples_none_may_be_a_batch(net, expected):
    one, batch = np.ones((5, 2, 1)), np.ones((2, 5, 2, 1))
    for items, place in (([one, batch], 1), ([batch, batch], 0)):
        known = f" = {expected}" if set(expected) - {None} else ""
        text = (
            f"port 'Input' (item {place}) expects an array of rank 3, (channels, height, width)"
            f"{known}, got rank 4, shape (2, 5, 2, 1)."
        )
        with pytest.raises(ShapeError, match=f"^{re.escape(text)}$"):
            net(items)
    assert net(batch).shape == batch.shape


def test_a_net_of_unknown_shape_takes_what_comes_and_learns_nothing():
    net = NetChain([Layer(), Layer()])
    for shape in ((5, 2, 1), (3, 4, 4), (2, 5, 2, 1)):
        assert net(np.ones(shape)).shape == shape
    assert net.inputs == {"Input": UNKNOWN}
    with pytest.raises(ShapeError, match="port 'Input'"):
        net(np.ones((5, 2)))


def test_a_net_of_functions_takes_anything():
    net = NetChain([lambda x: x + 1, lambda x: x * 2])
    assert net(3) == 8
    assert net(np.ones((2, 2, 2, 2))).shape == (2, 2, 2, 2)
    assert net([1.0, 2.0]) == [4.0, 6.0]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ((5, -2, 1), ShapeError, r"port 'Input' expects sizes, .*got \(5, -2, 1\)"),
        ((5, 2.0, 1), KindError, r"got \(5, 2\.0, 1\)"),
        ({"Inptu": (5, 2, 1)}, ParameterError, r"must name ports among \['Input'\], got 'Inptu'"),
    ],
)
def test_sizes_that_are_none(value, kind, text):
    with pytest.raises(kind, match=text):
        NetChain([Layer()], input=value)


def test_shapes_of_several_ports_are_a_mapping():
    layers, edges = {"add": np.add}, [(NetPort("left"), "add"), (NetPort("right"), "add")]
    net = NetGraph(layers, edges, input={"left": (5, 2, 1)})
    assert net.inputs == {"left": (5, 2, 1), "right": None}
    with pytest.raises(ParameterError, match=r"input= needs a mapping, .*\['left', 'right'\]"):
        NetGraph(layers, edges, input=(5, 2, 1))


@pytest.mark.parametrize(
    ("word", "hint"),
    [("Input", r"write input=\(5, 2, 3\)"), ("size", "size is a width in PyTorch")],
)
def test_a_wrong_word_in_making_a_net_says_which_is_right(word, hint):
    for kind in (NetChain, NetGraph):
        with pytest.raises(TypeError, match=rf"(?i)Net\w+\(\) has no argument '{word}'.*{hint}"):
            kind({"a": Layer()}, **{word: (5, 2, 3)})
