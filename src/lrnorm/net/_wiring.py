"""From the edges that people write to who feeds whom, with everything refused that can be."""

from __future__ import annotations

import difflib
import graphlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lrnorm._errors import KindError, ParameterError
from lrnorm._spec import is_integer
from lrnorm.net._nodes import Node, input_names
from lrnorm.net._ports import NetPort, Source

Name = str | int
# A layer or a port that gives, a layer or a port that takes; None takes what is muted.
Edge = tuple[Name | NetPort, Name | NetPort | None]


class Part(NamedTuple):
    """A layer as its neighbours see it: `inputs` take one edge each; with None it takes its edges
    in order, `least` to `most`."""

    type: str
    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...]
    least: int = 1
    most: int | None = None

    @classmethod
    def of_node(cls, node: Node) -> Part:
        return cls(node.type, node.inputs, node.outputs, node.least, node.most)


class Wiring(NamedTuple):
    """Who feeds whom, one level of a net: sources are () or (name,), and a port."""

    order: tuple[Name, ...]  # each layer after those that feed it
    feeds: Mapping[Name, tuple[Source, ...]]
    inputs: tuple[str, ...]
    outputs: Mapping[str, Source]


def edges_of(written: Iterable[Any]) -> tuple[Edge, ...]:
    """Pairs, from chains ("a", "b", "c") whose stations may be lists of several."""
    pairs: list[Edge] = []
    for edge in written:
        if not isinstance(edge, (tuple, list)) or len(edge) < 2:
            raise KindError(
                f'an edge must be ("a", "b") or a longer chain of layers, got {edge!r}. '
                'A port of the net is written NetPort("name").'
            )
        stations = [list(hop) if isinstance(hop, (tuple, list)) else [hop] for hop in edge]
        for one, next_one in itertools.pairwise(stations):
            pairs += itertools.product(one, next_one)
    for pair in pairs:
        for i, end in enumerate(pair):
            if not (isinstance(end, (str, NetPort)) or is_integer(end) or (i and end is None)):
                raise KindError(
                    f"edge {pair} must connect names of layers and NetPorts, got {end!r}. "
                    "Give the layer a name in the first argument, and write the name."
                )
    return tuple(pairs)


