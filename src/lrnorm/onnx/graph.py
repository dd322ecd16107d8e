"""ONNX models opened and walked: where an LRN stands, what a value's shape is, who reads it."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from lrnorm._spec.errors import FileError, KindError, ParameterError
from lrnorm.files.atomic import PathLike
from lrnorm.files.checks import reading
from lrnorm.models.onnx import ONNX_DOMAIN, Located, Walk, graphs_of, holders
from lrnorm.models.source import DamagedError

Model = ModelProto | bytes | PathLike
Array = npt.NDArray[Any]

_INPUTS = {"Constant": 0, "Div": 2, "Mul": 2, "Pow": 2, "Sub": 2}  # at least; 1 of the others


def opened(model: Model) -> tuple[ModelProto, str]:
    """The model, and the folder that its external data stand in. The data are not loaded."""
    folder, name = "", "the model"
    if isinstance(model, ModelProto):
        found = model
    elif isinstance(model, bytes):
        try:
            found = ModelProto.FromString(model)
        except Exception as error:
            rule = f"are not an ONNX model: {error}"
            raise FileError("the bytes", rule, way_out="They may be cut short.") from error
    elif isinstance(model, (str, os.PathLike)):
        source = Path(model)
        folder, name = str(source.parent), str(source)
        with reading(source, ".onnx"):
            found = onnx.load(source, load_external_data=False)
    else:
        raise KindError(
            "model",
            "must be a path, bytes or an onnx.ModelProto",
            value=model,
            got=type(model).__qualname__,
            way_out="onnx.load(path) gives a ModelProto.",
        )
    if not found.HasField("graph"):
        rule = "is not an ONNX model: it has no graph"
        raise FileError(name, rule, way_out="It may be cut short.")
    return found, folder


def copied(model: Model) -> tuple[ModelProto, str]:
    """A copy that may be changed, and the folder that its external data stand in."""
    found, folder = opened(model)
    copy = ModelProto()
    copy.CopyFrom(found)
    return copy, folder


def with_data(model: ModelProto, source: Model, folder: str) -> ModelProto:
    """The model that stands wherever it is saved: what its file kept outside is read in. A
    ModelProto or bytes keep their references as they are."""
    if isinstance(source, (str, os.PathLike)):
        try:
            onnx.load_external_data_for_model(model, folder)
        except Exception as error:
            raise FileError(
                f"the external data of {source}",
                f"cannot be read: {' '.join(str(error).split())}",
                way_out="They must stand beside the model.",
            ) from error
    return model


def described(name: str, dtype: str, sizes: Sequence[Any] | None) -> onnx.ValueInfoProto:
    """A value of a type that NumPy has, as a model declares it."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, sizes)


def declared_sizes(tensor: Any) -> tuple[int | str | None, ...] | None:
    """The shape in a tensor's type, None for a size or a rank that it does not tell."""
    if tensor is None or not tensor.HasField("shape"):
        return None
    dims = tensor.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims)


def is_op(node: NodeProto, kind: str) -> bool:
    """Whether it is that operator of the standard, with the inputs and the output it must have."""
    known = node.op_type == kind and node.domain in ONNX_DOMAIN
    return known and len(node.input) >= _INPUTS.get(kind, 1) and len(node.output) > 0


def free(path: str, taken: Mapping[str, Any]) -> str:
    """The path, numbered where another node has it already."""
    others = (f"{path} ({i})" for i in itertools.count(2))
    return next(name for name in itertools.chain([path], others) if name not in taken)


def lrn_nodes(model: ModelProto) -> dict[str, Located]:
    """Every LRN node that is computed, by its path, in the order of the model."""
    try:
        found = Walk(model).found
    except DamagedError as error:
        rule = f"cannot be read: {error}"
        raise ParameterError("the model", rule, way_out="Export the model again.") from error
    return {path: located for path, located in found.items() if is_op(located.node, "LRN")}


