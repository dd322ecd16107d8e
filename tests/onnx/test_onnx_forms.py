"""One LRN written seventeen ways: found by what it computes, and what is no LRN is left."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

import lrnorm
from lrnorm import LRNSpec, MissingDependencyError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import checker, helper, numpy_helper
from onnx_models import agree, kinds, value

C, SIZE = 7, 3
SPEC = LRNSpec(0.9 / SIZE, 0.75, 1.5, 1, 1)
BAND = (abs(np.arange(C)[:, None] - np.arange(C)) <= 1).astype(np.float32)[:, :, None, None]
LARGEST = np.iinfo(np.int64).max


class Graph:
    """Writes nodes one after another; every method returns the name of its result."""

    def __init__(self):
        self.nodes, self.tensors = [], []

    def node(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        inputs = [i if isinstance(i, str) else self.number(i) for i in inputs]
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def number(self, array):
        kind = np.float32 if np.asarray(array).dtype.kind == "f" else np.int64
        self.tensors.append(
            numpy_helper.from_array(np.asarray(array, kind), f"c{len(self.tensors)}")
        )
        return self.tensors[-1].name

    def square(self, x):
        return self.node("Mul", x, x)

    def energy(self, sums, scale=SPEC.scale):
        return self.node("Add", self.node("Mul", sums, scale), SPEC.bias)

    def slices(self, x, axis):
        ends = [0] * 8
        ends[axis] = ends[axis + 4] = 1
        padded = self.node("Pad", x, ends)
        parts = [self.node("Slice", padded, [i], [i + C], [axis]) for i in range(SIZE)]
        return self.node("Add", self.node("Add", parts[0], parts[1]), parts[2])

    def model(self, result, sizes=("n", C, 5, 4)):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "g",
            [value("x", sizes)],
            [value("y", list("abcd"))],
            initializer=self.tensors,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def pool_and_pad(g):
    planes = g.node("Pad", g.node("Unsqueeze", g.square("x"), [1]), [0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
    pool = g.node("AveragePool", planes, kernel_shape=[SIZE, 1, 1])
    return g.node("Div", "x", g.node("Pow", g.energy(g.node("Squeeze", pool, [1]), 0.9), 0.75))


def pool_that_pads(g):
    planes = g.node("Unsqueeze", g.node("Pow", "x", 2.0), [1])
    ends = {"kernel_shape": [SIZE, 1, 1], "pads": [1, 0, 0, 1, 0, 0], "count_include_pad": 1}
    pool = g.node("Squeeze", g.node("AveragePool", planes, **ends), [1])
    return g.node("Div", "x", g.node("Pow", g.energy(pool, 0.9), 0.75))


def band(g):
    bias = np.full(C, SPEC.bias, np.float32)
    energy = g.node("Conv", g.square("x"), BAND * np.float32(SPEC.scale), bias)
    return g.node("Div", "x", g.node("Pow", energy, 0.75))


def band_and_roots(g):
    scaled = g.node("Mul", "x", np.float32(np.sqrt(SPEC.scale)))
    energy = g.node("Conv", g.square(scaled), BAND, np.full(C, SPEC.bias, np.float32))
    root = g.node("Sqrt", energy)
    return g.node("Div", "x", g.node("Mul", root, g.node("Sqrt", root)))


def slices(g):
    return g.node("Div", "x", g.node("Pow", g.energy(g.slices(g.square("x"), 1)), 0.75))


def slices_then_squares(g):
    padded = g.node("Pad", "x", [0, 1, 0, 0, 0, 1, 0, 0])
    parts = [g.square(g.node("Slice", padded, [i], [i + C], [1])) for i in range(SIZE)]
    sums = g.node("Sum", *parts)
    return g.node("Div", "x", g.node("Pow", g.energy(sums), 0.75))


def channels_last(g):
    last = g.node("Transpose", "x", perm=[0, 2, 3, 1])
    power = g.node("Pow", g.energy(g.slices(g.square(last), 3)), 0.75)
    return g.node("Transpose", g.node("Div", last, power), perm=[0, 3, 1, 2])


def transposed_on_the_way(g):
    """As tf2onnx writes it: the sums of (n, c, h, w), the quotient of (n, h, w, c)."""
    last = [0, 2, 3, 1]
    energy = g.node("Transpose", g.energy(g.slices(g.square("x"), 1)), perm=last)
    y = g.node("Div", g.node("Transpose", "x", perm=last), g.node("Pow", energy, 0.75))
    return g.node("Transpose", y, perm=[0, 3, 1, 2])


def negative_exponent(g):
    return g.node("Mul", g.node("Pow", g.energy(g.slices(g.square("x"), 1)), -0.75), "x")


def reciprocal(g):
    power = g.node("Pow", g.energy(g.slices(g.square("x"), 1)), 0.75)
    return g.node("Mul", "x", g.node("Reciprocal", power))


def two_quotients(g):
    root = g.node("Sqrt", g.energy(g.slices(g.square("x"), 1)))
    return g.node("Div", g.node("Div", "x", root), g.node("Sqrt", root))


def whole_axis_by_mean(g):
    mean = g.node("ReduceMean", g.square("x"), axes=[1])
    return g.node("Div", "x", g.node("Sqrt", g.node("Add", mean, 1e-3)))


def whole_axis_by_sum(g):
    sums = g.node("ReduceSumSquare", "x", axes=[1])
    return g.node("Div", "x", g.node("Sqrt", g.energy(sums)))


def batch_norm(g):
    mean = g.node("ReduceMean", "x", axes=[0, 2, 3])
    centred = g.node("Sub", "x", mean)
    variance = g.node("ReduceMean", g.square(centred), axes=[0, 2, 3])
    return g.node("Div", centred, g.node("Sqrt", g.node("Add", variance, 1e-3)))


def layer_norm(g):
    centred = g.node("Sub", "x", g.node("ReduceMean", "x", axes=[1]))
    variance = g.node("ReduceMean", g.node("Pow", centred, 2.0), axes=[1])
    return g.node("Div", centred, g.node("Sqrt", g.node("Add", variance, 1e-3)))


def softmax(g):
    power = g.node("Exp", "x")
    return g.node("Div", power, g.node("ReduceSum", power, [1]))


def l2_pooling(g):
    pool = g.node("AveragePool", g.square("x"), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return g.node("Sqrt", pool)


FUSED = (
    *(pool_and_pad, pool_that_pads, band, band_and_roots, slices, slices_then_squares),
    *(channels_last, transposed_on_the_way, negative_exponent, reciprocal, two_quotients),
)
REPORTED = {
    whole_axis_by_mean: LRNSpec(1 / C, 0.5, 1e-3, None, None),
    whole_axis_by_sum: LRNSpec(SPEC.scale, 0.5, SPEC.bias, None, None),
}
LEFT = (batch_norm, layer_norm, softmax, l2_pooling)


def written(form, **more):
    graph = Graph()
    model = graph.model(form(graph), **more)
    checker.check_model(model)
    return model


@pytest.mark.parametrize("form", FUSED)
def test_one_node_in_place_of_many(form):
    model = written(form)
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec.isclose(SPEC)
    assert chain.why_not is None
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN"]
    assert not fused.graph.initializer
    agree(model, fused, (3, C, 5, 4))


@pytest.mark.parametrize("form", REPORTED)
def test_windows_of_the_whole_axis_are_reported(form):
    model = written(form)
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec.isclose(REPORTED[form])
    assert chain.why_not == "its window is the whole axis, which an LRN node cannot express"
    assert lrnorm.onnx.fuse(model).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("form", LEFT)
def test_what_is_no_lrn_is_left(form):
    model = written(form)
    assert lrnorm.onnx.chains(model) == {}
    assert lrnorm.onnx.fuse(model).SerializeToString() == model.SerializeToString()


def test_the_table_has_seventeen():
    assert (len(FUSED) + len(REPORTED), len(LEFT)) == (13, 4)


@pytest.mark.parametrize("sizes", [("n", C, "h", "w"), (1, C, 60, 900), (2, C, 5, 4)])
def test_sizes_known_and_unknown(sizes):
    model = written(channels_last, sizes=sizes)
    assert kinds(lrnorm.onnx.fuse(model)) == ["LRN"]


def test_a_quotient_with_other_axes_than_its_input_gets_a_transpose():
    graph = Graph()
    transposed_on_the_way(graph)
    graph.nodes.pop()
    model = graph.model(graph.nodes[-1].output[0], sizes=(3, C, 5, 4))
    [chain] = lrnorm.onnx.chains(model).values()
    assert (chain.axis, chain.shape) == (1, (3, C, 5, 4))
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["LRN", "Transpose"]
    agree(model, fused, (3, C, 5, 4))


def test_channels_last_that_nothing_undoes_get_transposes():
    graph = Graph()
    power = graph.node("Pow", graph.energy(graph.slices(graph.square("x"), 3)), 0.75)
    model = graph.model(graph.node("Div", "x", power), sizes=("n", 5, 4, C))
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.axis == 3
    fused = lrnorm.onnx.fuse(model)
    assert kinds(fused) == ["Transpose", "LRN", "Transpose"]
    agree(model, fused, (3, 5, 4, C))


@pytest.mark.parametrize(
    ("scale", "power", "reason"),
    [
        (-0.01, ("Div", 0.75), "onnxruntime takes alpha"),
        (0.3, ("Mul", 0.75), "onnxruntime takes beta"),
    ],
)
def test_what_onnx_runtime_refuses_stays(scale, power, reason, caplog):
    graph = Graph()
    energy = graph.energy(graph.slices(graph.square("x"), 1), scale)
    kind, beta = power
    model = graph.model(graph.node(kind, "x", graph.node("Pow", energy, beta)))
    [chain] = lrnorm.onnx.chains(model).values()
    assert "ONNX Runtime refuses the LRN node on the CPU" in chain.why_not
    assert reason in chain.why_not
    with caplog.at_level(logging.WARNING, "lrnorm.onnx"):
        assert lrnorm.onnx.fuse(model).SerializeToString() == model.SerializeToString()
    assert "stays as it is" in caplog.text


def test_a_bias_that_is_subtracted():
    graph = Graph()
    scaled = graph.node("Mul", graph.slices(graph.square("x"), 1), 0.3)
    power = graph.node("Pow", graph.node("Sub", scaled, 1.5), 0.75)
    model = graph.model(graph.node("Div", "x", power))
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec.isclose(LRNSpec(0.3, 0.75, -1.5, 1, 1), rel_tol=1e-5)


def test_alpha_zero_stays():
    graph = Graph()
    energy = graph.energy(graph.slices(graph.square("x"), 1), 0.0)
    model = graph.model(graph.node("Div", "x", graph.node("Pow", energy, 0.75)))
    [chain] = lrnorm.onnx.chains(model).values()
    assert chain.spec.scale == 0
    assert "alpha or beta is 0" in chain.why_not


def test_fuse_says_that_one_node_is_slow(caplog):
    with caplog.at_level(logging.INFO, "lrnorm.onnx"):
        lrnorm.onnx.fuse(written(slices))
    assert "ONNX Runtime's CPU computes an LRN node slowly" in caplog.text


def test_equal_subgraphs_are_measured_once(monkeypatch):
    from lrnorm.onnx import measured

    calls = []
    plain = measured.identify
    monkeypatch.setattr(measured, "identify", lambda *a, **k: calls.append(1) or plain(*a, **k))
    graph = Graph()
    x = "x"
    for _ in range(4):
        x = graph.node("Relu", x)
        x = graph.node(
            "Div", x, graph.node("Pow", graph.energy(graph.slices(graph.square(x), 1)), 0.75)
        )
    assert len(lrnorm.onnx.chains(graph.model(x))) == 4
    assert len(calls) == 1


def test_without_onnx_runtime_there_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package onnxruntime\. Run"):
        lrnorm.onnx.chains(written(slices))