class _Board:
    """The layers with their ports, filled edge by edge."""

    def __init__(self, parts: Mapping[Name, Part]) -> None:
        self.parts = parts
        self.taken: dict[Name, dict[int, Source]] = {name: {} for name in parts}
        self.inputs: list[str] = []
        self.outputs: dict[str, Source] = {}
        self.used: set[Source] = set()

    def describe(self, name: Name) -> str:
        return f"layer {name!r} ({self.parts[name].type})"

    def describe_source(self, source: Source) -> str:
        path, port = source
        return f"port {port!r} of {self.describe(path[0]) if path else 'the net'}"

    def _layer(self, name: Any, edge: Edge) -> Name:
        if name in self.parts:
            return name  # type: ignore[no-any-return]
        close = difflib.get_close_matches(str(name), map(str, self.parts), n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        raise ParameterError(
            f"edge {edge}: there is no layer {name!r}, the layers are {list(self.parts)}.{guess} "
            f"A port of the net is written NetPort({name!r})."
        )

    def _place(self, name: Name, port: Any, names: Sequence[str], edge: Edge) -> int:
        if port in names:
            return list(names).index(port)
        raise ParameterError(
            f"edge {edge}: {self.describe(name)} has no port {port!r}, it has {list(names)}."
        )

    def source(self, end: Any, edge: Edge) -> Source:
        path = end.path if isinstance(end, NetPort) else (end,)
        if isinstance(end, NetPort) and len(path) == 1 and path[0] not in self.parts:
            port = str(path[0])
            if port not in self.inputs:
                self.inputs.append(port)
            return (), port
        name = self._layer(path[0], edge)
        outputs = self.parts[name].outputs
        if len(path) == 1:
            if len(outputs) > 1:
                raise ParameterError(
                    f"edge {edge}: {self.describe(name)} has the outputs {list(outputs)}. Say "
                    f"which one: NetPort({name!r}, {outputs[0]!r})."
                )
            return (name,), outputs[0]
        return (name,), outputs[self._place(name, path[1], outputs, edge)]

    def connect(self, edge: Edge) -> None:
        source = self.source(edge[0], edge)
        self.used.add(source)
        target = edge[1]
        if target is None:
            return
        path = target.path if isinstance(target, NetPort) else (target,)
        if isinstance(target, NetPort) and len(path) == 1 and path[0] not in self.parts:
            self._connect_output(source, str(path[0]))
        else:
            self._connect_input(source, self._layer(path[0], edge), path[1:], edge)

    def _connect_output(self, source: Source, port: str) -> None:
        if port in self.outputs:
            raise ParameterError(
                f"port {port!r} of the net is connected twice: to "
                f"{self.describe_source(self.outputs[port])} and to "
                f"{self.describe_source(source)}. Give one of the two another name."
            )
        if not source[0]:
            raise ParameterError(
                f"{self.describe_source(source)} leads straight to port {port!r} of the net: "
                "put a layer between them."
            )
        self.outputs[port] = source

    def _connect_input(self, source: Source, name: Name, port: Any, edge: Edge) -> None:
        part, taken = self.parts[name], self.taken[name]
        most = len(part.inputs) if part.inputs is not None else part.most
        if port:
            place = self._place(
                name, port[0], input_names(part.inputs, most or len(taken) + 1), edge
            )
        else:
            place = next(i for i in itertools.count() if i not in taken)
            if most is not None and place >= most:
                place = most - 1  # the last one is connected twice
        if place in taken:
            ports = input_names(part.inputs, most or len(taken))
            raise ParameterError(
                f"port {ports[place]!r} of {self.describe(name)} is connected twice: to "
                f"{self.describe_source(taken[place])} and to {self.describe_source(source)}. "
                "It takes one edge: put a layer that joins the two between them."
            )
        taken[place] = source

    def feeds(self) -> dict[Name, tuple[Source, ...]]:
        """The sources of each layer, what is unconnected being a port of the net."""
        feeds = {}
        for name, part in self.parts.items():
            taken = self.taken[name]
            count = len(part.inputs) if part.inputs is not None else len(taken) or part.least
            if part.inputs is None and taken:
                self._check_count(name, part, taken)
            sources = []
            for i, port in enumerate(input_names(part.inputs, count)):
                if i not in taken and port not in self.inputs:
                    self.inputs.append(port)
                sources.append(taken.get(i, ((), port)))
            feeds[name] = tuple(sources)
        return feeds

    def _check_count(self, name: Name, part: Part, taken: Mapping[int, Source]) -> None:
        if len(taken) >= part.least and max(taken) < len(taken):
            return
        given = ", ".join(self.describe_source(source) for source in taken.values())
        raise ParameterError(
            f"{self.describe(name)} needs {max(part.least, max(taken) + 1)} inputs, and is "
            f"connected to {given} alone. Connect the others too, in order."
        )

    def all_outputs(self) -> dict[str, Source]:
        """The ports of the net that give: those declared, and what nobody takes."""
        self.used |= set(self.outputs.values())
        self.used |= {source for taken in self.taken.values() for source in taken.values()}
        free = [((name,), port) for name, part in self.parts.items() for port in part.outputs]
        free = [source for source in free if source not in self.used]
        outputs = dict(self.outputs)
        count = Counter(port for _, port in free)
        for source in free:
            port = source[1]
            if count[port] > 1 or port in self.outputs:
                port = next(
                    numbered
                    for i in itertools.count(1)
                    if (numbered := f"{port}{i}") not in outputs
                )
            outputs[port] = source
        return outputs


def wire(parts: Mapping[Name, Part], edges: Sequence[Edge]) -> Wiring:
    """Who feeds whom. Errors name both sides of what does not fit."""
    board = _Board(parts)
    for edge in edges:
        board.connect(edge)
    feeds = board.feeds()
    before = {name: [path[0] for path, _ in feeds[name] if path] for name in parts}
    try:
        order = tuple(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        circle = " → ".join(map(board.describe, error.args[1]))
        raise ParameterError(
            f"the layers feed each other in a circle: {circle}. Take one of these edges out."
        ) from None
    outputs = board.all_outputs()
    if not outputs:
        raise ParameterError(
            "the net has no output: every one is muted. Leave out one of the edges to None."
        )
    return Wiring(order, feeds, tuple(board.inputs), outputs)
