"""A net flattened: the layers of nets inside it in place of these nets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lrnorm._layers.shapes import Shape
from lrnorm._layers.structure import Inner, Link, Path, Structure
from lrnorm.net.nodes import NetNode, Node
from lrnorm.net.ports import Claim, Source, Wiring, port_of

# "input" or "output" → port → the shape that was said when the net was made.
Declared = Mapping[str, Mapping[str, Shape]]


class Flattened(NamedTuple):
    """All that follows from the layers and the edges, but for the shapes."""

    wiring: Wiring
    named: dict[Path, Source]  # what NetPort(*path) reads
    parts: dict[Path, Inner]  # nets inside, by path
    claims: list[Claim]  # what is declared of ports, of nets inside too


def flattened(wiring: Wiring, declared: Declared, depth: int | None = None) -> Flattened:
    """A net with the layers of the nets inside in place of these, down to `depth` levels."""
    nodes: dict[Path, Node] = {}
    feeds: dict[Path, Mapping[str, Source]] = {}
    named: dict[Path, Source] = {}
    parts: dict[Path, Inner] = {}
    claims: list[Claim] = []

    def flatten(
        at: Path, wiring: Wiring, declared: Declared, fed: Mapping[str, Source]
    ) -> dict[str, Source]:
        """Port → what the net at that path gives of what it is fed."""
        made: dict[Source, Source] = {((), port): source for port, source in fed.items()}
        for name, node in wiring.nodes.items():
            path = (*at, *name)
            taken = {port: made[source] for port, source in wiring.feeds[name].items()}
            if isinstance(node, NetNode) and (depth is None or len(at) < depth):
                given = flatten(path, node.layer._wiring, node.layer._declared, taken)
                parts[path] = Inner(node.type, taken, given)
            else:
                nodes[path], feeds[path] = node, taken
                given = {port: (path, port) for port in node.outputs}
            made |= {(name, port): source for port, source in given.items()}
            named.update({(*path, port): source for port, source in (taken | given).items()})
            if len(given) == 1:
                [named[path]] = given.values()
        outputs = {port: made[source] for port, source in wiring.outputs.items()}
        for word, ports in (("input", fed), ("output", outputs)):
            claims.extend(Claim(ports[p], s, port_of(at, p)) for p, s in declared[word].items())
        return outputs

    inputs: dict[str, Source] = {port: ((), port) for port in wiring.inputs}
    outputs = flatten((), wiring, declared, inputs)
    named.update({(port,): source for port, source in (outputs | inputs).items()})
    return Flattened(Wiring(nodes, feeds, wiring.inputs, outputs), named, parts, claims)


def structure_of(
    kind: str, expression: str, flat: Flattened, shapes: Mapping[Source, Shape]
) -> Structure:
    """The structure that `information` reads."""
    wiring = flat.wiring
    links = [
        Link(source[0] or None, path, source[1], port, shapes.get(source))
        for path in wiring.nodes
        for port, source in wiring.feeds[path].items()
    ]
    links += [
        Link(path, None, own, port, shapes.get((path, own)))
        for port, (path, own) in wiring.outputs.items()
    ]
    return Structure(
        type=kind,
        expression=expression,
        leaves={path: node.leaf() for path, node in wiring.nodes.items()},
        links=tuple(links),
        arrays={
            (*path, *name): array
            for path, node in wiring.nodes.items()
            for name, array in node.arrays().items()
        },
        input_ports={port: shapes.get(((), port)) for port in wiring.inputs},
        output_ports={port: shapes.get(source) for port, source in wiring.outputs.items()},
        parts=flat.parts,
    )
