"""What a layer tells and is told: information, one table for layers and nets; its options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from refusals import refused

from lrnorm import (
    KindError,
    LRNormError,
    NetChain,
    NetGraph,
    NetPort,
    ParameterError,
    information,
    options,
)
from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm._layers.structure import Graph, Leaf, Link, Structure
from lrnorm._report.information import readable_size

LAYER = Layer(alpha=0.9, beta=0.7, bias=1.1, input=(5, None, 1))
UNKNOWN = LAYER.replace(input=None)

# Property → its value for LAYER.
VALUES = {
    **{key: {} for key in ("Arrays", "ArraysDimensions", "ArraysElementCounts")},
    **{key: {} for key in ("ArraysByteCounts", "ArraysSizes")},
    **{key: [] for key in ("ArraysList", "ArraysPositionList", "RecurrentStatesPositionList")},
    **dict.fromkeys(("ArraysCount", "ArraysTotalElementCount", "ArraysTotalByteCount"), 0),
    **dict.fromkeys(("SharedArraysCount", "RecurrentStatesCount"), 0),
    "ArraysTotalSize": "0 B",
    "InputPorts": {"Input": (5, None, 1)},
    "OutputPorts": {"Output": (5, None, 1)},
    "InputPortNames": ["Input"],
    "OutputPortNames": ["Output"],
    "Layers": {(): LAYER},
    "LayersList": [LAYER],
    "LayersCount": 1,
    "LayerTypeCounts": {"LocalResponseNormalizationLayer": 1},
    "LayersGraph": (((),), ()),
    "InputForm": repr(LAYER),
}
DRAWINGS = ["SummaryGraphic", "FullSummaryGraphic", "NodeGraphPlot"]
PROPERTIES = sorted([*VALUES, "TopologyHash", "Properties", "NodeGraph", *DRAWINGS])

same = np.testing.assert_array_equal


def sample(*shape):
    return np.random.default_rng(0).normal(size=shape) * 2


class Pair:
    """A net as the table sees one: two layers, and an array that both use."""

    def __init__(self, names="ab", shape=(3, 4), window=2, forwards=True, port="Output"):
        self.names, self.shape, self.window = names, shape, window
        self.forwards, self.port = forwards, port
        self.weight, self.bias = np.ones(shape, np.float32), np.ones(70)

    def _structure(self):
        a, b = self.names
        first = LAYER.replace(channel_window_size=self.window)._structure().leaves[()]
        return Structure(
            type="Pair",
            expression="Pair()",
            leaves={(a,): first, (b,): Leaf(abs, "function", {"name": "abs"})},
            links=(Link((a,), (b,)) if self.forwards else Link((b,), (a,)),),
            arrays={(a, "w"): self.weight, (a, "b"): self.bias, (b, "w"): self.weight},
            input_ports={"Input": (5, None, 1)},
            output_ports={self.port: (5, None, 1)},
        )


# Information


def test_properties_are_those_of_the_contract():
    assert sorted(information(LAYER, "Properties")) == PROPERTIES


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_has_two_spellings(name):
    twin = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    pair = Pair()
    for net in (LAYER, *([] if "NodeGraph" in name else [pair])):  # a pair has no edge to its port
        assert information(net, twin) == information(net, name)


@pytest.mark.parametrize("name", VALUES)
def test_values_for_a_bare_layer(name):
    assert information(LAYER, name) == VALUES[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ArraysPositionList", [("a", "w"), ("a", "b"), ("b", "w")]),
        ("ArraysCount", 3),
        ("SharedArraysCount", 1),
        ("ArraysDimensions", {("a", "w"): (3, 4), ("a", "b"): (70,), ("b", "w"): (3, 4)}),
        ("ArraysElementCounts", {("a", "w"): 12, ("a", "b"): 70, ("b", "w"): 12}),
        ("ArraysByteCounts", {("a", "w"): 48, ("a", "b"): 560, ("b", "w"): 48}),
        ("ArraysSizes", {("a", "w"): "48 B", ("a", "b"): "560 B", ("b", "w"): "48 B"}),
        ("ArraysTotalElementCount", 82),
        ("ArraysTotalByteCount", 608),
        ("ArraysTotalSize", "608 B"),
        ("LayersCount", 2),
        ("LayersList", [LAYER, abs]),
        ("Layers", {("a",): LAYER, ("b",): abs}),
        ("LayerTypeCounts", {"LocalResponseNormalizationLayer": 1, "function": 1}),
        ("LayersGraph", Graph(nodes=(("a",), ("b",)), edges=((("a",), ("b",)),))),
    ],
)
def test_the_table_serves_more_than_a_bare_layer(name, value):
    assert information(Pair(), name) == value


def test_lists_of_properties_and_of_layers():
    other = Layer()
    assert information(LAYER, ["LayersCount", "input_port_names"]) == [1, ["Input"]]
    assert information([LAYER, other], "InputForm") == [repr(LAYER), repr(other)]
    both = information((LAYER, other), ("LayersCount", "InputForm"))
    assert both == [[1, repr(LAYER)], [1, repr(other)]]
    assert information([LAYER, other]) == [information(LAYER), information(other)]


def test_answers_are_free_to_be_changed():
    information(LAYER, "Properties").clear()
    information(LAYER, "InputPorts").clear()
    assert len(information(LAYER, "Properties")) == len(PROPERTIES)
    assert information(LAYER, "InputPorts") == {"Input": (5, None, 1)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LayerCount", ", got 'LayerCount'. Did you mean 'LayersCount'?"),
        ("layers_cuont", "Did you mean 'LayersCount'?"),
        ("arraystotalsize", "Did you mean 'ArraysTotalSize'?"),
        ("xyzzy", ", got 'xyzzy'. The properties"),
    ],
)
def test_unknown_property_lists_those_that_exist(name, text):
    for asked in (name, ["LayersCount", name]):
        with pytest.raises(ParameterError, match=f"^property .*{re.escape(text)}") as caught:
            information(LAYER, asked)
        assert all(known in str(caught.value) for known in PROPERTIES)


def test_wrong_kinds():
    with pytest.raises(KindError, match="a property must be a name or a list of names, got 3"):
        information(LAYER, 3)
    for wrong in (Layer, abs, "layer", None):
        with pytest.raises(KindError, match="information takes a layer"):
            information(wrong)
    with pytest.raises(KindError, match=r"Put it into a net: information\(NetChain\(\[layer\]\)\)"):
        information(abs)


def test_topology_hash_of_layers():
    def hashed(**changes):
        return information(LAYER.replace(**changes), "TopologyHash")

    assert re.fullmatch("[0-9a-f]{16}", hashed())
    assert len({hashed(), hashed(input=None), hashed(channel_window_size=(2, 2))}) == 1
    assert hashed(alpha=0.0) == hashed(alpha=-0.0)  # equal layers
    changes = [{"alpha": 0.8}, {"beta": 0.8}, {"bias": 0.8}, {"beta": 0.9}]
    changes += [{"channel_window_size": window} for window in (3, (2, 3), (3, 2))]
    assert len({hashed(), *(hashed(**change) for change in changes)}) == 8


def test_topology_hash_of_nets():
    def hashed(**changes):
        return information(Pair(**changes), "TopologyHash")

    assert hashed() == hashed(names="ba") == hashed(port="Other")
    changes = [{"shape": (4, 3)}, {"window": 3}, {"forwards": False}]
    assert len({hashed(), *(hashed(**change) for change in changes)}) == 4
    assert hashed() != information(LAYER, "TopologyHash")


def run(code, **environment):
    arguments = {
        "capture_output": True,
        "text": True,
        "check": True,
        "env": {**os.environ, **environment},
    }
    return subprocess.run([sys.executable, "-c", code], **arguments).stdout.strip()


def test_topology_hash_is_the_same_in_every_process():
    code = f"import lrnorm; print(lrnorm.information(lrnorm.{LAYER!r}, 'TopologyHash'))"
    hashes = {run(code, PYTHONHASHSEED=seed) for seed in "12"}
    assert hashes == {information(LAYER, "TopologyHash")}


def test_the_name_on_the_package_stays_the_function():
    code = "import lrnorm._report.information; from lrnorm._layers.structure import Structure; "
    assert run(code + "print(lrnorm.information([]))") == "[]"


def test_report_as_text():
    lines = """LocalResponseNormalizationLayer
  layers              1
  arrays              0
  shared arrays       0
  input ports         Input: 5 × ? × 1
  output ports        Output: 5 × ? × 1
  elements in arrays  0
  size of arrays      0 B"""
    assert repr(information(LAYER)) == str(information(LAYER)) == lines
    values = [value for label, value in information(Pair()).lines if "ports" not in label]
    assert values == ["2", "3", "1", "82", "608 B"]


def test_report_as_html():
    page = information(LAYER)._repr_html_()
    assert page.startswith("<table><caption>LocalResponseNormalizationLayer</caption>")
    assert "Input: 5 × ? × 1</td>" in page
    assert page.count("<tr>") == page.count("</tr>") == 7
    page = information(Pair(port="<b>"))._repr_html_()
    assert "&lt;b&gt;: 5 × ? × 1" in page
    assert "<b>" not in page


def test_readable_sizes():
    counts = [0, 999, 1000, 23232, 999_600, 27_994_208, 4 * 10**9, 5 * 10**15]
    texts = ["0 B", "999 B", "1 kB", "23.2 kB", "1 MB", "28 MB", "4 GB", "5e+03 TB"]
    assert [readable_size(count) for count in counts] == texts


# Options


def test_options():
    making = dict(alpha=1.0, beta=0.5, bias=1.0, channel_window_size=2, input=None)  # noqa: C408
    assert options(Layer) == making
    assert Layer(**making) == Layer()
    evaluating = options(LAYER)
    assert list(evaluating.items()) == [
        ("batch_size", None),
        ("net_evaluation_mode", "Test"),
        ("random_seeding", None),
        ("target_device", "CPU"),
        ("working_precision", None),
    ]
    x = sample(5, 2, 1)
    same(LAYER(x, **evaluating), LAYER(x))
    evaluating["batch_size"] = 3
    assert options(LAYER)["batch_size"] is None
    for wrong in (5, int, "layer"):
        with pytest.raises(KindError, match="options takes a layer or a class"):
            options(wrong)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, np.int64(4), 100])
def test_batch_size_changes_no_bit(batch_size):
    x = sample(7, 5, 2, 3)
    arrays = [x, x.astype(np.float16), x.astype(int), x.transpose(0, 3, 1, 2), x[::-2], x[:0], x[0]]
    for array in (*arrays, np.asfortranarray(x)):
        pieces, whole = UNKNOWN(array, batch_size=batch_size), UNKNOWN(array)
        assert (pieces.dtype, pieces.strides) == (whole.dtype, whole.strides)
        same(pieces, whole)
    assert UNKNOWN(x.tolist(), batch_size=batch_size) == UNKNOWN(x.tolist())


def peak_beyond_output(x, **evaluation):
    tracemalloc.start()
    try:
        y = UNKNOWN(x, **evaluation)
        return tracemalloc.get_traced_memory()[1] - y.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("dtype", "precision"), [("i8", None), ("f8", "Real32"), ("f8", "Mixed"), ("f4", None)]
)
def test_batch_size_bounds_the_memory(dtype, precision):
    x = (sample(64, 6, 30, 31) * 9).astype(dtype)
    UNKNOWN(x[:2], batch_size=1, working_precision=precision)  # what is loaded once
    extra = peak_beyond_output(x, batch_size=2, working_precision=precision)
    # the converted input and the result of one piece, at most 8 bytes an element each
    assert extra < 2 * 2 * x[0].size * 8 + 20_000
    if precision is not None:
        assert peak_beyond_output(x, working_precision=precision) > 10 * extra


@pytest.mark.parametrize(
    ("precision", "computing", "result"),
    [("Real16", "f2", "f2"), ("Real32", "f4", "f4"), ("Real64", "f8", "f8"), ("Mixed", "f4", "f2")],
)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i8", "?"])
def test_working_precision_converts_the_input_first(precision, computing, result, dtype):
    x = (sample(3, 5, 2, 3) * 5).astype(dtype)
    by_hand = UNKNOWN(x.astype(computing)).astype(result)
    for y in (
        UNKNOWN(x, working_precision=precision),
        UNKNOWN(x, working_precision=precision, batch_size=2),
        np.stack(UNKNOWN(list(x), working_precision=precision)),
    ):
        assert y.dtype == result
        same(y, by_hand)


@pytest.mark.filterwarnings("error")
def test_precision_that_overflows_is_silent():
    x = np.array([1e300, 1.0, 70000.0]).reshape(3, 1, 1)
    assert np.isnan(UNKNOWN(x, working_precision="Real32")[0, 0, 0])
    assert UNKNOWN(x, working_precision="Real16").dtype == np.float16
    assert UNKNOWN(x.tolist(), working_precision="Real64")[0][0][0] > 0


def test_modes_and_seeds_compute_the_same():
    x = sample(5, 2, 3)
    same(UNKNOWN(x, net_evaluation_mode="Train"), UNKNOWN(x))
    for seed in (0, 1234, "Inherited", "Automatic"):
        same(UNKNOWN(x, random_seeding=seed), UNKNOWN(x))


@pytest.mark.parametrize(
    ("option", "value", "kind", "rule"),
    [
        *(("batch_size", n, ValueError, "a positive integer or None, got") for n in (0, -3)),
        *(("batch_size", n, TypeError, "a positive integer or None, got") for n in (2.0, True)),
        ("net_evaluation_mode", "train", ValueError, "must be 'Test' or 'Train', got 'train'"),
        ("net_evaluation_mode", None, ValueError, "must be 'Test' or 'Train', got None"),
        ("random_seeding", "seed", ValueError, "None, 'Inherited' or 'Automatic', got 'seed'"),
        *(("random_seeding", s, ValueError, "unless an integer") for s in (0.5, np.ones(2))),
        *(
            ("target_device", device, ValueError, r"must be 'CPU', 'GPU' or \('GPU', n\)")
            for device in ("cpu", ("GPU", 0), ("GPU", "a"), ("GPU",), np.ones(2))
        ),
        *(
            ("working_precision", value, ValueError, "'Real16', 'Real32', 'Real64' or 'Mixed', got")
            for value in ("float32", np.float32)
        ),
    ],
)
def test_wrong_values_say_which_are_right(option, value, kind, rule):
    with pytest.raises(kind, match=f"^{option}.* must be .*, got ") as caught:
        UNKNOWN(sample(5, 2, 3), **{option: value})
    assert isinstance(caught.value, LRNormError)
    assert re.search(rule, str(caught.value))


@pytest.mark.parametrize(
    ("word", "value", "way_out"),
    [
        ("TargetDevice", "GPU", "write target_device='GPU'"),
        ("BatchSize", 8, "write batch_size=8"),
        ("NetEvaluationMode", "Train", "write net_evaluation_mode='Train'"),
        ("RandomSeeding", 1, "write random_seeding=1"),
        ("WorkingPrecision", "Real32", "write working_precision='Real32'"),
        ("ChannelWindowSize", 3, r"layer\.replace\(channel_window_size=3\)"),
        ("alpha", 2.0, r"layer\.replace\(alpha=2\.0\)"),
        ("output", None, r"layer\.replace\(output=None\)"),
        ("axis", -1, r"lrnorm\.local_response_norm\(x, axis=-1\)"),
        ("batchsize", 1, "it takes batch_size, net_evaluation_mode, random_seeding, target_device"),
    ],
)
def test_wrong_words_in_a_call_say_which_are_right(word, value, way_out):
    with pytest.raises(TypeError, match=rf"(?i)layer\(\) has no argument '{word}'.*{way_out}"):
        UNKNOWN(sample(5, 2, 3), **{word: value})


@pytest.mark.parametrize(
    ("word", "value", "way_out"),
    [
        ("Alpha", 2.0, r"write alpha=2\.0"),
        ("ChannelWindowSize", 3, "write channel_window_size=3"),
        ("Input", (5, 2, 1), r"write input=\(5, 2, 1\)"),
        ("Output", (5, 2, 1), r"write output=\(5, 2, 1\)"),
        ("TargetDevice", "GPU", r"layer\(x, target_device='GPU'\)"),
        ("batch_size", 8, r"layer\(x, batch_size=8\)"),
        ("k", 2.0, r"k is called bias: here bias=2\.0"),
        ("size", 5, "size is a width in PyTorch: here channel_window_size=2"),
        ("dim", 1, "the channels of a layer come first"),
        ("spec", None, r"alpha=scale \* \(before \+ after \+ 1\)"),
        ("aplha", 2.0, "it takes alpha, beta, bias, channel_window_size, input, output"),
    ],
)
def test_wrong_words_in_making_say_which_are_right(word, value, way_out):
    for make in (Layer, LAYER.replace):
        with pytest.raises(TypeError, match=rf"(?i)Layer\(\) has no argument '{word}'.*{way_out}"):
            make(**{word: value})


def test_a_report_is_a_mapping():
    report = information(LAYER)
    assert report["LayersCount"] == report["layers_count"] == 1
    assert report["InputPorts"] == {"Input": (5, None, 1)}
    assert dict(report) == {name: information(LAYER, name) for name in report}
    assert "LayersCount" in report
    with pytest.raises(KeyError):
        report["xyzzy"]


def test_a_bare_layer_is_a_table_in_a_notebook():
    assert LAYER._repr_html_().startswith("<table><caption>LocalResponseNormalizationLayer")


def test_one_option():
    assert options(LAYER, "target_device") == options(LAYER, "TargetDevice") == "CPU"
    assert options(Layer, ["alpha", "Beta"]) == [1.0, 0.5]
    with refused(ParameterError, "option", "must be one of ['batch_size', ", "x"):
        options(LAYER, "x")


def test_the_expression_in_the_wolfram_language():
    words = '"Alpha" -> 0.0001, "Beta" -> 0.75, "Bias" -> 1., "ChannelWindowSize" -> 2'
    layer = Layer(alpha=1e-4, beta=0.75)
    expression = f"LocalResponseNormalizationLayer[{words}]"
    assert information(layer, "WolframForm") == information(layer, "wolfram_form") == expression
    known = information(layer.replace(input=(5, 2, 1)), "WolframForm")
    assert known == expression[:-1] + ', "Input" -> {5, 2, 1}]'
    chain = NetChain([layer, np.tanh])
    expected = f"NetChain[{{{expression}, ElementwiseLayer[Tanh]}}]"
    assert information(chain, "WolframForm") == expected
    graph = NetGraph(
        {"n": layer, "add": np.add}, [("n", "add"), (NetPort("Input"), "add", NetPort("sum"))]
    )
    assert information(graph, "WolframForm") == (
        f'NetGraph[<|"n" -> {expression}, "add" -> ThreadingLayer[Plus]|>, '
        '{NetPort["Input"] -> "n", {"n", NetPort["Input"]} -> "add", "add" -> NetPort["sum"]}]'
    )
    with pytest.raises(ParameterError, match=r"layer 0 \(cbrt\) has no Wolfram layer"):
        information(NetChain([np.cbrt]), "WolframForm")
    with pytest.raises(ParameterError, match="has an asymmetric window"):
        information(Layer(channel_window_size=(2, 1)), "WolframForm")
