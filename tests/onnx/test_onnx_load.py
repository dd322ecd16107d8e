"""ONNX models loaded as nets: what runs where, what comes out."""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import weakref

import numpy as np
import pytest

import lrnorm
from lrnorm import KindError, NetChain, NetGraph, ShapeError
from lrnorm import LocalResponseNormalizationLayer as Layer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from onnx_models import (  # noqa: E402
    WEIGHT,
    WORDS,
    close,
    deep,
    graph_of,
    lrn,
    model_of,
    norm,
    run,
    sample,
    tensor,
    value,
)

load = lrnorm.onnx.load
node = helper.make_node


def test_a_model_gives_what_onnx_runtime_gives():
    net, x = load(deep()), sample(3, 7, 4, 5)
    close(net(x), run(deep(), x))
    close(net(x[0]), run(deep(), x)[0])
    assert net(x).dtype == np.float32


def test_the_net_has_the_names_of_the_model():
    net = load(deep())
    assert isinstance(net, NetGraph)
    assert net.ports == {"x": (7, None, None), "y": (7,)}
    assert list(net.layers) == ["segment1", "one", "segment2", "two", "segment3"]
    assert {name: net[name].spec for name in ("one", "two")} == lrnorm.onnx.specs(deep())
    assert all(isinstance(net[name], Layer) for name in ("one", "two"))


def test_inner_values_and_parts_of_the_net():
    net, x = load(deep()), sample(3, 7, 4, 5)
    a = net(x, port=lrnorm.NetPort("segment1", "a"))
    close(net(x, port="one"), norm(a))
    close(net.take("one")(x), norm(a))
    assert net(x[0], port="one").shape == (7, 4, 5)
    other = net.replace("one", net["one"].replace(alpha=0.0, bias=1.0))
    close(other(x, port="one"), a)
    close(NetChain([net, np.negative])(x), -net(x))


def test_sizes_are_inferred_through_segments():
    net = load(deep()).replace(input=(7, 4, 5))
    assert net.inputs == {"x": (7, 4, 5)}
    table = str(net)
    assert table.count("7 × 4 × 5") == 5
    with pytest.raises(ShapeError, match=r"must have the shape of .* \(6, None, None\)"):
        load(deep()).replace(input=(6, None, None))
    with pytest.raises(
        ShapeError,
        match=re.escape(
            "port 'x' expects an array of rank 3, (channels, height, width) = (7, None, None)"
        ),
    ):
        load(deep())(sample(6, 4, 5))


