"""What ONNX models that are loaded may be made of, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import lrnorm
from lrnorm import FileError, KindError, LRNSpec, ParameterError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from onnx_models import (  # noqa: E402
    WORDS,
    WORDS_SPEC,
    call,
    close,
    deep,
    function,
    graph_of,
    loop,
    lrn,
    model_of,
    norm,
    run,
    sample,
    tensor,
    value,
    with_branches,
)

load = lrnorm.onnx.load
node = helper.make_node


def random_model(random):
    """A graph of nodes that each read any values before them, with constants among these."""
    shape = ["n", 5, 3, 2]
    values, nodes, kinds = ["p", "q", "k"], [], ["Add", "Sub", "Tanh", "LRN", "LRN", "Constant"]
    for i in range(random.integers(4, 14)):
        kind, read = random.choice(kinds), [str(v) for v in random.choice(values, 2)]
        if kind == "LRN":
            nodes.append(lrn(read[0], f"v{i}", name=f"n{i}", **WORDS))
        elif kind == "Constant":
            nodes.append(node("Add", ["k", "k"], [f"v{i}"]))
        else:
            nodes.append(node(kind, read[: 1 + (kind != "Tanh")], [f"v{i}"]))
        values.append(f"v{i}")
    weight = tensor(random.normal(size=(1, 5, 1, 1)).astype(np.float32), "k")
    given = list(dict.fromkeys(["sum", *(str(v) for v in random.choice(values[3:], 2))]))
    nodes.append(node("Sum", ["p", "q", *values[3:]], ["sum"]))
    inputs = [value(name, shape) for name in ("p", "q")]
    return graph_of(nodes, inputs, [value(name, None) for name in given], [weight])


@pytest.mark.parametrize("seed", range(25))
def test_any_graph_is_cut_right(seed):
    model = random_model(np.random.default_rng(seed))
    feed = {name: sample(3, 5, 3, 2) * k for name, k in (("p", 1), ("q", -0.5))}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    net = load(model)
    assert list(net.outputs) == names
    found = net(feed)
    for name, expected in zip(names, session.run(names, feed), strict=True):
        one = found[name] if len(names) > 1 else found
        close(one, np.broadcast_to(expected, one.shape))
    alone = net({name: array[1] for name, array in feed.items()})
    close(alone["sum"] if len(names) > 1 else alone, (found["sum"] if len(names) > 1 else found)[1])


def test_initializers_that_are_inputs_too():
    model = deep(ir_version=3)
    model.graph.input.append(value("w", [7, 7, 1, 1]))
    net, x = load(model), sample(2, 7, 4, 5)
    assert list(net.inputs) == ["x"]
    close(net(x), run(deep(), x))


def test_sparse_initializers():
    places = np.flatnonzero(np.eye(7))
    dense = tensor(np.ones(7, np.float32), "w")
    sparse = helper.make_sparse_tensor(dense, tensor(places, ""), [7, 7])
    nodes = [lrn("x", "a", name="n", **WORDS), node("MatMul", ["w", "a"], ["y"])]
    model = graph_of(nodes, [value("x", ["n", 7, 7, 2])], [value("y", ["n", 7, 7, 2])])
    model.graph.sparse_initializer.append(sparse)
    close(load(model)(sample(2, 7, 7, 2)), norm(sample(2, 7, 7, 2)))


def external(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(deep(), path, save_as_external_data=True, size_threshold=0, location="w.bin")
    return path


def test_external_data(tmp_path):
    path, x = external(tmp_path), sample(2, 7, 4, 5)
    assert (tmp_path / "w.bin").exists()
    close(load(path)(x), load(deep())(x))
    with pytest.raises(FileError, match="the model keeps data in other files"):
        load(path.read_bytes())
    (tmp_path / "w.bin").unlink()
    with pytest.raises(FileError, match=r"external data of .*m\.onnx cannot be read"):
        load(path)


def test_captured_values_are_inputs_of_the_segment():
    def branch(name, operator):
        made = node(operator, ["b", "a"], [name])
        return helper.make_graph([made], name, [], [value(name, None)])

    nodes = [
        node("Neg", ["x"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        node("If", ["c"], ["y"], then_branch=branch("t", "Add"), else_branch=branch("e", "Sub")),
    ]
    inputs = [value("x", ["n", 7, 3, 2]), value("c", [], TensorProto.BOOL)]
    net = load(graph_of(nodes, inputs, [value("y", ["n", 7, 3, 2])]))
    assert {v.name for v in net["segment2"].inputs} == {"a", "b", "c"}
    x = sample(2, 7, 3, 2)
    for c, sign in ((True, 1), (False, -1)):
        close(net({"x": x[0], "c": np.bool_(c)}), (norm(-x) - sign * x)[0])
    both = net({"x": x, "c": np.array([True, False])})
    close(both, np.stack([(norm(-x) - x)[0], (norm(-x) + x)[1]]))


def choice(*nodes, gives="t"):
    """An If with these nodes in one branch, which may read x."""
    other = helper.make_graph([node("Neg", ["x"], ["e"])], "e", [], [value("e", None)])
    graph = helper.make_graph(list(nodes), "t", [], [value(gives, None)])
    return node("If", ["c"], ["k"], name="pick", then_branch=graph, else_branch=other)


CHOICE = [value("x", ["n", 7, 3, 2]), value("c", [], TensorProto.BOOL)]


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        (choice(node("Add", ["x", "gone"], ["t"])), "input 'gone' of node"),
        (choice(node("Neg", ["x"], ["t"]), gives="gone"), r"Graph output \(gone\) does not exist"),
        (choice(node("Neg", ["late"], ["t"]), node("Neg", ["x"], ["late"])), "input 'late' of"),
        (choice(node("Neg", ["e"], ["t"])), "input 'e' of node"),  # of the other branch
    ],
)
def test_what_nothing_gives_to_a_branch(chosen, text):
    model = graph_of([chosen, lrn("k", "y", name="n", **WORDS)], CHOICE, [value("y", None)])
    said = f"the part with If is refused by ONNX Runtime: .*{text}.*check"
    with pytest.raises(FileError, match=said):
        load(model)


def test_what_nothing_gives_to_the_body_of_a_loop():
    model = loop()
    body = model.graph.node[0].attribute[0].g
    body.node[1].CopyFrom(node("Add", ["state", "gone"], ["next"]))
    with pytest.raises(FileError, match=r"part with Loop is refused .*input 'gone' of node"):
        load(model)


def test_a_name_in_a_branch_may_come_again_later():
    chosen = choice(node("Abs", ["x"], ["u"]), node("Neg", ["u"], ["t"]))
    later = [lrn("k", "b", name="n", **WORDS), node("Exp", ["b"], ["u"]), node("Neg", ["u"], ["y"])]
    model = graph_of([chosen, *later], CHOICE, [value("y", ["n", 7, 3, 2])])
    onnx.checker.check_model(model)
    net, x = load(model), sample(1, 7, 3, 2)
    close(net({"x": x[0], "c": np.bool_(True)}), -np.exp(norm(-abs(x)))[0])
    close(net({"x": x[0], "c": np.bool_(False)}), -np.exp(norm(-x))[0])


def test_loops_without_lrn_run():
    model = loop()
    body = model.graph.node[0].attribute[0].g
    body.node[1].CopyFrom(node("Add", ["state", "n"], ["next"]))
    model.graph.node.insert(0, lrn("x", "n", name="n", **WORDS))
    x = sample(1, 7, 5, 4)
    close(load(model)(x[0]), (x + 2 * norm(x))[0])


def test_an_lrn_inside_a_subgraph_is_refused():
    for model, path in ((with_branches(), "outer/else_branch/inner"), (loop(), "again/body/inner")):
        with pytest.raises(ParameterError, match=f"the model: the LRN {path} stands in a graph"):
            load(model)


def test_functions():
    nodes = [call("x", "m", "one", strength=0.5), call("m", "y", "two", strength=2.0)]
    model = model_of(nodes, functions=[function()])
    net, x = load(model), sample(2, 7, 5, 4)
    assert list(net.layers) == ["one/inner", "two/inner"]
    specs = lrnorm.onnx.specs(model)
    assert {name: net[name].spec for name in net.layers} == specs
    close(net(x), norm(norm(x, specs["one/inner"]), specs["two/inner"]))


def test_functions_without_lrn_stay():
    double = helper.make_function(
        "own", "Twice", ["v"], ["w"], [node("Add", ["v", "v"], ["w"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [lrn("x", "a", name="n", **WORDS), node("Twice", ["a"], ["y"], domain="own")]
    x = sample(2, 7, 5, 4)
    close(load(model_of(nodes, functions=[double]))(x), 2 * norm(x))


# Types, ranks, windows: what ONNX Runtime cannot do


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_float(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        node("Add", ["x", "k"], ["a"]),
        lrn("a", "b", name="n", **WORDS),
        node("Add", ["b", "k"], ["y"]),
    ]
    ports = [value(name, ["n", 7, 3, 2], kind) for name in ("x", "y")]
    one = tensor(np.ones(1, dtype), "k")
    x = sample(2, 7, 3, 2, dtype=dtype)
    y = load(graph_of(nodes, ports[:1], ports[1:], [one]))(x)
    assert y.dtype == dtype
    exact = norm(x.astype(float) + 1) + 1
    np.testing.assert_allclose(y, exact, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3, 4), (7, 2, 1, 2, 3)])
@pytest.mark.parametrize("first", ["n", 1])
def test_any_rank(shape, first):
    nodes = [node("Neg", ["x"], ["a"]), lrn("a", "y", name="n", **WORDS)]
    info = [value(name, [first, *shape]) for name in ("x", "y")]
    net, x = load(graph_of(nodes, info[:1], info[1:])), sample(2, *shape)
    assert net.ports == {"x": shape, "y": shape}
    assert net["n"].spec == WORDS_SPEC
    close(net(x), norm(-x))
    close(net(x[0]), norm(-x)[0])
    close(net.drop(1).vjp(x), lrnorm.local_response_norm_vjp(x, x * 0 + 1, spec=WORDS_SPEC, axis=1))


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_any_window(size):
    words = {**WORDS, "size": size}
    spec = LRNSpec(0.9 / size, 0.6, 1.7, (size - 1) // 2, size // 2)
    net, x = load(model_of([lrn("x", "y", name="n", **words)])), sample(2, 7, 5, 4)
    assert net["n"].spec == spec
    close(net(x), norm(x, spec))


# What is refused


@pytest.mark.parametrize(
    ("nodes", "kind", "text"),
    [
        ([lrn("x", "y", name="n")], ParameterError, "the model: size of the LRN n must be a pos"),
        ([node("Neg", ["q"], ["y"], name="k")], ParameterError, r"node 'k' \(Neg\) reads 'q', wh"),
        ([node("Foo", ["x"], ["y"])], FileError, "the model: the part with Foo is refused by"),
        ([node("Add", ["x"], ["y"])], FileError, "onnx.checker.check_model"),
        (
            [node("SequenceConstruct", ["x"], ["y"])],
            ParameterError,
            re.escape("'y' must be a tensor of a type that NumPy has") + ".*got seq",
        ),
    ],
)
def test_errors_of_models(nodes, kind, text):
    with pytest.raises(kind, match=text):
        load(graph_of(nodes, [value("x", ["n", 7, 3, 2])], [onnx.ValueInfoProto(name="y")]))


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(model_of([node("Foo", ["x"], ["y"])]), path)
    with pytest.raises(FileError, match=f"{re.escape(str(path))}: the part with Foo is refused"):
        load(path)
    path.write_bytes(b"no model")
    with pytest.raises(FileError, match=r"m\.onnx"):
        load(path)
    with pytest.raises(FileError, match="no graph"):
        load(b"")
    with pytest.raises(KindError, match="model must be a path, bytes or an onnx"):
        load(3)


@pytest.mark.parametrize("threads", [-1, 1.5, "2"])
def test_threads_are_a_number(threads):
    with pytest.raises((ParameterError, KindError), match="intra_op_num_threads must be an int"):
        load(deep(), intra_op_num_threads=threads)


def test_threads_follow_those_of_lrnorm():
    def of(net):
        return net["segment1"].session.get_session_options().intra_op_num_threads

    before = lrnorm.show_config()["threads"]
    try:
        lrnorm.set_num_threads(3)
        assert of(load(deep())) == 3
    finally:
        lrnorm.set_num_threads(before)
    assert of(load(deep(), intra_op_num_threads=1)) == 1
    assert of(load(deep(), intra_op_num_threads=0)) == 0


def test_without_onnxruntime_the_error_says_what_to_install(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')")
    code = "import lrnorm; lrnorm.onnx.load(lrnorm.onnx.to_onnx(lrnorm.LRNSpec(1, 1, 1, 1, 2)))"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code.replace("1, 2)", "1, 3)")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    assert "needs the package onnxruntime. Run pip install 'lrnorm[onnx]'" in last
