"""NetChain and NetGraph: edges, ports, evaluation, gradients."""

from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest
from refusals import refused

import lrnorm
from lrnorm import KindError, LRNormError, NetChain, NetGraph, NetPort, ParameterError, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm.net import elementwise

LAYER = Layer(alpha=0.9, beta=0.7, channel_window_size=1)
OTHER = Layer(alpha=0.4, bias=1.3)
DATA = [[[-2]], [[-1]], [[0]], [[1]], [[2]]]

same = np.testing.assert_array_equal


def sample(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 2


def subtract(a, b):
    return a - b


TWO = NetGraph({"sub": subtract}, [(NetPort("left"), "sub"), (NetPort("right"), "sub")])


# Values


def test_a_chain_is_one_layer_after_the_other():
    x = sample(5, 2, 3)
    for net in (NetChain([LAYER, OTHER]), NetChain({"a": LAYER, "b": OTHER})):
        same(net(x), OTHER(LAYER(x)))


def test_the_layer_alone_in_a_net_does_what_it_does_without():
    net = NetChain([Layer(input=(5, 1, 1))])
    y = [-1.414213562373095, -0.674199862463242, 0.0, 0.674199862463242, 1.414213562373095]
    assert np.ravel(net(DATA)) == pytest.approx(y)
    negated = [[[[-value for value in row] for row in rows] for rows in DATA]][0]
    batch = net([DATA, negated])
    assert batch == [net(DATA), net(negated)]
    assert batch[0] == Layer()(DATA)


def test_a_batch_gives_what_each_example_gives():
    batch = sample(4, 5, 2, 3)
    nets = [
        NetChain([LAYER, lambda x: x - x.mean(axis=0), OTHER], input=(5, None, None)),
        NetChain([LAYER, lambda x: x.reshape(-1)]),
        NetChain([LAYER, lambda x: float(x.sum())]),
        NetChain([LAYER, elementwise(np.tanh)]),
    ]
    for net in nets:
        y = net(batch)
        assert len(y) == 4
        for one, x in zip(y, batch, strict=True):
            same(one, net(x))
        for pieces in (1, 3, 4, 9):
            same(net(batch, batch_size=pieces), y)


def test_lists_of_examples_may_differ_in_size():
    net, items = NetChain([LAYER, abs]), [sample(5, 2, 3), sample(4, 1, 1)]
    ys = net(items)
    assert type(ys) is list
    for x, y in zip(items, ys, strict=True):
        same(y, net(x))
    with pytest.raises(
        ShapeError, match=r"port 'Input' \(item 1\) expects .*got rank 1, shape \(2,\)"
    ):
        net([sample(5, 2, 3), sample(2)])


def test_two_inputs_are_fed_by_a_dict():
    left, right = sample(5, 2, 3), sample(5, 2, 3, seed=1)
    same(TWO({"right": right, "left": left}), left - right)
    assert TWO({"left": [1.0], "right": [3.0]}) == [-2.0]
    fed = [{"left": left, "right": right}, {"left": right, "right": left}]
    same(TWO(fed)[1], right - left)
    for wrong, text in [
        (left, "the ports ['left', 'right'] take one value each, got ndarray. Feed a dict"),
        ({"left": left}, "['right'] are missing"),
        ({"left": left, "right": right, "up": 1}, "there is no port 'up'"),
    ]:
        with pytest.raises(ParameterError, match=re.escape(text)):
            TWO(wrong)


def test_batches_must_meet_batches_of_their_length():
    net = NetGraph(
        {"a": LAYER, "b": OTHER, "sub": subtract},
        [(NetPort("left"), "a", "sub"), (NetPort("right"), "b", "sub")],
    )
    left, right = sample(4, 5, 2, 3), sample(4, 5, 2, 3, seed=1)
    same(net({"left": left, "right": right}), LAYER(left) - OTHER(right))
    with pytest.raises(
        ShapeError, match="port 'left' must get one example, as port 'right' does, got a batch"
    ):
        net({"left": left, "right": right[0]})
    with pytest.raises(ShapeError, match=r"one length at all ports, got \{'left': 4, 'right': 3\}"):
        net({"left": left, "right": right[:3]})


def test_edges_feed_a_function_in_their_order():
    layers = {"a": LAYER, "b": OTHER, "sub": subtract}
    x = sample(5, 2, 3)
    difference = LAYER(x) - OTHER(x)
    same(NetGraph(layers, [("a", "sub"), ("b", "sub")])(x), difference)
    same(NetGraph(layers, [(["a", "b"], "sub")])(x), difference)
    same(NetGraph(layers, [("b", "sub"), ("a", "sub")])(x), -difference)
    by_port = [("b", NetPort("sub", "Input2")), ("a", NetPort("sub", "Input1"))]
    same(NetGraph(layers, by_port)(x), difference)


def test_chains_and_lists_in_edges():
    layers = {"a": LAYER, "b": OTHER, "c": abs, "sub": subtract}
    x = sample(5, 2, 3)
    net = NetGraph(layers, [("a", ["b", "c"], "sub", NetPort("result"))])
    same(net(x), OTHER(LAYER(x)) - abs(LAYER(x)))
    assert net.ports == {"Input": (None,) * 3, "result": None}
    same(NetGraph([LAYER, OTHER], [(0, 1)])(x), OTHER(LAYER(x)))


# Ports


def test_three_outputs_are_numbered_and_come_as_a_dict():
    x = sample(5, 2, 3)
    net = NetGraph({"a": LAYER, "b": OTHER, "c": abs, "d": np.square}, [("a", ["b", "c", "d"])])
    y = net(x)
    assert list(y) == ["Output1", "Output2", "Output3"]
    same(y["Output3"], LAYER(x) ** 2)
    assert [len(batch) for batch in net(sample(2, 5, 2, 3)).values()] == [2, 2, 2]
    assert list(net([x, x])[1]) == list(y)


def test_a_muted_output_is_none():
    net = NetGraph({"a": LAYER, "b": OTHER}, [("a", None)])
    x = sample(5, 2, 3)
    assert list(net.outputs) == ["Output"]
    same(net(x), OTHER(x))
    same(net(x, port=NetPort("a")), LAYER(x))
    with refused(ParameterError, "the net", "must have an output"):
        NetGraph({"a": LAYER}, [("a", None)])


def test_a_used_value_may_be_an_output_too():
    net = NetGraph({"a": LAYER, "b": OTHER}, [("a", "b"), ("a", NetPort("middle"))])
    x = sample(5, 2, 3)
    assert list(net(x)) == ["middle", "Output"]
    same(net(x)["middle"], LAYER(x))


def test_unconnected_inputs_of_one_name_are_one_input():
    net = NetGraph({"a": LAYER, "b": OTHER, "sub": subtract}, [(["a", "b"], "sub")])
    assert list(net.inputs) == ["Input"]
    assert list(NetGraph({"sub": subtract}).inputs) == ["Input1", "Input2"]


def test_inner_values_are_read_by_port():
    inner = NetChain({"first": LAYER, "second": OTHER})
    net, x = NetChain({"block": inner, "end": np.square}), sample(5, 2, 3)
    same(net(x, port=NetPort("block")), OTHER(LAYER(x)))
    same(net(x, port="block"), OTHER(LAYER(x)))
    same(net(x, port=NetPort("block", "first")), LAYER(x))
    same(net(x, port=NetPort("end", "Input")), OTHER(LAYER(x)))
    same(net(x, port=NetPort("Input")), x)
    several = net(x, port=[NetPort("block", "first"), NetPort("Output")])
    assert list(several) == [NetPort("block", "first"), NetPort("Output")]
    same(several["Output"], net(x))
    same(several["block", "first"], LAYER(x))
    assert net(DATA, port=NetPort("block", "first")) == LAYER(DATA)
    with pytest.raises(LookupError, match=r"port must be one of \['block'.*got NetPort\('blokc'"):
        net(x, port=NetPort("blokc"))


def test_only_what_is_asked_for_runs():
    ran = []
    net = NetChain({"a": LAYER, "b": lambda x: ran.append(1) or x})
    net(sample(5, 2, 3), port=NetPort("a"))
    assert not ran
    net(sample(5, 2, 3))
    assert ran


def test_values_are_let_go_when_nothing_needs_them():
    class Watched(np.ndarray):
        pass

    alive, counts = [], []

    def step(x):
        gc.collect()
        counts.append(sum(ref() is not None for ref in alive))
        y = (np.asarray(x) + 1).view(Watched)
        alive.append(weakref.ref(y))
        return y

    NetChain([step] * 6)(np.ones((5, 2, 1)))
    assert counts == [0, 1, 1, 1, 1, 1]


def test_ports_of_nets_inside():
    net = NetGraph(
        {"a": LAYER, "b": OTHER, "two": TWO, "end": np.square},
        [("a", NetPort("two", "right")), ("b", NetPort("two", "left")), ("two", "end")],
    )
    x = sample(5, 2, 3)
    same(net(x), (OTHER(x) - LAYER(x)) ** 2)
    fork = NetGraph({"p": LAYER, "q": OTHER})
    picked = NetGraph(
        {"fork": fork, "end": np.square},
        [(NetPort("fork", "Output2"), "end"), (NetPort("fork", "Output1"), None)],
    )
    same(picked(x), OTHER(x) ** 2)
    rule = "one of ['Output1', 'Output2']"
    with refused(
        ParameterError, "port of layer 'fork' (NetGraph)", rule, way_out="NetPort('fork', "
    ):
        NetGraph({"fork": fork, "end": np.square}, [("fork", "end")])
    with refused(ParameterError, "port of layer 'fork' (NetGraph)", rule, "Output3"):
        NetGraph({"fork": fork, "end": np.square}, [(NetPort("fork", "Output3"), "end")])


# What is refused when a net is built

L = Layer()


@pytest.mark.parametrize(
    ("layers", "edges", "kind", "text"),
    [
        ({}, [], ParameterError, "NetGraph needs at least one layer, got none"),
        (LAYER, [], KindError, "takes a list of layers or a mapping"),
        ({"a": 3}, [], KindError, "layer 'a' must be something that can be called, .*got 3"),
        ({"a": Layer}, [], KindError, r"layer 'a' must be a layer, got the class Local.*Layer\("),
        ({"a": L, "b": L}, [("a", "b", "a")], ParameterError, "in a circle: .*'a'.*'b'.*'a'"),
        ({"a": L}, [("a", "a")], ParameterError, "in a circle: layer 'a' .* → layer 'a'"),
        (
            {"norm": L},
            [("norn", "norm")],
            ParameterError,
            r"layer must be one of \['norm'\], got 'norn'\. Did you mean 'norm'",
        ),
        ({"a": L}, [("a", "b")], ParameterError, r"got 'b'\. .*written NetPort\('b'\)"),
        (
            {"a": L, "b": L, "c": L},
            [("a", "c"), ("b", "c")],
            ParameterError,
            "port 'Input' of layer 'c' .*twice: to port 'Output' of layer 'a' .*of layer 'b'",
        ),
        (
            {"a": L, "b": L},
            [("a", NetPort("y")), ("b", NetPort("y"))],
            ParameterError,
            "port 'y' of the net is connected twice: .*layer 'a' .*layer 'b'",
        ),
        (
            {"a": L, "b": abs},
            [("a", "b"), ("a", "b")],
            ParameterError,
            "port 'Input' of layer 'b'.*twice",
        ),
        (
            {"a": L, "sub": subtract},
            [("a", "sub")],
            ParameterError,
            "layer 'sub' .*needs 2 inputs, and is connected to port 'Output' of layer 'a'",
        ),
        ({"a": L}, [(NetPort("x"), NetPort("y"))], ParameterError, "leads straight to port 'y'"),
        ({"a": L}, ["ab"], KindError, "an edge must be .*got 'ab'"),
        ({"a": L}, [(L, "a")], KindError, "must connect names of layers and NetPorts"),
        ({"a": L}, "ab", KindError, "edges must be a list"),
    ],
)
def test_refused_when_it_is_built(layers, edges, kind, text):
    with pytest.raises(kind, match=text) as caught:
        NetGraph(layers, edges)
    assert isinstance(caught.value, LRNormError)


def test_an_empty_chain_is_refused():
    for none in ([], {}):
        with pytest.raises(ParameterError, match="NetChain needs at least one layer"):
            NetChain(none)


# Options


def test_options_pass_down():
    net, x = NetChain([LAYER, OTHER]), sample(4, 5, 2, 3).astype(np.float32)
    by_hand = OTHER(LAYER(x.astype(np.float64)))
    assert net(x, working_precision="Real64").dtype == np.float64
    same(net(x, working_precision="Real64"), by_hand)
    same(net(x, working_precision="Mixed"), net(x).astype(np.float16))
    assert lrnorm.options(net) == lrnorm.options(LAYER)
    with pytest.raises(RuntimeError, match="target_device="):
        net(x, target_device="GPU")
    with pytest.raises(ParameterError, match="batch_size must be a positive integer"):
        net(x, batch_size=0)
    with pytest.raises(KindError, match="Write batch_size=3"):
        net(x, BatchSize=3)
    with pytest.raises(KindError, match=r"fixed when the net is made: net\.replace\(input="):
        net(x, input=(5, 2, 3))


def test_errors_tell_the_layer():
    net = NetChain({"a": abs, "norm": LAYER})
    with pytest.raises(KindError, match=r"layer 'norm': port 'Input' must hold .*object"):
        net(np.full((5, 2, 3), 1, dtype=object))
    with pytest.raises(ZeroDivisionError) as caught:
        NetChain({"bad": lambda x: 1 // 0})(1)
    assert caught.value.__notes__ == ["This arose in layer 'bad' (function) of a net."]


# Gradients

TANH = elementwise(np.tanh, vjp=lambda x, g: g * (1 - np.tanh(x) ** 2))


class Product:
    """A layer of two inputs with a gradient of its own."""

    def __call__(self, a, b):
        return a * b

    def vjp(self, a, b, g):
        return g * b, g * a


def slope(net, x, grad, along):
    """The derivative of sum(grad * net(x)) along a direction, by differences."""
    step = 1e-6
    ahead, behind = net(x + step * along), net(x - step * along)
    return np.sum(grad * (ahead - behind)) / (2 * step)


@pytest.mark.parametrize(
    "net",
    [
        NetChain([LAYER, TANH, OTHER]),
        NetGraph({"a": LAYER, "b": OTHER, "by": Product()}, [(["a", "b"], "by")]),
        NetChain(
            [NetGraph({"a": LAYER, "b": TANH, "by": Product()}, [("a", "b", "by"), ("a", "by")])]
        ),
    ],
)
@pytest.mark.parametrize("shape", [(5, 2, 3), (4, 5, 2, 3)])
def test_gradients_agree_with_differences(net, shape):
    x, grad, along = (sample(*shape, seed=seed) for seed in range(3))
    dx = net.vjp(x, grad)
    assert (dx.shape, dx.dtype) == (x.shape, x.dtype)
    assert np.sum(dx * along) == pytest.approx(slope(net, x, grad, along), rel=1e-6)
    assert np.sum(net.vjp(x) * along) == pytest.approx(slope(net, x, 1, along), rel=1e-6)


def test_gradients_take_what_a_call_takes():
    net, x, grad = NetChain([LAYER, TANH]), sample(5, 2, 3), sample(5, 2, 3, seed=1)
    same(net.vjp({"Input": x}, {"Output": grad}), net.vjp(x, grad))
    assert net.vjp(x.tolist(), grad.tolist()) == net.vjp(x, grad).tolist()
    same(net.vjp([x, -x], [grad, grad])[1], net.vjp(-x, grad))


def test_gradients_of_several_ports():
    net = NetGraph(
        {"a": LAYER, "by": Product(), "tanh": TANH},
        [(NetPort("p"), "a", "by"), (NetPort("q"), "by"), ("a", "tanh")],
    )
    p, q = sample(5, 2, 3), sample(5, 2, 3, seed=1)
    found = net.vjp({"p": p, "q": q}, {"Output1": q})
    both = LAYER.vjp(p, q * q + 1 - np.tanh(LAYER(p)) ** 2)
    np.testing.assert_allclose(found["p"], both, rtol=1e-13)
    same(found["q"], LAYER(p) * q)


def test_a_function_without_a_gradient_is_named():
    with pytest.raises(KindError, match=r"layer 'sub': subtract has no gradient: .*elementwise"):
        TWO.vjp({"left": sample(2), "right": sample(2)})
    with pytest.raises(KindError, match=r"layer 0: elementwise\(np.cbrt\) has no gradient"):
        NetChain([elementwise(np.cbrt)]).vjp(sample(5, 2, 3))


def test_the_gradient_fed_must_fit_the_output():
    net, x = NetChain([LAYER]), sample(5, 2, 3)
    with pytest.raises(
        ShapeError, match=r"gradient at port 'Output' .*\(5, 2, 3\), got \(4, 2, 3\)"
    ):
        net.vjp(x, x[1:])
