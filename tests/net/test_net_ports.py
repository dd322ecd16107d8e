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


# Names that two have


@pytest.mark.parametrize(
    ("make", "port", "other"),
    [
        (lambda: NetGraph({"a": A, "b": B}, [("a", NetPort("b"))]), "'b', an output", "layer 'b'"),
        (lambda: NetGraph({"a": A, "b": B}, [(NetPort("a"), "b")]), "'a', an input", "layer 'a'"),
        (lambda: NetChain({"Output": A, "x": B}), "'Output', an output", "layer 'Output'"),
        (lambda: NetChain({"Input": A}), "'Input', an input", "layer 'Input'"),
        (lambda: NetGraph({"a": A}, [("a", NetPort("Input"))]), "'Input', an output", "an input"),
        (
            lambda: NetGraph({"a": A}, [(NetPort("p"), "a", NetPort("p"))]),
            "'p', an output",
            "an input of the net",
        ),
    ],
)
def test_a_name_that_two_have_is_refused_when_the_net_is_built(make, port, other):
    with pytest.raises(ParameterError, match=f"port {port} of the net, .* got that of {other}"):
        make()


def test_names_inside_a_net_are_its_own():
    inner = NetChain({"first": A, "second": B})
    net = NetChain({"first": inner, "last": abs})
    same(net(X, port=NetPort("first", "Input")), X)
    same(net(X, port=NetPort("first", "Output")), B(A(X)))
    same(net(X, port=NetPort("first", "first", "Input")), X)


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


NAMES = {name: getattr(lrnorm, name) for name in dir(lrnorm)} | {"np": np}
BOTH = {"Output1": (5, 2, 1), "Output2": (5, 2, 1)}


@pytest.mark.parametrize(
    ("cut", "layers", "outputs"),
    [
        (lambda net: net.take("f"), "af", {"Output1": (5, 2, 1)}),
        (lambda net: net.drop("h", "h"), "af", {"Output1": (5, 2, 1)}),
        (lambda net: net.take("h"), "ah", {"Output2": (5, 2, 1)}),
        (lambda net: net.drop("f", "f"), "ah", {"Output2": (5, 2, 1)}),
        (lambda net: net[-1:], "h", {"Output2": (5, 2, 1)}),
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
        f"port {port!r} of layer 'total' (total) is connected twice: to port 'Output' of layer "
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
            "port of layer 'total' (total) must be one of ['Input1', 'Input2'], got 'Input3'.",
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