def attribute_value(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute of a node; `default` where it has none of that name."""
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def reads(node: NodeProto) -> Counter[str]:
    """The values around it that a node reads, those that graphs inside it read or pass on
    included."""
    names = Counter(filter(None, node.input))
    for _, graph in graphs_of(node):
        inner = all_reads(graph.node, graph)
        own = [name for maker in graph.node for name in maker.output]
        for name in (*own, *(v.name for v in graph.input), *(t.name for t in graph.initializer)):
            del inner[name]
        names.update(inner)
    return names


def all_reads(nodes: Iterable[NodeProto], graph: GraphProto) -> Counter[str]:
    """What those nodes of a graph read, and what the graph gives."""
    names = Counter(output.name for output in graph.output)
    for node in nodes:
        names.update(reads(node))
    return names


def renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    """A copy that reads and gives values of other names, in graphs inside it too."""
    alone = helper.make_graph([node], "", [], [])
    onnx.compose.add_prefix_graph(alone, "", rename_edges=False, inplace=True, name_map=dict(names))
    new: NodeProto = alone.node[0]
    return new


def anonymous(nodes: Iterable[NodeProto], names: dict[str, str]) -> list[NodeProto]:
    """Copies in which nothing depends on the names of nodes and values, equal for subgraphs that
    compute the same. Into `names` come those that the values get."""
    nodes = list(nodes)
    for node in nodes:
        for name in filter(None, (*reads(node), *node.output)):
            names.setdefault(name, f"v{len(names)}")
    copies = [renamed(node, names) for node in nodes]
    for copy in copies:
        copy.name = copy.doc_string = ""
        copy.attribute.sort(key=lambda attribute: attribute.name)
    return copies


def needed(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """The nodes, each after those whose values it reads, without which these values cannot be
    had."""
    names, kept = set(wanted), []
    for node in reversed(nodes):
        if names.intersection(node.output):
            kept.append(node)
            names.update(reads(node))
    return kept[::-1]


def ordered(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes, each after those whose values it reads: ONNX demands it, some files do not."""
    places = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    waits = {
        at: {places[name] for name in reads(node) if name in places} - {at}
        for at, node in enumerate(nodes)
    }
    if any(max(wait, default=-1) > at for at, wait in waits.items()):
        with contextlib.suppress(CycleError):
            return [nodes[at] for at in TopologicalSorter(waits).static_order()]
    return list(nodes)


class Scope:
    """A graph with what is known of its values: producer, readers, type, shape, constant value."""

    def __init__(
        self, graph: GraphProto, inferred: GraphProto, prefix: str, folder: str, outer: Scope | None
    ) -> None:
        self.graph, self.prefix, self.folder = graph, prefix, folder
        self.nodes = ordered(graph.node)
        self.producers: dict[str, NodeProto] = {
            name: node for node in self.nodes for name in node.output if name
        }
        self.uses = all_reads(self.nodes, graph)
        fed = {value.name: None for value in graph.input}
        self.initializers = {t.name: t for t in graph.initializer if t.name not in fed}
        described = (*inferred.input, *inferred.value_info, *inferred.output)
        own = {value.name: value.type.tensor_type for value in described}
        # Those of the graphs around it are seen too. An input's initializer is only its default.
        self._types: ChainMap[str, Any] = ChainMap(own, outer._types if outer else {})
        makers: dict[str, Any] = {**fed, **self.producers, **self.initializers}
        self._makers: ChainMap[str, Any] = ChainMap(makers, outer._makers if outer else {})

    def dtype(self, name: str) -> str | None:
        """NumPy's name of a value's type, where it is known."""
        kind = self._types.get(name)
        if kind is None or not kind.elem_type:
            return None
        return helper.tensor_dtype_to_np_dtype(kind.elem_type).name

    def sizes(self, name: str) -> tuple[int | str, ...] | None:
        """A value's shape, where its rank is known: an unknown size has a name, and sizes of one
        name are equal."""
        sizes = declared_sizes(self._types.get(name))
        if sizes is None:
            return None
        return tuple(f"{name}[{i}]" if n is None else n for i, n in enumerate(sizes))

    def value(self, name: str) -> Array | None:
        """A constant, or a shape, in which names stand for the sizes that depend on the input; None
        for any other value."""
        maker = self._makers.get(name)
        if isinstance(maker, NodeProto):
            return self._computed(maker)
        return None if maker is None else _array(maker, self.folder)

    def constant(self, name: str) -> Array | None:
        """A value that is the same whatever the inputs, and that no node of this graph makes."""
        value = None if name in self.producers else self.value(name)
        return None if value is None or value.dtype == object else value

    def _computed(self, node: NodeProto) -> Array | None:
        if is_op(node, "Constant"):
            return _constant(node, self.folder)
        sizes = self.sizes(node.input[0]) if is_op(node, "Shape") else None
        if sizes is None:
            return None
        part = slice(attribute_value(node, "start", 0), attribute_value(node, "end"))
        return np.array(sizes, dtype=object)[part]


def _array(tensor: onnx.TensorProto, folder: str) -> Array | None:
    try:
        return numpy_helper.to_array(tensor, folder)
    except Exception:  # external data that are not there: then the value is not known
        return None


def _constant(node: NodeProto, folder: str) -> Array | None:
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return _array(value, folder)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(value, dtype=np.int64)
        if attribute.name in ("value_float", "value_floats"):
            return np.array(value, dtype=np.float32)
    return None


def scopes(model: ModelProto, folder: str) -> list[Scope]:
    """The graph of the model and the graphs inside it, outer ones first, with inferred shapes.
    Functions have none: their shapes depend on the call."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # an unknown operator, or over 2 GB: what the model itself says remains
        inferred = model
    functions = {(f.domain, f.name, f.overload) for f in model.functions}
    found: list[Scope] = []

    def walk(graph: GraphProto, known: GraphProto, prefix: str, outer: Scope | None) -> None:
        scope = Scope(graph, known, prefix, folder, outer)
        found.append(scope)
        twins = holders(known.node, functions)
        for (name, node), (_, twin) in zip(holders(graph.node, functions), twins, strict=True):
            for (part, inner), (_, described) in zip(graphs_of(node), graphs_of(twin), strict=True):
                walk(inner, described, f"{prefix}{name}/{part}/", scope)

    walk(model.graph, inferred.graph, "", None)
    return found
