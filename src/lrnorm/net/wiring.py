"""Edges resolved into the source of every input; errors for edges that cannot hold."""

from __future__ import annotations

import difflib
import graphlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lrnorm._layers.structure import Path
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer
from lrnorm.net.nodes import Node
from lrnorm.net.ports import LayerLookupError, NetPort, Source, Wiring, layer_at, named, port_of

Name = str | int
# A layer or a port that gives, a layer or a port that takes; None takes what is muted.
Edge = tuple[Name | NetPort, Name | NetPort | None]


def edges_of(written: Iterable[Any]) -> tuple[Edge, ...]:
    """Pairs, from chains ("a", "b", "c") whose stations may be lists of several."""
    pairs: list[Edge] = []
    for edge in written:
        if not isinstance(edge, (tuple, list)) or len(edge) < 2:
            raise KindError(
                "an edge",
                'must be ("a", "b") or a longer chain of layers',
                value=edge,
                way_out='A port of the net is written NetPort("name").',
            )
        stations = [list(hop) if isinstance(hop, (tuple, list)) else [hop] for hop in edge]
        for one, next_one in itertools.pairwise(stations):
            pairs += itertools.product(one, next_one)
    for pair in pairs:
        for i, end in enumerate(pair):
            if not (isinstance(end, (str, NetPort)) or is_integer(end) or (i and end is None)):
                raise KindError(
                    f"edge {pair}",
                    "must connect names of layers and NetPorts",
                    value=end,
                    way_out="Give the layer a name in the first argument, and write the name.",
                )
    return tuple(pairs)


class _Board:
    """The layers with their ports, filled edge by edge."""

    def __init__(self, nodes: Mapping[Path, Node]) -> None:
        self.nodes = nodes
        self.taken: dict[Path, dict[int, Source]] = {path: {} for path in nodes}
        self.inputs: dict[str, None] = {}
        self.outputs: dict[str, Source] = {}
        self.used: set[Source] = set()

    def layer(self, path: Path) -> str:
        return layer_at(path, self.nodes[path])

    def port(self, source: Source) -> str:
        return port_of(*source, self.nodes.get(source[0]))

    def connect(self, edge: Edge) -> None:
        start, end = edge
        source = self._source(*self._end(start, edge), edge)
        self.used.add(source)
        if end is None:
            return
        path, port = self._end(end, edge)
        if path:
            self._feed(path, port, source, edge)
        else:
            self._give(str(port), source)

    def _end(self, end: Name | NetPort, edge: Edge) -> tuple[Path, Any]:
        """The layer at an end of an edge, () for the net, and its port, None where none is told.
        A NetPort of one name is a port of the net."""
        path: Path = end.path if isinstance(end, NetPort) else (end,)
        if isinstance(end, NetPort) and len(path) == 1 and isinstance(path[0], str):
            return (), path[0]
        if path[:1] in self.nodes:
            return path[:1], path[1] if len(path) > 1 else None
        raise ParameterError(
            "layer",
            f"must be one of {[name for (name,) in self.nodes]}",
            value=path[0],
            way_out=f"{guess(path[0], self.nodes)}A port of the net is written "
            f"NetPort({path[0]!r}).",
        ).at(f"edge {edge}")

    def _known(self, path: Path, port: Any, ports: Sequence[str], edge: Edge) -> str:
        if port in ports:
            return str(port)
        rule = f"must be one of {list(ports)}"
        raise ParameterError(f"port of {self.layer(path)}", rule, value=port).at(f"edge {edge}")

    def _source(self, path: Path, port: Any, edge: Edge) -> Source:
        """The value at the start of an edge. A port of the net becomes one of its inputs."""
        if not path:
            self.inputs.setdefault(port)
            return path, port
        outputs = self.nodes[path].outputs
        if port is None and len(outputs) > 1:
            raise ParameterError(
                f"port of {self.layer(path)}",
                f"must be given as one of {list(outputs)}",
                way_out=f"Write for example NetPort({path[0]!r}, {outputs[0]!r}).",
            ).at(f"edge {edge}")
        return path, outputs[0] if port is None else self._known(path, port, outputs, edge)

    def _give(self, port: str, source: Source) -> None:
        """Let a value be an output of the net."""
        if port in self.outputs:
            raise ParameterError(
                f"port {port!r} of the net",
                f"is connected twice: to {self.port(self.outputs[port])} and to "
                f"{self.port(source)}",
                way_out="Give one of the two another name.",
            )
        if not source[0]:
            raise ParameterError(
                self.port(source),
                f"leads straight to port {port!r} of the net",
                way_out="Put a layer between them.",
            )
        self.outputs[port] = source

    def _feed(self, path: Path, port: Any, source: Source, edge: Edge) -> None:
        """Let a value go into a port of a layer; without a port, into the first that is free."""
        node, taken = self.nodes[path], self.taken[path]
        most = node.most if node.inputs is None else len(node.inputs)
        ports = node.input_names(most or len(taken) + 1)
        if port is not None:
            place = ports.index(self._known(path, port, ports, edge))
        else:
            place = next(i for i in itertools.count() if i not in taken)
            if most is not None and place >= most:
                place = most - 1  # the last one is connected twice
        if place in taken:
            raise ParameterError(
                f"port {ports[place]!r} of {self.layer(path)}",
                f"is connected twice: to {self.port(taken[place])} and to {self.port(source)}",
                way_out="It takes one edge: put a layer that joins the two between them.",
            )
        taken[place] = source

    def feeds(self) -> dict[Path, dict[str, Source]]:
        """The source of each input; an unconnected input is a port of the net."""
        feeds = {}
        for path, node in self.nodes.items():
            taken = self.taken[path]
            if node.inputs is None and taken:
                self._check_count(path, node.least, taken)
            own: dict[str, Source] = {}
            for place, port in enumerate(node.input_names(len(taken) or node.least)):
                if place not in taken:
                    self.inputs.setdefault(port)
                own[port] = taken.get(place, ((), port))
            feeds[path] = own
        return feeds

    def _check_count(self, path: Path, least: int, taken: Mapping[int, Source]) -> None:
        """Refuse a layer with fewer inputs than it needs, or with a gap among them."""
        if len(taken) >= least and max(taken) < len(taken):
            return
        given = ", ".join(map(self.port, taken.values()))
        raise ParameterError(
            self.layer(path),
            f"needs {max(least, max(taken) + 1)} inputs, and is connected to {given} alone",
            way_out="Connect the others too, in order.",
        )

    def all_outputs(self) -> dict[str, Source]:
        """The ports of the net that give: those declared, and what nobody takes."""
        free = [(path, port) for path, node in self.nodes.items() for port in node.outputs]
        free = [source for source in free if source not in self.used]
        outputs = dict(self.outputs)
        count = Counter(port for _, port in free)
        for path, port in free:
            name = port
            if count[port] > 1 or port in self.outputs:
                numbered = (f"{port}{i}" for i in itertools.count(1))
                name = next(name for name in numbered if name not in outputs)
            outputs[name] = path, port
        return outputs


