"""ONNX: .onnx, the operator LRN wherever it is computed, functions and inner graphs included.

With the package onnx the shapes of inner values are inferred, and LRNs written out in other
operators are found too, by lrnorm.onnx. Without it this file reads what the model itself says.
Source: onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, ValueInfoProto,
FunctionProto); the operator LRN-13: size required, alpha 1e-4, beta 0.75, bias 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lrnorm._spec.errors import ParameterError
from lrnorm.models.found import NOTE, WRITTEN_OUT, Found, ModelFile, Remark, Shape, lrn, unreadable
from lrnorm.models.prototext import messages, scalar
from lrnorm.models.source import DamagedError, Source, decimal32
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, fits

# Fields by the names that onnx.proto gives them, as the package onnx does.
_ATTRIBUTE: dict[int, tuple[str, Any]] = {
    1: ("name", "text"),
    2: ("f", "float"),
    3: ("i", "int"),
    20: ("type", "int"),
    21: ("ref_attr_name", "text"),
}
_NODE: Schema = {
    1: ("input", "text"),
    2: ("output", "text"),
    3: ("name", "text"),
    4: ("op_type", "text"),
    5: ("attribute", _ATTRIBUTE),
    7: ("domain", "text"),
    8: ("overload", "text"),
}
_DIMENSION: Schema = {1: ("value", "int"), 2: ("name", "text")}
_TYPE: Schema = {1: ("tensor", {1: ("kind", "int"), 2: ("shape", {1: ("dim", _DIMENSION)})})}
_INFO: Schema = {1: ("name", "text"), 2: ("type", _TYPE)}
_GRAPH: Schema = {
    1: ("node", _NODE),
    11: ("input", _INFO),
    12: ("output", _INFO),
    13: ("value_info", _INFO),
}
_ATTRIBUTE |= {6: ("g", _GRAPH), 11: ("graphs", _GRAPH)}
_FUNCTION: Schema = {
    1: ("name", "text"),
    7: ("node", _NODE),
    10: ("domain", "text"),
    11: ("attribute_proto", _ATTRIBUTE),
    13: ("overload", "text"),
}
_MODEL: Schema = {7: ("graph", _GRAPH), 25: ("functions", _FUNCTION)}
_MESSAGES = ("graph", "g")  # fields of one message; the rest are scalars or lists
_SCALARS: dict[str, Any] = {"type": 0, "i": 0, "f": 0.0}
_SCALARS |= dict.fromkeys(("name", "op_type", "domain", "overload", "ref_attr_name"), "")
_KNOWN = dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), LENGTH) | {1: VARINT, 5: VARINT}
_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}

DEFAULTS: dict[str, Any] = {"size": None, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
_FLOAT, _INT = (1, "must be a float"), (2, "must be an integer")  # AttributeProto.type
_TYPE_NAMES = dict(enumerate(["FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS"], 1))

MOST_EXPANDED = 20_000  # nodes of functions: one is listed for each call, so few bytes name many
ONNX_DOMAIN = ("", "ai.onnx")


def is_onnx(source: Source) -> bool:
    """True if the fields are those of a ModelProto with a graph."""
    return fits(source.data, _KNOWN).get(7) == LENGTH


def read(source: Source) -> ModelFile:
    """The model as the package onnx sees it, or as it stands in the file."""
    plain = read_plainly(source)
    try:
        from lrnorm.onnx import graph
    except ImportError:
        return plain
    return _with_onnx(source, plain, graph)


def read_plainly(source: Source) -> ModelFile:
    """The model as it stands in the file, without the package onnx."""
    model = Wire(source.data).read(_MODEL)
    if "graph" not in model:
        raise DamagedError("it has no graph")
    walk = Walk(_Message(model), most=MOST_EXPANDED)
    lrns = (_lrn(path, at) for path, at in walk.found.items())
    return ModelFile(str(source.path), "ONNX model", tuple(lrns), walk.operators)


class _Message:
    """A record under the fields of onnx.proto, so that one walk serves it and the package onnx."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def HasField(self, name: str) -> bool:  # noqa: N802 - the name that protobuf has
        return name in self.record

    def __getattr__(self, name: str) -> Any:
        values = self.record.get(name, [])
        if name in _SCALARS:
            return scalar(self.record, name, _SCALARS[name])
        if name not in _MESSAGES:
            return [_Message(v) if isinstance(v, dict) else v for v in values]
        whole: Record = {}  # a message that comes in parts
        for part in values:
            for field, more in part.items():
                whole[field] = [*whole.get(field, ()), *more]
        return _Message(whole)


