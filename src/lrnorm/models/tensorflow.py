"""TensorFlow: GraphDef (.pb, .pbtxt), SavedModel folders, functions included.

    tf.nn.lrn: y = x / (bias + alpha · Σ x²)^beta over 2 · depth_radius + 1 channels, channels last

Defaults: depth_radius 5, bias 1, alpha 1, beta 0.5; a SavedModel may leave them out.
Source: tensorflow/core/framework/{graph,function,node_def,attr_value,tensor_shape,types}.proto;
tensorflow/core/protobuf/{saved_model,meta_graph}.proto; the operator LRN in core/ops/nn_ops.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lrnorm.models.found import NOTE, Found, Listing, ModelFile, Remark, Shape, lrn
from lrnorm.models.prototext import integer, messages, number, parse, scalar
from lrnorm.models.source import MIB, DamagedError, Source
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, first_inner, fits

_DIM: Schema = {1: ("size", "int")}
_SHAPE: Schema = {2: ("dim", _DIM), 3: ("unknown_rank", "int")}
_VALUE: Schema = {
    1: ("list", {7: ("shape", _SHAPE)}),
    3: ("i", "int"),
    4: ("f", "float"),
    6: ("type", "int"),
}
_ATTRIBUTE: Schema = {1: ("key", "text"), 2: ("value", _VALUE)}
# The attributes of a node are read for LRNs alone: Const nodes keep the weights there.
_NODE: Schema = {1: ("name", "text"), 2: ("op", "text"), 5: ("attr", "span")}
_SIGNATURE: Schema = {1: ("name", "text")}
_FUNCTION: Schema = {1: ("signature", _SIGNATURE), 3: ("node_def", _NODE)}
_GRAPH: Schema = {1: ("node", _NODE), 2: ("library", {1: ("function", _FUNCTION)})}
_SAVED: Schema = {2: ("meta_graphs", {2: ("graph_def", _GRAPH)})}

_TYPES = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}
_TYPE_NAMES = {"DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_BFLOAT16": 14, "DT_HALF": 19}

PBTXT_LIMIT = 256 * MIB


def is_graph(source: Source) -> bool:
    """Field 1 repeats nodes, each with a name (1) and an operator (2)."""
    found = fits(source.data, {1: LENGTH, 2: LENGTH, 3: VARINT, 4: LENGTH, 5: LENGTH})
    if 1 not in found:  # a graph whose nodes all stand in functions
        return 2 in found and 4 in found and first_inner(source.data, 2).get(1) == LENGTH
    inner = first_inner(source.data, 1)
    return inner.get(1) == LENGTH and inner.get(2) == LENGTH


def is_saved(source: Source) -> bool:
    """True for a SavedModel, a folder or its saved_model.pb."""
    if source.is_folder:
        return _graph_file(source) is not None
    return len(fits(source.data, {1: VARINT, 2: LENGTH})) == 2


def is_text(source: Source) -> bool:
    """True for a graph or a SavedModel written as text."""
    text = source.head.decode("utf-8", "replace")
    return ("node {" in text or "meta_graphs {" in text or "node{" in text) and "op:" in text


def _graph_file(folder: Source) -> Source | None:
    """The file of a SavedModel folder, binary or text."""
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        if (file := folder.beside(name)) is not None and not file.is_folder:
            return file
    return None


def read_graph(source: Source) -> ModelFile:
    """Each node LRN in a frozen graph, a .pb."""
    wire = Wire(source.data)
    return _model(source, [wire.read(_GRAPH)], "TensorFlow graph", _binary_attributes(wire))


def read_saved(source: Source) -> ModelFile:
    """Each node LRN in a SavedModel, also inside its functions."""
    file = _graph_file(source) if source.is_folder else source
    if file is None:
        raise DamagedError("it has no saved_model.pb")
    if file.ending == ".pbtxt":
        return read_text(file, source)
    wire = Wire(file.data)
    graphs = messages(wire.read(_SAVED), "meta_graphs", "graph_def")
    return _model(source, graphs, "TensorFlow SavedModel", _binary_attributes(wire))


def read_text(source: Source, folder: Source | None = None) -> ModelFile:
    """Each node LRN in a .pbtxt, a graph or a SavedModel."""
    message = parse(source.text(PBTXT_LIMIT))
    graphs = messages(message, "meta_graphs", "graph_def") or [message]
    title = "TensorFlow SavedModel" if "meta_graphs" in message else "TensorFlow graph"
    return _model(folder or source, graphs, title, _text_attributes)


Attributes = Callable[[Record], dict[str, Record]]


def _binary_attributes(wire: Wire) -> Attributes:
    def read(node: Record) -> dict[str, Record]:
        return by_key([wire.read(_ATTRIBUTE, span) for span in node.get("attr", ())])

    return read


def _text_attributes(node: Record) -> dict[str, Record]:
    return by_key(messages(node, "attr"))


def by_key(pairs: list[Record]) -> dict[str, Record]:
    """The attributes of a node by name, from its repeated field `attr`."""
    return {
        str(scalar(pair, "key", "")): value for pair in pairs for value in messages(pair, "value")
    }


def _model(source: Source, graphs: list[Record], title: str, attributes: Attributes) -> ModelFile:
    """The LRN nodes of graphs, and a note on gradients."""
    listing = Listing()
    for node, prefix in _nodes(graphs):
        kind = str(scalar(node, "op", ""))
        listing.operators[kind] += 1
        if kind == "LRN":
            name = prefix + str(scalar(node, "name", "LRN"))
            listing.lrns.append(_lrn(name, attributes(node)))
    if gradients := listing.operators["LRNGrad"]:
        text = f"{gradients} LRNGrad belong to the training"
        listing.remarks.append(Remark("gradients", text, NOTE))
    return listing.file(source, title)


def _nodes(graphs: list[Record]) -> Iterator[tuple[Record, str]]:
    """(node, prefix) of every NodeDef: of a node in a function, the prefix is "function/"."""
    for graph in graphs:
        for node in messages(graph, "node"):
            yield node, ""
        for function in messages(graph, "library", "function"):
            owners = [scalar(s, "name", "") for s in messages(function, "signature")]
            for node in messages(function, "node_def"):
                yield node, "".join(f"{owner}/" for owner in owners)


def words_of(attributes: dict[str, Record]) -> dict[str, Any]:
    """The numbers of an LRN node, from its attributes by name."""

    def value(key: str, default: float) -> float:  # one that is there without a value is 0
        return number(attributes[key], "f", 0.0) if key in attributes else default

    radius = integer(attributes["depth_radius"], "i", 0) if "depth_radius" in attributes else 5
    return {
        "depth_radius": radius,
        "alpha": value("alpha", 1.0),
        "beta": value("beta", 0.5),
        "bias": value("bias", 1.0),
    }


def _lrn(name: str, attributes: dict[str, Record]) -> Found:
    """The node with the dtype of its attribute T and the shape of _output_shapes."""
    kind = scalar(attributes.get("T", {}), "type", 1)
    dtype = _TYPES.get(_TYPE_NAMES.get(kind, kind))
    shape = _shape(attributes.get("_output_shapes", {}))
    return lrn(name, "tensorflow", words_of(attributes), -1, shape=shape, dtype=dtype)


def _shape(value: Record) -> Shape:
    """The TensorShapeProto of the only output; a size of -1 is unknown."""
    shapes = messages(value, "list", "shape")
    if len(shapes) != 1 or "unknown_rank" in shapes[0]:
        return None
    sizes = [integer(dim, "size", 0) for dim in messages(shapes[0], "dim")]
    return tuple(None if size < 0 else size for size in sizes)