def guess(name: Any, names: Iterable[Any]) -> str:
    """A question about the name that comes close, or nothing."""
    known = {str(path[0] if isinstance(path, tuple) else path): path for path in names}
    close = difflib.get_close_matches(str(name), known, n=1)
    found = [known[text] for text in close]
    return "".join(f"Did you mean {(p[0] if isinstance(p, tuple) else p)!r}? " for p in found)


def no_layer(name: Any, names: Iterable[Any]) -> LayerLookupError:
    """The error for a name that no layer has."""
    rule = f"must be one of {list(names)}"
    return LayerLookupError("layer", rule, value=name, way_out=guess(name, names).rstrip())


def no_net(own: Any, path: Path, layer: Any) -> LayerLookupError:
    """The error for a path that leads into a layer which is not a net."""
    rule = f"must be a net, to hold the layer {named(path)}"
    return LayerLookupError(f"layer {own!r}", rule, value=layer)


def _check_names(
    nodes: Mapping[Path, Node], inputs: Iterable[str], outputs: Mapping[str, Source]
) -> None:
    """Refuse a name that two of the layers, inputs and outputs have."""
    owners: dict[Any, str] = {path[0]: layer_at(path, node) for path, node in nodes.items()}
    for kind, ports in (("an input", inputs), ("an output", outputs)):
        for port in ports:
            if port in owners:
                raise ParameterError(
                    f"port {port!r}, {kind} of the net,",
                    f"must have a name of its own, got that of {owners[port]}",
                    way_out="Rename one of the two; an edge to a layer is written with its name, "
                    "without NetPort.",
                )
            owners[port] = f"{kind} of the net"


def wire(nodes: Mapping[Path, Node], edges: Sequence[Edge]) -> Wiring:
    """The source of every input and output. Errors name both sides that do not fit."""
    board = _Board(nodes)
    for edge in edges:
        board.connect(edge)
    feeds = board.feeds()
    before = {path: [p for p, _ in feeds[path].values() if p] for path in nodes}
    try:
        order = tuple(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        circle = " → ".join(map(board.layer, error.args[1]))
        raise ParameterError(
            "the layers",
            f"feed each other in a circle: {circle}",
            way_out="Take one of these edges out.",
        ) from None
    outputs = board.all_outputs()
    if not outputs:
        raise ParameterError(
            "the net",
            "must have an output, and each leads to None",
            way_out="Leave out one of the edges to None.",
        )
    _check_names(nodes, board.inputs, outputs)
    return Wiring({path: nodes[path] for path in order}, feeds, tuple(board.inputs), outputs)
