"""Writes nodes into a graph in place of one that is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lrnorm.onnx.graph import Scope, free, label


class Writer:
    """Nodes that stand in place of one node, under names that no other has."""

    def __init__(self, scope: Scope, node: NodeProto) -> None:
        self.scope, self.node = scope, node
        self.nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
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
        self._tensors.append(numpy_helper.from_array(array, self._name("number")))
        return self._tensors[-1].name

    def put(self, result: str) -> None:
        """Puts the nodes in place; what the last one gives becomes `result`."""
        self.nodes[-1].output[0] = result
        self.nodes[-1].name = self.nodes[-1].name or label(self.node)
        graph = self.scope.graph
        at = next(i for i, node in enumerate(graph.node) if node.output == self.node.output)
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*rest[:at], *self.nodes, *rest[at + 1 :]])
        graph.initializer.extend(self._tensors)
