"""A net with the nets inside it laid open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lrnorm._information import Facts, Inner, Link, Path, Shape
from lrnorm.net._nodes import Node, input_names
from lrnorm.net._ports import Claim, Source, port_of
from lrnorm.net._running import Flat
from lrnorm.net._wiring import Name, Wiring


class Open(NamedTuple):
    """All that follows from the layers and the wiring, but for the shapes."""

    flat: Flat
    named: Mapping[Path, Source]  # what NetPort(*path) reads
    parts: Mapping[Path, Inner]  # nets inside, by path
    claims: tuple[Claim, ...]  # what nets inside know of shapes


def laid_open(layers: Mapping[Name, Any], nodes: Mapping[Name, Node], wiring: Wiring) -> Open:
    """`nodes` has the rules of those layers that are no nets; those that are know themselves."""
    flat_nodes: dict[Path, Node] = {}
    feeds: dict[Path, tuple[Source, ...]] = {}
    made: dict[Source, Source] = {((), port): ((), port) for port in wiring.inputs}
    named: dict[Path, Source] = {}
    parts: dict[Path, Inner] = {}
    claims: list[Claim] = []
    for name in wiring.order:
        sources = tuple(made[source] for source in wiring.feeds[name])
        if name in nodes:
            node = nodes[name]
            flat_nodes[(name,)], feeds[(name,)] = node, sources
            inputs, own = input_names(node.inputs, len(sources)), {}
            outputs: dict[str, Source] = {port: ((name,), port) for port in node.outputs}
        else:
            net = layers[name]
            fed = dict(zip(net._open.flat.inputs, sources, strict=True))

            def lifted(source: Source, name: Name = name, fed: Any = fed) -> Source:
                path, port = source
                return ((name, *path), port) if path else fed[port]

            for path, node in net._open.flat.nodes.items():
                flat_nodes[name, *path] = node
                feeds[name, *path] = tuple(map(lifted, net._open.flat.feeds[path]))
            whole = Inner(type(net).__name__, {p: ((), p) for p in fed}, net._open.flat.outputs)
            for path, (kind, *ports) in ({(): whole} | dict(net._open.parts)).items():
                taken, given = ({p: lifted(s) for p, s in some.items()} for some in ports)
                parts[name, *path] = Inner(kind, taken, given)
            claims += [
                Claim(lifted(source), shape, port_of((name, *source[0]), source[1]))
                for source, shape in net._shapes.items()
            ]
            own = {path: lifted(source) for path, source in net._open.named.items()}
            inputs = net._open.flat.inputs
            outputs = {port: lifted(s) for port, s in net._open.flat.outputs.items()}
        made |= {((name,), port): source for port, source in outputs.items()}
        if len(outputs) == 1:
            named[(name,)] = next(iter(outputs.values()))
        for port, source in (*outputs.items(), *zip(inputs, sources, strict=True)):
            named.setdefault((name, port), source)
        for path, source in own.items():
            named.setdefault((name, *path), source)
    ends = {port: made[source] for port, source in wiring.outputs.items()}
    named |= {(port,): source for port, source in ends.items()}
    for port in wiring.inputs:
        named.setdefault((port,), ((), port))
    flat = Flat(flat_nodes, feeds, wiring.inputs, ends)
    return Open(flat, named, parts, tuple(claims))


def facts_of(kind: str, expression: str, opened: Open, shapes: Mapping[Source, Shape]) -> Facts:
    """What `information` asks for."""
    flat = opened.flat
    links = [
        Link(source[0] or None, path, source[1], port, shapes.get(source))
        for path, node in flat.nodes.items()
        for source, port in zip(
            flat.feeds[path], input_names(node.inputs, len(flat.feeds[path])), strict=True
        )
    ]
    links += [
        Link(path, None, own, port, shapes.get((path, own)))
        for port, (path, own) in flat.outputs.items()
    ]
    return Facts(
        type=kind,
        expression=expression,
        leaves={path: node.leaf() for path, node in flat.nodes.items()},
        links=tuple(links),
        arrays={
            (*path, *name): array
            for path, node in flat.nodes.items()
            for name, array in node.arrays().items()
        },
        input_ports={port: shapes.get(((), port)) for port in flat.inputs},
        output_ports={port: shapes.get(source) for port, source in flat.outputs.items()},
        parts=opened.parts,
    )