class Located(NamedTuple):
    """An LRN node where it is computed. One in a function is found once for each call of it, with
    that call's attributes in place of references; a reference outside functions stays."""

    node: Any
    attributes: Mapping[str, Any]
    info: Any = None  # what the graphs around it say of its input


class Walk:
    """Every LRN of a model that is computed, by its path, in the order of the model; and how often
    each operator is. The model is a ModelProto of the package onnx, or reads like one.

    Errors: DamagedError for a function that calls itself, and for more than `most` nodes in
    functions.
    """

    def __init__(self, model: Any, most: float = math.inf) -> None:
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self.found: dict[str, Located] = {}
        self.operators: Counter[str] = Counter()
        self.most, self.expanded = most, 0
        self.numbers: dict[str, int] = {}  # path → the last number given to it
        self._graph(model.graph, "", None, {}, frozenset())

    def _graph(
        self,
        graph: Any,
        prefix: str,
        given: Mapping[str, Any] | None,
        outer: Mapping[str, Any],
        inside: frozenset[Any],
    ) -> None:
        infos = {i.name: i for i in (*graph.input, *graph.value_info, *graph.output)}
        self._nodes(graph.node, prefix, given, {**outer, **infos}, inside)

    def _nodes(
        self,
        nodes: Sequence[Any],
        prefix: str,
        given: Mapping[str, Any] | None,
        infos: Mapping[str, Any],
        inside: frozenset[Any],
    ) -> None:
        """The nodes of a graph or function, and of the graphs inside them.

        `given` holds the attributes of the call whose function this is, None outside of functions;
        `infos` what the graphs around say of values, and `inside` the functions that are being
        expanded.
        """
        if len(inside) > 40 or prefix.count("/") > 100:
            raise DamagedError("it has too many graphs inside each other")
        self.expanded += len(nodes) if inside else 0
        if self.expanded > self.most:
            raise DamagedError(f"its functions expand to more than {self.most} nodes")
        self.operators.update(node.op_type for node in nodes)
        for name, node in holders(nodes, self.functions):
            path, key = prefix + name, _key(node)
            attributes = _resolved(node, given)
            if key in self.functions:
                if key in inside:
                    rule = f"calls itself, at {path}, and ONNX allows no recursion"
                    raise DamagedError(f"function {node.op_type!r} {rule}")
                function = self.functions[key]
                defaults = {a.name: a for a in function.attribute_proto}
                self._nodes(function.node, f"{path}/", defaults | attributes, {}, inside | {key})
            elif _is_lrn(node):
                info = infos.get(next(iter(node.input), ""))
                self.found[self._free(path)] = Located(node, attributes, info)
            for part, graph in graphs_of(node):
                self._graph(graph, f"{path}/{part}/", given, infos, inside)

    def _free(self, path: str) -> str:
        """The path, numbered where another node has it already."""
        name, number = path, self.numbers.get(path, 1)
        while name in self.found:
            number += 1
            name = f"{path} ({number})"
        self.numbers[path] = number
        return name


def holders(nodes: Iterable[Any], functions: Container[Any]) -> list[tuple[str, Any]]:
    """The nodes that are an LRN or may hold one, each with its name in the path."""
    some = [n for n in nodes if _is_lrn(n) or _key(n) in functions or any(graphs_of(n))]
    return list(zip(labels(some), some, strict=True))


