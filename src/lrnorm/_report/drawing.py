"""A net as a picture: its layers, or its layers' layers, with ports and shapes."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

from lrnorm._layers.shapes import Shape, shape_text
from lrnorm._layers.structure import Path, Structure
from lrnorm._report.rendering import Arrow, Box, Drawing


def drawn(structure: Structure, depth: int | None) -> Drawing:
    """The layers down to that depth of nesting, None for all, with ports and shapes."""
    boxes: dict[Any, Box] = {
        ("input", port): Box((port,), "port") for port in structure.input_ports
    }
    for path, leaf in structure.leaves.items():
        top = path[:depth]
        kind = structure.parts[top].type if top in structure.parts else leaf.type
        lines = (" / ".join(map(str, top)), kind) if top else (kind,)
        boxes[("layer", top)] = Box(lines, "net" if top in structure.parts else "layer")
    boxes |= {("output", port): Box((port,), "port") for port in structure.output_ports}
    arrows: dict[Any, tuple[str, Arrow]] = {}
    for link in structure.links:
        value = link.source or (), link.source_port
        source, target = link.source and link.source[:depth], link.target and link.target[:depth]
        ends = (
            ("input", link.source_port) if source is None else ("layer", source),
            ("output", link.target_port) if target is None else ("layer", target),
        )
        if ends[0] == ends[1]:
            continue
        tail, head = link.source_port, link.target_port
        if source is not None and source in structure.parts:
            tail = _port_of(value, structure.parts[source].outputs)
        if target is not None and target in structure.parts:
            head = _port_of(value, structure.parts[target].inputs)
        arrows[*ends, tail, head] = tail, Arrow(*ends, _known(link.shape), head)
    return Drawing(*_named(boxes, list(arrows.values())))


def _port_of(value: tuple[Path, str], ports: Mapping[str, tuple[Path, str]]) -> str:
    return ", ".join(port for port, its in ports.items() if its == value)


def _named(boxes: dict[Any, Any], arrows: list[Any]) -> tuple[dict[Any, Any], tuple[Any, ...]]:
    """With the names of ports where a layer has several, and without that of an only one."""
    outs, ins = collections.defaultdict(set), collections.defaultdict(set)
    for tail, arrow in arrows:
        outs[arrow.source].add(tail)
        ins[arrow.target].add(arrow.head)
    giving, taking = (
        {key for key, names in ports.items() if len(names) > 1 and boxes[key].kind != "port"}
        for ports in (outs, ins)
    )
    found = tuple(
        arrow._replace(
            text=": ".join(filter(None, (tail * (arrow.source in giving), arrow.text))),
            head=arrow.head * (arrow.target in taking),
        )
        for tail, arrow in arrows
    )
    for key in giving:
        texts = dict.fromkeys(arrow.text for arrow in found if arrow.source == key)
        boxes[key] = boxes[key]._replace(gives=tuple(texts))
    for key in taking:
        heads = dict.fromkeys(arrow.head for arrow in found if arrow.target == key)
        boxes[key] = boxes[key]._replace(takes=tuple(heads))
    return boxes, found


def _known(shape: Shape | None) -> str:
    return shape_text(shape) if shape is not None and set(shape) - {None} else ""
