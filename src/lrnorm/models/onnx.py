"""ONNX: .onnx, the operator LRN wherever it is computed, functions and inner graphs included.

With the package onnx the shapes of inner values are inferred, and LRNs written out in other
operators are found too, by lrnorm.onnx. Without it this file reads what the model itself says.
Source: onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, ValueInfoProto,
FunctionProto); the operator LRN-13: size required, alpha 1e-4, beta 0.75, bias 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lrnorm.models.found import NOTE, WRITTEN_OUT, Found, ModelFile, Remark, Shape, lrn, unreadable
from lrnorm.models.prototext import messages, number, scalar
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, fits

_ATTRIBUTE: dict[int, tuple[str, Any]] = {
    1: ("name", "text"),
    2: ("f", "float"),
    3: ("i", "int"),
    20: ("type", "int"),
    21: ("reference", "text"),
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
    11: ("info", _INFO),
    12: ("info", _INFO),
    13: ("info", _INFO),
}
_ATTRIBUTE |= {6: ("graph", _GRAPH), 11: ("graphs", _GRAPH)}
_FUNCTION: Schema = {
    1: ("name", "text"),
    7: ("node", _NODE),
    10: ("domain", "text"),
    11: ("default", _ATTRIBUTE),
    13: ("overload", "text"),
}
_MODEL: Schema = {7: ("graph", _GRAPH), 25: ("function", _FUNCTION)}
_KNOWN = dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), LENGTH) | {1: VARINT, 5: VARINT}
_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_FLOAT, _INT = 1, 2  # AttributeProto.type

MOST_EXPANDED = 20_000  # nodes of functions: one is listed for each call, so few bytes name many
_ONNX = ("", "ai.onnx")


def is_onnx(source: Source) -> bool:
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
    return _Walk(model).result(str(source.path))


class _Walk:
    """Every LRN that is computed, under the path that lrnorm.onnx gives it."""

    def __init__(self, model: Record) -> None:
        self.functions = {self._key(f, "name"): f for f in messages(model, "function")}
        self.found: dict[str, Found] = {}
        self.operators: Counter[str] = Counter()
        self.expanded = 0
        self.numbers: dict[str, int] = {}  # path → the last number given to it
        for graph in messages(model, "graph"):
            self._nodes(messages(graph, "node"), "", None, {}, graph, frozenset())

    def result(self, path: str) -> ModelFile:
        return ModelFile(path, "ONNX model", tuple(self.found.values()), self.operators)

    @staticmethod
    def _key(record: Record, name: str) -> tuple[str, str, str]:
        return tuple(str(scalar(record, k, "")) for k in ("domain", name, "overload"))  # type: ignore[return-value]

    def _nodes(
        self,
        nodes: list[Record],
        prefix: str,
        given: Mapping[str, Record] | None,
        outer: Mapping[str, Record],
        graph: Record,
        inside: frozenset[tuple[str, str, str]],
    ) -> None:
        """The nodes of a graph or function, and of the graphs inside them.

        `given` holds the attributes of the call whose function this is, None outside of functions;
        `outer` the value infos of the graphs around, and `inside` the functions that are being
        expanded.
        """
        if len(inside) > 40 or prefix.count("/") > 100:
            raise DamagedError("it has too many graphs inside each other")
        self.expanded += len(nodes) if inside else 0
        if self.expanded > MOST_EXPANDED:
            raise DamagedError(f"its functions expand to more than {MOST_EXPANDED} nodes")
        infos = {**outer, **{str(scalar(i, "name", "")): i for i in messages(graph, "info")}}
        holders = [node for node in nodes if self._holds(node)]
        for node in nodes:
            self.operators[str(scalar(node, "op_type", ""))] += 1
        for label, node in zip(_labels(holders), holders, strict=True):
            key = self._key(node, "op_type")
            attributes = _resolved(node, given)
            if key in self.functions:
                if key in inside:
                    raise DamagedError(f"function {key[1]!r} calls itself, at {prefix}{label}")
                function = self.functions[key]
                defaults = {str(scalar(a, "name", "")): a for a in messages(function, "default")}
                inner = messages(function, "node")
                self._nodes(
                    inner, f"{prefix}{label}/", {**defaults, **attributes}, {}, {}, inside | {key}
                )
            elif self._is_lrn(node):
                path = self._free(prefix + label)
                value = str(next(iter(node.get("input", ())), ""))
                self.found[path] = _lrn(path, attributes, *_kind(infos.get(value, {})))
            for attribute in messages(node, "attribute"):
                name = str(scalar(attribute, "name", ""))
                parts = [(name, g) for g in messages(attribute, "graph")]
                parts += [(f"{name}[{i}]", g) for i, g in enumerate(messages(attribute, "graphs"))]
                for part, g in parts:
                    self._nodes(
                        messages(g, "node"), f"{prefix}{label}/{part}/", given, infos, g, inside
                    )

    def _free(self, path: str) -> str:
        """The path, numbered where another node has it already."""
        name, number = path, self.numbers.get(path, 1)
        while name in self.found:
            number += 1
            name = f"{path} ({number})"
        self.numbers[path] = number
        return name

    def _is_lrn(self, node: Record) -> bool:
        return scalar(node, "op_type") == "LRN" and scalar(node, "domain", "") in _ONNX

    def _holds(self, node: Record) -> bool:
        return (
            self._is_lrn(node)
            or self._key(node, "op_type") in self.functions
            or any("graph" in a or "graphs" in a for a in messages(node, "attribute"))
        )


def _labels(nodes: list[Record]) -> list[str]:
    """The node's name, or that of its output; a name that occurs twice gets its output's too."""
    outputs = [next((str(o) for o in node.get("output", ()) if o), "") for node in nodes]
    names = [
        str(scalar(node, "name", "") or output or scalar(node, "op_type", ""))
        for node, output in zip(nodes, outputs, strict=True)
    ]
    times = Counter(names)
    return [n if times[n] == 1 else f"{n}:{o}" for n, o in zip(names, outputs, strict=True)]


def _resolved(node: Record, given: Mapping[str, Record] | None) -> dict[str, Record]:
    """Attributes by name; one that refers to an attribute of the function has the call's value."""
    attributes = {}
    for attribute in messages(node, "attribute"):
        reference = str(scalar(attribute, "reference", ""))
        name = str(scalar(attribute, "name", ""))
        if not reference:
            attributes[name] = attribute
        elif given is not None and reference in given:
            attributes[name] = given[reference]
    return attributes


def _lrn(path: str, attributes: dict[str, Record], shape: Shape, dtype: str | None) -> Found:
    """The attributes size, alpha 1e-4, beta 0.75 and bias 1; unreadable with a wrong type."""
    words: dict[str, Any] = {"size": None, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    for word, default in words.items():
        attribute = attributes.get(word)
        if attribute is None:
            continue
        kind = _INT if word == "size" else _FLOAT
        if scalar(attribute, "type", kind) != kind:
            text = f"{word} must be {'an integer' if kind == _INT else 'a float'} and is not"
            return unreadable(path, text, code="bad_parameter", shape=shape, dtype=dtype)
        words[word] = (
            scalar(attribute, "i", 0) if word == "size" else number(attribute, "f", default and 0.0)
        )
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