def graphs_of(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs inside a node, such as the branches of an If, by the name of the attribute."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for i, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}[{i}]", graph


def label(node: Any) -> str:
    """How a node is called: by its name, or by its output where it has none."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def labels(nodes: Iterable[Any]) -> list[str]:
    """Names that tell the nodes of one graph apart: a doubled one gets its output's name too."""
    nodes = list(nodes)
    names = [label(node) for node in nodes]
    times = Counter(names)
    return [
        name if times[name] == 1 else f"{name}:{''.join(node.output[:1])}"
        for name, node in zip(names, nodes, strict=True)
    ]


def _is_lrn(node: Any) -> bool:
    return node.op_type == "LRN" and node.domain in ONNX_DOMAIN


def _key(node: Any) -> tuple[str, str, str]:
    return node.domain, node.op_type, node.overload


def _resolved(node: Any, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A node's attributes, references replaced by what the call gives: left out, where it gives
    nothing, as ONNX has it."""
    attributes = {}
    for attribute in node.attribute:
        reference = attribute.ref_attr_name
        if not reference or given is None:
            attributes[attribute.name] = attribute
        elif reference in given:
            attributes[attribute.name] = given[reference]
    return attributes


def words_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """size, alpha, beta and bias as an LRN node has them. A size that it lacks is None.

    Errors: ParameterError for an attribute of another type, and for a reference that is left.
    """
    words = dict(DEFAULTS)
    for word in [word for word in words if word in attributes]:
        attribute = attributes[word]
        kind, rule = _INT if word == "size" else _FLOAT
        if attribute.ref_attr_name:
            raise ParameterError(
                word,
                f"refers to {attribute.ref_attr_name!r}, an attribute of a function, but is in no "
                "function",
                way_out="Give the node a number.",
            )
        if attribute.type not in (kind, 0):  # the first version of the format has no types
            raise ParameterError(
                word,
                rule,
                got=f"an attribute of type {_TYPE_NAMES.get(attribute.type, attribute.type)}",
                way_out="Export the model again.",
            )
        words[word] = attribute.i if word == "size" else decimal32(attribute.f)
    return words


def _lrn(path: str, located: Located) -> Found:
    """An LRN as its file has it; unreadable where an attribute has a wrong type."""
    shape, dtype = _kind({} if located.info is None else located.info.record)
    try:
        words = words_of(located.attributes)
    except ParameterError as error:
        text = str(error.advising("")).rstrip(".")
        return unreadable(path, text, code="bad_parameter", shape=shape, dtype=dtype)
    return lrn(path, "onnx", words, 1, shape=shape, dtype=dtype)


def _kind(info: Record) -> tuple[Shape, str | None]:
    """Shape and dtype of a ValueInfoProto."""
    for tensor in messages(info, "type", "tensor"):
        shapes = messages(tensor, "shape")
        shape = tuple(_size(d) for d in messages(shapes[0], "dim")) if shapes else None
        return shape, _TYPES.get(scalar(tensor, "kind"))
    return None, None


def _size(dimension: Record) -> int | str | None:
    """A Dimension: its dim_value, or the name of its dim_param."""
    size: int | str | None = scalar(dimension, "value" if "value" in dimension else "name")
    return size


def _with_onnx(source: Source, plain: ModelFile, graph: Any) -> ModelFile:
    """The same with inferred shapes, and then the LRNs written out in other operators."""
    from lrnorm.onnx import chains

    proto, folder = graph.opened(source.path)
    inputs = {
        id(node): (scope.sizes(name), scope.dtype(name))
        for scope in graph.scopes(proto, folder)
        for node in scope.nodes
        if graph.is_op(node, "LRN")
        for name in node.input[:1]
    }
    kinds = {path: inputs.get(id(f.node)) for path, f in graph.lrn_nodes(proto).items()}
    found = [
        replace(entry, shape=kind[0], dtype=kind[1]) if (kind := kinds.get(entry.name)) else entry
        for entry in plain.lrns
    ]
    for path, chain in chains(source.path).items():
        fate = "lrnorm.onnx.fuse(model) makes it one"
        if chain.why_not is not None:
            fate = f"it stays so, because {chain.why_not}"
        text = f"an LRN written out as {chain.nodes} nodes: {fate}"
        remark = Remark("written_out", text, NOTE)
        found.append(
            Found(
                path,
                None,
                {},
                chain.spec,
                chain.axis,
                chain.shape,
                chain.dtype,
                (remark,),
                chain.nodes,
            )
        )
    return replace(plain, lrns=tuple(found), searched=WRITTEN_OUT)
