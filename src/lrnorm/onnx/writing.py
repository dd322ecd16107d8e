"""Writes nodes into a graph in place of others, or into a model of their own."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from lrnorm.onnx.graph import Scope, free


class Writer:
    """Nodes that stand in place of one node, under names that no other has."""

    def __init__(self, scope: Scope, node: NodeProto) -> None:
        self.scope, self.node = scope, node
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self._taken: dict[str, Any] = {**scope.producers, **scope.uses, **scope.initializers}
        self._dtype = scope.dtype(node.input[0])

    def _name(self, word: str) -> str:
        name = free(f"{self.node.output[0]}/{word}", self._taken)
        self._taken[name] = None
        return name

    def make(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """A node of these inputs, names or constants; returns the name of its result."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        name = self._name(kind.lower())
        self.nodes.append(helper.make_node(kind, names, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        """Floats in the type of the input; integers as they are."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(np.dtype(self._dtype))
        self.tensors.append(numpy_helper.from_array(array, self._name("number")))
        return self.tensors[-1].name

    def in_four_axes(self, x: str, rank: int, write: Callable[[str], str]) -> str:
        """What `write` makes of x with the axes after its second folded, in the shape of x."""
        if rank == 4:
            return write(x)
        y = write(self.make("Reshape", x, [0, 0, -1, 1] if rank > 2 else [0, 0, 1, 1]))
        return self.make("Reshape", y, self.make("Shape", x))

    def ends_as(self, result: str) -> None:
        """What the last node gives becomes `result`."""
        self.nodes[-1].output[0] = result


def replaced(
    nodes: Iterable[NodeProto], writers: Iterable[Writer], gone: Container[int] = ()
) -> list[NodeProto]:
    """The nodes with those of the writers in their places, and without those whose id is gone."""
    new = {id(writer.node): writer.nodes for writer in writers}
    return [
        made for node in nodes for made in new.get(id(node), [] if id(node) in gone else [node])
    ]


def put(graph: GraphProto, nodes: Iterable[NodeProto], writers: Iterable[Writer]) -> None:
    """Gives the graph these nodes, and the constants of the writers."""
    new = list(nodes)
    del graph.node[:]
    graph.node.extend(new)
    graph.initializer.extend(tensor for writer in writers for tensor in writer.tensors)


def part_of(
    whole: ModelProto,
    nodes: Iterable[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    tensors: Iterable[Any],
) -> ModelProto:
    """Some nodes of a model as a model of their own, with the operator sets and functions of the
    whole, for runtimes that know no newer version of the format than 10."""
    graph = helper.make_graph(list(nodes), "part", inputs, outputs)
    for tensor in tensors:
        dense = isinstance(tensor, TensorProto)
        (graph.initializer if dense else graph.sparse_initializer).append(tensor)
    return helper.make_model(
        graph,
        opset_imports=whole.opset_import,
        ir_version=min(whole.ir_version or 8, 10),
        functions=whole.functions,
    )
