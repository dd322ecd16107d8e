"""What nets tell of themselves, and how they are drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from lrnorm import LocalResponseNormalizationLayer as Layer
from lrnorm import NetChain, NetGraph, NetPort, ParameterError, information
from lrnorm.net import elementwise

A, B, TANH = Layer(alpha=2.0), Layer(beta=0.7), elementwise(np.tanh)
INNER = NetChain({"b": B, "tanh": TANH})
NET = NetGraph(
    {"a": A, "inner": INNER, "join": np.maximum},
    [("a", "inner", "join"), ("a", "join"), ("a", NetPort("early"))],
    input=(5, 2, 1),
)
SVG = "{http://www.w3.org/2000/svg}"

# Property → its value for NET, which has no arrays; those with arrays: tests/test_net_torch.py
VALUES = {
    "Arrays": {},
    "ArraysList": [],
    "ArraysCount": 0,
    "ArraysTotalSize": "0 B",
    "InputPorts": {"Input": (5, 2, 1)},
    "OutputPorts": {"early": (5, 2, 1), "Output": (5, 2, 1)},
    "InputPortNames": ["Input"],
    "OutputPortNames": ["early", "Output"],
    "Layers": {("a",): A, ("inner", "b"): B, ("inner", "tanh"): TANH, ("join",): np.maximum},
    "LayersList": [A, B, TANH, np.maximum],
    "LayersCount": 4,
    "LayerTypeCounts": {"LocalResponseNormalizationLayer": 2, "elementwise": 1, "maximum": 1},
    "LayersGraph": (
        (("a",), ("inner", "b"), ("inner", "tanh"), ("join",)),
        (
            (("a",), ("inner", "b")),
            (("inner", "b"), ("inner", "tanh")),
            (("inner", "tanh"), ("join",)),
            (("a",), ("join",)),
        ),
    ),
    "InputForm": repr(NET),
    "RecurrentStatesCount": 0,
    "RecurrentStatesPositionList": [],
}


@pytest.mark.parametrize("name", VALUES)
def test_values_for_a_net(name):
    assert information(NET, name) == VALUES[name]


def test_every_property_of_the_table_answers_for_a_net():
    names = information(NET, "Properties")
    answers = information(NET, names)
    assert len(answers) == len(names) == len(information(A, "Properties"))
    assert information([NET, A], "LayersCount") == [4, 1]


def test_the_report_of_a_net():
    values = dict(information(NET).lines)
    assert values["layers"] == "4"
    assert values["input ports"] == "Input: 5 × 2 × 1"
    assert values["output ports"] == "early: 5 × 2 × 1, Output: 5 × 2 × 1"
    assert "<table>" in information(NET)._repr_html_()


def hashed(net):
    return information(net, "TopologyHash")


def test_hash_is_equal_for_equal_structure():
    assert hashed(NET) == hashed(NET.replace(input=(7, 3, 3)))
    edges = [("p", "q", "m"), ("p", "m"), ("p", NetPort("other"))]
    assert hashed(NetGraph({"q": INNER, "p": A, "m": np.maximum}, edges)) == hashed(NET)
    flat = NetChain([B, TANH])
    assert hashed(flat) == hashed(NetChain([flat])) == hashed(INNER)


def test_hash_is_another_for_another_structure():
    join = {"a": A, "b": B, "j": np.subtract}
    nets = [
        NetChain([A, B]),
        NetChain([B, A]),
        NetChain([A, A]),
        NetGraph({"a": A, "b": B}),
        NetGraph({"a": A, "b": B}, [(NetPort("p"), "a"), (NetPort("q"), "b")]),
        NetGraph(join, [(["a", "b"], "j")]),
        NetGraph(join, [(["b", "a"], "j")]),
        NetGraph({"a": A, "a2": A, "j": np.subtract}, [(["a", "a2"], "j")]),
        NetGraph({"a": A, "j": np.subtract}, [(["a", "a"], "j")]),
        NetGraph({"a": A, "b": B}, [("a", "b"), ("a", NetPort("middle"))]),
        NetChain([np.tanh]),
        NetChain([np.sinh]),
    ]
    assert len(set(map(hashed, nets))) == len(nets)


# Drawings


def texts(drawing):
    return [text.text for text in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")]


def test_drawings_show_layers_ports_and_shapes():
    top, full = information(NET, ["SummaryGraphic", "full_summary_graphic"])
    for text in ("Input", "early", "Output", "a", "join", "5 × 2 × 1"):
        assert text in texts(top)
        assert text in texts(full)
    assert "NetChain" in texts(top)
    assert "inner / tanh" not in texts(top)
    assert "inner / tanh" in texts(full)
    assert len(top.boxes) == 6
    assert len(full.boxes) == 7
    assert texts(information(A.replace(input=(3, 1, 1)), "SummaryGraphic"))[0] == "3 × 1 × 1"
    assert top._repr_svg_() == top.svg
    assert repr(top) == "<drawing of 6 boxes and 6 arrows: save(path)>"


def test_names_are_escaped():
    drawing = information(NetChain({"<a & b>": A}), "SummaryGraphic")
    assert "<a & b>" in texts(drawing)


WIDE = NetGraph(
    {**dict.fromkeys("abcdefg", A), "sum": lambda *xs: sum(xs)},
    [("a", "b", "c", "d", "sum"), ("a", "e", "sum"), ("a", "f", "g", "sum"), ("a", "sum")],
)


@pytest.mark.parametrize("net", [NET, WIDE, NetChain([A, B, TANH])])
def test_boxes_stand_below_those_that_feed_them_and_apart(net):
    drawing = information(net, "FullSummaryGraphic")
    for arrow in drawing.arrows:
        assert drawing.places[arrow.source].y < drawing.places[arrow.target].y
    boxes = [(drawing.places[key], box) for key, box in drawing.boxes.items()]
    for i, (at, box) in enumerate(boxes):
        for other, its in boxes[:i]:
            apart_x = abs(at.x - other.x) >= (box.width + its.width) / 2
            assert apart_x or abs(at.y - other.y) >= (box.height + its.height) / 2


def test_a_chain_is_drawn_straight():
    places = information(NetChain([A, B, TANH]), "SummaryGraphic").places
    assert len({round(place.x, 6) for place in places.values()}) == 1


def test_drawings_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    drawing = information(NET, "SummaryGraphic")
    drawing.save(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text(encoding="utf-8") == drawing.svg
    drawing.save(tmp_path / "net.png")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ParameterError, match=re.escape("written as .svg or .png, got 'net.pdf'")):
        drawing.save(tmp_path / "net.pdf")


PAIR = NetGraph(
    {"a": A, "b": B},
    [(NetPort("left"), "a", NetPort("calm")), (NetPort("right"), "b", NetPort("loud"))],
    input={"left": (5, 4, 4)},
)
AROUND = NetGraph(
    {"pair": PAIR, "tanh": TANH, "minus": np.subtract},
    [
        ("tanh", NetPort("pair", "right")),
        (NetPort("picture"), NetPort("pair", "left")),
        (NetPort("pair", "calm"), "minus"),
        (NetPort("pair", "loud"), "minus"),
        (NetPort("pair", "loud"), NetPort("also")),
    ],
)


def test_ports_of_nets_inside_are_named_where_there_are_several():
    top, full = information(AROUND, ["SummaryGraphic", "FullSummaryGraphic"])
    told = {(a.source[1], a.target[1]): (a.text, a.head) for a in top.arrows}
    assert told == {
        ("picture", ("pair",)): ("5 × 4 × 4", "left"),
        (("tanh",), ("pair",)): ("", "right"),
        ("Input", ("tanh",)): ("", ""),
        (("pair",), ("minus",)): ("loud", "Input2"),
        (("pair",), "also"): ("loud", ""),
        (("minus",), "Output"): ("5 × 4 × 4", ""),
    }
    assert len(top.arrows) == len(told) + 1  # from the pair to the difference lead two
    assert [top.boxes["layer", ("pair",)].takes, top.boxes["layer", ("pair",)].gives] == [
        ("left", "right"),
        ("calm: 5 × 4 × 4", "loud"),
    ]
    assert {arrow.head for arrow in full.arrows} == {"", "Input1", "Input2"}
    outer = information(NetChain({"around": NetGraph({"p": PAIR})}), "SummaryGraphic")
    assert {arrow.head for arrow in outer.arrows} == {"left", "right", ""}


def test_texts_stand_apart_and_within_the_picture():
    known = AROUND.replace("pair", PAIR.replace(input=dict.fromkeys(PAIR.inputs, (5, 4, 4))))
    for depth in ("SummaryGraphic", "FullSummaryGraphic"):
        root = ElementTree.fromstring(information(known, depth).svg)
        left, _, width, _ = map(float, root.attrib["viewBox"].split())
        drawing = information(known, depth)
        for arrow, line in zip(drawing.arrows, drawing._lines, strict=True):
            for key, point in ((arrow.source, line[0]), (arrow.target, line[-1])):
                assert abs(point.x - drawing.places[key].x) < drawing.boxes[key].width / 2
        spans = []
        for text in root.iter(f"{SVG}text"):
            x, half = float(text.attrib["x"]), len(text.text) * 3.3
            assert left <= x - half
            assert x + half <= left + width
            spans.append((float(text.attrib["y"]), x - half, x + half))
        for i, (y, start, end) in enumerate(spans):
            for other, its_start, its_end in spans[:i]:
                assert abs(y - other) > 10 or end <= its_start or its_end <= start


def test_arrows_that_pass_by_lie_within_the_picture():
    drawing = information(WIDE, "SummaryGraphic")
    left, _, width, _ = drawing._frame()
    for line in drawing._lines:
        assert all(left < point.x < left + width for point in line)
