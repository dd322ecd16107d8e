"""The ONNX model of a net as a picture: its operators, with ports and shapes."""

from __future__ import annotations

from typing import Any

from lrnorm._layers.structure import Structure
from lrnorm._report.rendering import Arrow, Box, Drawing
from lrnorm.onnx.graph import reads, scopes
from lrnorm.onnx.node_graph import model_of


def drawing_of(facts: Structure) -> Drawing:
    """The operators of the model that a net is, constants left out."""
    model = model_of(facts)
    graph, scope = model.graph, scopes(model, "")[0]
    boxes: dict[Any, Box] = {("input", v.name): Box((v.name,), "port") for v in graph.input}
    makers: dict[str, Any] = {v.name: ("input", v.name) for v in graph.input}
    arrows = []

    def lead(name: str, target: Any) -> None:
        if name in makers:
            sizes = scope.sizes(name) or ()
            text = " × ".join(str(n) if isinstance(n, int) else "?" for n in sizes[1:])
            arrows.append(Arrow(makers[name], target, text))

    for i, node in enumerate(graph.node):
        if node.op_type == "Constant":
            continue
        lines = (node.name, node.op_type) if node.name else (node.op_type,)
        boxes["node", i] = Box(lines, "layer")
        makers |= {name: ("node", i) for name in node.output if name}
        for name in reads(node):
            lead(name, ("node", i))
    for v in graph.output:
        boxes["output", v.name] = Box((v.name,), "port")
        lead(v.name, ("output", v.name))
    return Drawing(boxes, tuple(arrows))
