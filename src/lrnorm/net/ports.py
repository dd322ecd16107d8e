"""Ports and shapes: how a port is named, and how the shapes of a net become one solution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lrnorm._layers.frozen import Frozen
from lrnorm._layers.shapes import Shape, contradict, merged, sizes_of
from lrnorm._layers.structure import Path
from lrnorm._spec.errors import KindError, ParameterError, ShapeError
from lrnorm._spec.spec import is_integer
from lrnorm.net.functions import RefusedError
from lrnorm.net.nodes import Node

_PART = "Change one of the two, or put a layer between them."

# A value in a net: who makes it, () for what the net is fed, and at which port.
Source = tuple[Path, str]


class Wiring(NamedTuple):
    """Layers and who feeds whom: of one level of a net, or of a net without its nesting."""

    nodes: dict[Path, Node]  # each after those that feed it
    feeds: Mapping[Path, Mapping[str, Source]]  # of each layer: input port → what comes there
    inputs: tuple[str, ...]
    outputs: Mapping[str, Source]

    def needed(self, wanted: Iterable[Path]) -> set[Path]:
        """These layers, and all without which they cannot be computed."""
        needed: set[Path] = set(wanted)
        for path in reversed(self.nodes):
            if path in needed:
                needed |= {source for source, _ in self.feeds[path].values()}
        return needed - {()}


class LayerLookupError(ParameterError, KeyError, IndexError):
    """A net has no layer or port of that name or number."""

    __str__ = ParameterError.__str__  # KeyError's would quote the text


class NetPort(Frozen):
    """A port of a net, or with more names the port of a layer in it.

        NetPort("left")                a port of the net
        NetPort("a", "Output1")        a port of the layer "a"
        NetPort("block", "conv")       the output of the layer "conv" in the net "block"
        NetPort(["a", "Output1"])      the same as NetPort("a", "Output1")

    Where a value is read, ``net(x, port=NetPort("a"))``, one name may also be that of a layer,
    which stands for its output.

    Equal to its name, or to the tuple of its names, so that what is stored under a port is found
    under either.

    Errors: KindError (a TypeError) for what is no name.

    Source: Wolfram's NetPort.

    >>> from lrnorm import NetPort
    >>> NetPort("a", "Output1")
    NetPort('a', 'Output1')
    >>> {NetPort("a"): 1}["a"]
    1
    """

    path: Path
    _instead = "NetPort(…) makes another port."

    def __init__(self, *names: str | int | list[str | int] | tuple[str | int, ...]) -> None:
        path: Any = names
        if len(names) == 1 and isinstance(names[0], (list, tuple)):
            path = tuple(names[0])
        if not path or not all(isinstance(name, str) or is_integer(name) for name in path):
            raise KindError(
                "NetPort",
                "takes names of layers and ports",
                got=", ".join(map(repr, names)) or "nothing",
                way_out='Write NetPort("left"), or NetPort("layer", "Output").',
            )
        self.__dict__["path"] = path

    def _key(self) -> Any:
        return self.path[0] if len(self.path) == 1 else self.path

    def __eq__(self, other: object) -> bool:
        return bool(self._key() == (other._key() if isinstance(other, NetPort) else other))

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"NetPort({', '.join(map(repr, self.path))})"


for _class in (LayerLookupError, NetPort):
    _class.__module__ = "lrnorm.net" if _class is LayerLookupError else "lrnorm"


def shapes_of_ports(word: str, value: Any, ports: Iterable[str]) -> dict[str, Shape]:
    """Port → shape, from input= or output=: one shape, or a mapping of them by port."""
    names = list(ports)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(names) != 1:
            raise ParameterError(
                f"{word}=",
                f"needs a mapping, since the net has the ports {names}",
                value=value,
                way_out=f"Write {word}={{{names[0]!r}: …}}.",
            )
        value = {names[0]: value}
    if unknown := [name for name in value if name not in names]:
        raise ParameterError(f"{word}=", f"must name ports among {names}", value=unknown[0])
    shapes = {name: sizes_of(name, sizes) for name, sizes in value.items()}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def named(path: Path) -> str:
    """The name of a layer as errors write it."""
    return " / ".join(map(repr, path))


def layer_at(path: Path, node: Node | None = None) -> str:
    """A layer as errors name it."""
    return f"layer {named(path)}" + (f" ({node.type})" if node else "")


def port_of(path: Path, port: str, node: Node | None = None) -> str:
    """A port as errors name it."""
    return f"port {port!r} of {layer_at(path, node) if path else 'the net'}"


class Claim(NamedTuple):
    """Somebody says what shape a value has."""

    source: Source
    shape: Shape | None
    by: str


class _Solution:
    """The shapes found so far, and everything that was said of each value."""

    def __init__(self) -> None:
        self.shapes: dict[Source, Shape] = {}
        self.said: dict[Source, list[Claim]] = {}

    def hear(self, claim: Claim) -> bool:
        """Record a claim; True if it adds something new."""
        known, said = self.shapes.get(claim.source), self.said.setdefault(claim.source, [])
        if contradict(known, claim.shape):
            other = next(c for c in said if contradict(c.shape, claim.shape))
            raise ShapeError(
                claim.by,
                f"must have the shape of {other.by}, {other.shape}: they are connected",
                value=claim.shape,
                way_out=_PART,
            )
        shape = merged(known, claim.shape)
        if shape is None or shape == known:
            return False
        self.shapes[claim.source] = shape
        said.append(claim)
        return True

    def ask(self, path: Path, node: Node, feeds: Mapping[str, Source]) -> bool:
        """Let a layer say what follows from what is known; whether it said anything new."""
        ports = [*feeds.items(), *((port, (path, port)) for port in node.outputs)]
        known = [self.shapes.get(source) for _, source in ports]
        try:
            inputs, outputs = node.claims(known[: len(feeds)], known[len(feeds) :])
        except RefusedError as refusal:
            port, source = ports[0]
            raise ShapeError(
                port_of(path, port, node),
                f"does not take {self.shapes[source]}, the shape of {self.said[source][-1].by}: "
                f"{refusal}",
                value=self.shapes[source],
                got="",
                way_out=_PART,
            ) from refusal
        news = False
        for (port, source), shape in zip(ports, (*inputs, *outputs), strict=True):
            news |= self.hear(Claim(source, shape, port_of(path, port, node)))
        return news


def unify(wiring: Wiring, claims: Iterable[Claim]) -> dict[Source, Shape]:
    """The shape of every value of which something is known, from both ends of every layer, until
    nothing changes."""
    solution = _Solution()
    for claim in claims:
        solution.hear(claim)
    news = True
    while news:
        news = False
        for path, node in wiring.nodes.items():
            news |= solution.ask(path, node, wiring.feeds[path])
    return solution.shapes