@pytest.mark.parametrize("kind", ["path", "bytes", "text"])
def test_path_and_bytes(kind, tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(deep(), path)
    source = {"path": path, "bytes": path.read_bytes(), "text": str(path)}[kind]
    assert load(source) == load(deep())


# Where an LRN may stand


@pytest.mark.parametrize(
    ("nodes", "layers", "values"),
    [
        ([lrn("x", "y", name="n", **WORDS)], ["n"], lambda x: norm(x)),
        (
            [lrn("x", "a", name="n", **WORDS), lrn("a", "y", name="m", **WORDS)],
            ["n", "m"],
            lambda x: norm(norm(x)),
        ),
        (
            [lrn("x", "a", name="n", **WORDS), node("Neg", ["a"], ["y"])],
            ["n", "segment1"],
            lambda x: -norm(x),
        ),
        (
            [node("Neg", ["x"], ["a"]), lrn("a", "y", name="n", **WORDS)],
            ["segment1", "n"],
            lambda x: norm(-x),
        ),
        ([node("Neg", ["x"], ["y"])], ["segment1"], lambda x: -x),
        ([node("Identity", ["x"], ["y"])], ["segment1"], lambda x: x),
    ],
    ids=["alone", "two", "first", "last", "none", "identity"],
)
def test_lrn_anywhere(nodes, layers, values):
    net, x = load(model_of(nodes)), sample(2, 7, 5, 4)
    assert list(net.layers) == layers
    close(net(x), values(x))
    close(net(x[1]), values(x)[1])


def test_an_lrn_that_bears_the_name_of_a_port():
    net, x = load(model_of([lrn("x", "y", **WORDS)])), sample(2, 7, 5, 4)
    assert (list(net.layers), list(net.ports)) == (["y (2)"], ["x", "y"])
    close(net(x), norm(x))


def test_branches_across_the_cut_and_several_ports():
    nodes = [
        node("Add", ["p", "q"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        lrn("q", "c", name="m", **WORDS),
        node("Sub", ["b", "p"], ["d"]),
        lrn("d", "e", name="o", **WORDS),
        node("Mul", ["e", "a"], ["f"]),
        node("Mul", ["c", "p"], ["g"]),
    ]
    shape = ["n", 7, 3, 2]
    names = ("g", "a", "b", "f", "q")  # an inner value, an LRN, an input
    model = graph_of(
        nodes, [value("q", shape), value("p", shape)], [value(n, shape) for n in names]
    )
    net, p, q = load(model), sample(2, 7, 3, 2), sample(2, 7, 3, 2)[::-1]
    assert list(net.layers) == ["segment1", "n", "m", "segment2", "o", "segment3"]
    assert list(net.inputs) == ["q", "p"]
    ports = [*names[:-1], "q/given"]  # an output that is also an input has another name
    assert list(net.outputs) == ports
    a, e = p + q, norm(norm(p + q) - p)
    expected = {"g": norm(q) * p, "a": a, "b": norm(a), "f": e * a, "q": q}
    found = net({"p": p, "q": q})
    alone = net({"p": p[1], "q": q[1]})
    for name, port in zip(names, ports, strict=True):
        close(found[port], expected[name])
        close(alone[port], expected[name][1])


def test_what_nobody_reads_is_left_out():
    nodes = [lrn("x", "a", name="dead", **WORDS), node("Neg", ["x"], ["y"])]
    model = graph_of(nodes, [value("x", [1, 7]), value("z", [1])], [value("y", [1, 7])])
    net = load(model)
    assert list(net.layers) == ["segment1"]
    assert net.inputs == {"x": (7,), "z": ()}
    assert net({"x": sample(7), "z": np.float32(1)}).shape == (7,)


def test_constants_are_in_every_segment_that_needs_them():
    shape = node("Constant", [], ["s"], value_ints=[0, 7, -1])
    nodes = [
        shape,
        node("Add", ["half", "half"], ["one"]),
        node("Mul", ["x", "one"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        node("Mul", ["b", "one"], ["c"]),
        node("Reshape", ["c", "s"], ["y"]),
    ]
    out = [value("y", ["n", 7, 6]), value("one", [1])]
    model = graph_of(nodes, [value("x", ["n", 7, 3, 2])], out, [tensor(np.float32([0.5]), "half")])
    net, x = load(model), sample(2, 7, 3, 2)
    kinds = [[n.op_type for n in net[s].graph().node] for s in ("segment1", "segment2")]
    assert kinds == [["Add", "Mul"], ["Constant", "Add", "Mul", "Reshape"]]
    found = net(x[0])
    close(found["y"], norm(x)[0].reshape(7, 6))
    assert found["one"] == [1]
    assert lrnorm.information(net, "ArraysDimensions") == {("segment1", "half"): (1,)}


def test_what_is_random_is_computed_once():
    nodes = [
        node("Neg", ["x"], ["m"]),
        node("RandomNormal", [], ["r"], shape=[1, 7, 3, 2]),
        node("Sub", ["r", "m"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        node("Add", ["b", "r"], ["y"]),
    ]
    shape = [1, 7, 3, 2]
    net = load(graph_of(nodes, [value("x", shape)], [value(n, shape) for n in ("a", "y", "r")]))
    found = net(sample(7, 3, 2))
    close(found["y"], norm(found["a"], axis=0) + found["r"])


def test_an_lrn_of_a_constant():
    fixed = sample(1, 7, 2, 2)
    nodes = [lrn("k", "a", name="n", **WORDS), node("Add", ["x", "a"], ["y"])]
    for first in ("n", 1):
        shape = [first, 7, 2, 2]
        model = graph_of(nodes, [value("x", shape)], [value("y", shape)], [tensor(fixed, "k")])
        x = sample(3, 7, 2, 2)
        close(load(model)(x), x + norm(fixed))
        close(load(model)(x[0]), x[0] + norm(fixed)[0])


# Batches


@pytest.mark.parametrize("first", ["n", None, 1])
def test_a_batch_whatever_the_model_says_of_it(first):
    model = deep(shape=[first, 7, 3, 2])
    net, x = load(model), sample(4, 7, 3, 2)
    assert net.ports == {"x": (7, 3, 2), "y": (7,)}
    expected = run(deep(), x)
    close(net(x), expected)
    close(net(x[2]), expected[2])
    close(net(list(x))[1], expected[1])
    close(net(x, batch_size=3), expected)
    close(net(x.tolist()), expected)
    assert net(x[:0]).shape == (0, 7)


def test_a_batch_of_a_fixed_length():
    net, x = load(deep(shape=[4, 7, 3, 2])), sample(4, 7, 3, 2)
    close(net(x), run(deep(), x))
    for wrong, got in ((x[:3], "a batch of 3"), (x[0], "one example")):
        text = f"layer 'segment1': the model is fixed to batches of 4, got {got}. Feed"
        with pytest.raises(ShapeError, match=text):
            net(wrong)


def test_sizes_that_cross_the_cut():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Neg", ["x"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        node("Flatten", ["b"], ["c"]),
        node("Reshape", ["c", "s"], ["y"]),
    ]
    for first in ("n", 1):
        shape = [first, 7, "h", 2]
        model = graph_of(nodes, [value("x", shape)], [value("y", shape)])
        x = sample(3, 7, 5, 2)
        close(load(model)(x), norm(-x))
        close(load(model)(x[0]), norm(-x)[0])


def test_one_number_for_all_is_one_for_each():
    nodes = [lrn("x", "a", name="n", **WORDS), node("ReduceMean", ["a"], ["y"], keepdims=0)]
    model = graph_of(nodes, [value("x", ["n", 7, 3, 2])], [value("y", [])])
    x = sample(3, 7, 3, 2)
    close(load(model)(x), norm(x).mean(axis=(1, 2, 3)))
    assert load(model)(x[0]).shape == ()


def test_a_batch_that_only_the_end_of_the_model_fixes_to_one():
    nodes = [lrn("x", "a", name="n", **WORDS), node("Reshape", ["a", "s"], ["y"])]
    shape = tensor(np.array([1, 42]), "s")
    model = graph_of(nodes, [value("x", ["n", 7, 3, 2])], [value("y", [1, 42])], [shape])
    x = sample(3, 7, 3, 2)
    close(load(model)(x), norm(x).reshape(3, 42))
    close(load(model)(x[0]), norm(x)[0].ravel())


def test_inputs_without_a_batch_axis():
    nodes = [node("Mul", ["x", "k"], ["a"]), lrn("a", "y", name="n", **WORDS)]
    inputs = [value("x", ["n", 7, 3, 2]), value("k", [])]
    net, x = load(graph_of(nodes, inputs, [value("y", ["n", 7, 3, 2])])), sample(2, 7, 3, 2)
    assert net.inputs == {"x": (7, 3, 2), "k": ()}
    close(net({"x": x[0], "k": np.float32(2)}), norm(2 * x[:1])[0])
    each = np.float32([2, 3])
    close(net({"x": x, "k": each}), norm(each[:, None, None, None] * x))


# Values


def test_large_numbers_stay_numbers():
    x = sample(2, 7, 5, 4) * np.float32(1e20)
    found = load(model_of([lrn("x", "y", name="n", **WORDS)]))(x)
    np.testing.assert_allclose(found, norm(x.astype(float)), rtol=1e-6)


def test_arrays_of_other_types_are_converted_or_refused():
    net, x = load(deep()), sample(2, 7, 4, 5)
    assert net(x.astype(">f8")).dtype == np.float32
    close(net(x.astype(">f8")[:, :, ::-1]), net(np.ascontiguousarray(x[:, :, ::-1])))
    assert net(np.ones((7, 2, 2), bool)).dtype == np.float32
    model = graph_of(
        [node("Neg", ["x"], ["y"])],
        [value("x", ["n", 3], TensorProto.INT64)],
        [value("y", ["n", 3], TensorProto.INT64)],
    )
    assert load(model)(np.int32([1, 2, 3])).tolist() == [-1, -2, -3]
    text = re.escape("layer 'segment1': 'x' takes int64, got float32. Convert it first")
    with pytest.raises(KindError, match=text):
        load(model)(sample(3))


@pytest.mark.parametrize(("name", "dtype"), [("Real64", "f8"), ("Real16", "f2"), ("Mixed", "f2")])
def test_segments_compute_in_their_own_type_whatever_is_asked(name, dtype):
    net, x = load(deep()), sample(2, 7, 4, 5)
    y = net(x, working_precision=name)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, net(x), atol=1e-3)


def test_tensors_in_tensors_out():
    torch = pytest.importorskip("torch")
    net, x = load(deep()), sample(2, 7, 4, 5)
    y = net(torch.tensor(x))
    assert isinstance(y, torch.Tensor)
    close(y.numpy(), net(x))
    with pytest.raises(KindError, match="ONNX Runtime computes no gradients"):
        net(torch.tensor(x, requires_grad=True))
    chain = NetChain([torch.nn.Conv2d(3, 7, 1), net])
    assert chain(sample(3, 4, 5)).shape == (7,)


def test_no_gradient_through_segments():
    with pytest.raises(KindError, match="layer 'segment3': ONNX Runtime computes no gradients"):
        load(deep()).vjp(sample(2, 7, 4, 5))


# A net like any other


def test_a_loaded_net_is_a_value():
    net, x = load(deep()), sample(2, 7, 4, 5)
    twin = pickle.loads(pickle.dumps(net))
    assert twin == net
    assert hash(twin) == hash(net)
    assert (twin(x) == net(x)).all()
    changed = deep()
    changed.graph.initializer[0].CopyFrom(tensor(WEIGHT + 1, "w"))
    assert load(changed) != net
    assert lrnorm.information(load(changed), "TopologyHash") == lrnorm.information(
        net, "TopologyHash"
    )
    changed.graph.node[0].op_type = "ConvTranspose"
    assert lrnorm.information(load(changed), "TopologyHash") != lrnorm.information(
        net, "TopologyHash"
    )
    assert repr(net).startswith("NetGraph({'segment1': <OnnxSegment: Conv>, 'one': Local")


def test_information():
    net = load(deep())
    assert lrnorm.information(net, "LayerTypeCounts") == {
        "OnnxSegment": 3,
        "LocalResponseNormalizationLayer": 2,
    }
    arrays = lrnorm.information(net, "Arrays")
    assert list(arrays) == [("segment1", "w")]  # though segment2 has it too
    assert (arrays["segment1", "w"] == WEIGHT).all()
    assert lrnorm.information(net, ["ArraysCount", "SharedArraysCount"]) == [1, 0]
    assert (net.extract("segment1", "w") == WEIGHT).all()
    for name in ("SummaryGraphic", "FullSummaryGraphic"):
        assert ">segment2<" in lrnorm.information(net, name).svg


def test_values_are_let_go():
    nodes = [node("Neg", ["x"], ["a"]), lrn("a", "b", name="n", **WORDS)]
    nodes += [node("Neg", ["b"], ["c"]), node("Neg", ["c"], ["y"])]
    net = load(model_of(nodes))
    seen = []

    class Watch:
        def __call__(self, x):
            gc.collect()
            seen.append([ref() is None for ref in refs])
            y = x + 1
            refs.append(weakref.ref(y))
            return y

    refs = []
    NetChain([Watch(), net, Watch(), np.negative, Watch()])(sample(7, 5, 4))
    assert seen == [[], [True], [True, True]]


def test_a_child_after_a_fork_has_sessions_of_its_own():
    net, x = load(deep(), intra_op_num_threads=2), sample(2, 7, 4, 5)
    expected = net(x)
    child = os.fork()
    if not child:
        signal.alarm(30)  # it would wait forever for threads that are not there
        os._exit(0 if (net(x) == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
