"""Ports and shapes: how a port is named, and how the shapes of a net become one solution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lrnorm._errors import KindError, ParameterError, ShapeError
from lrnorm._information import Path, Shape
from lrnorm._spec import is_integer
from lrnorm.net._nodes import Node, input_names
from lrnorm.net._shapes import ClashError, RefusedError, contradict, merged

# A value in a net: who makes it, () for what the net is fed, and at which port.
Source = tuple[Path, str]


class NetPort:
    """A port of a net, or with more names the port of a layer in it.

        NetPort("left")                a port of the net; the layer "left", if there is one
        NetPort("a", "Output1")        a port of the layer "a"
        NetPort("block", "conv")       the output of the layer "conv" in the net "block"

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

    def __init__(self, *names: str | int) -> None:
        if not names or not all(isinstance(name, str) or is_integer(name) for name in names):
            raise KindError(
                f"NetPort takes names of layers and ports, got {', '.join(map(repr, names))}. "
                'Write NetPort("left"), or NetPort("layer", "Output").'
            )
        self.__dict__["path"] = names

    @property
    def _key(self) -> Any:
        return self.path[0] if len(self.path) == 1 else self.path

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a NetPort does not change, {name!r} cannot be set: make another.")

    def __eq__(self, other: object) -> bool:
        return bool(self._key == (other._key if isinstance(other, NetPort) else other))

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"NetPort({', '.join(map(repr, self.path))})"


def shape_of_port(port: str, value: Any) -> Shape | None:
    """What input= and output= of a net may say of a port: sizes, None for an unknown one."""
    if value is None:
        return None
    rule = f"port {port!r} expects sizes, such as (3, None, 224) with None for an unknown one"
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    if not all(size is None or is_integer(size) for size in sizes):
        raise KindError(f"{rule}; got {value!r}.")
    if any(size is not None and size < 0 for size in sizes):
        raise ShapeError(f"{rule}; got {value!r}.")
    return tuple(None if size is None else int(size) for size in sizes)


def shapes_of_ports(word: str, value: Any, ports: Iterable[str]) -> dict[str, Shape]:
    """Port → shape, from input= or output=: one shape, or a mapping of them by port."""
    names = list(ports)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(names) != 1:
            raise ParameterError(
                f"{word}= needs a mapping, since the net has the ports {names}: "
                f"{word}={{{names[0]!r}: …}}."
            )
        value = {names[0]: value}
    if unknown := [name for name in value if name not in names]:
        raise ParameterError(f"{word}= names {unknown[0]!r}: the net has the ports {names}.")
    shapes = {name: shape_of_port(name, sizes) for name, sizes in value.items()}
    return {name: shape for name, shape in shapes.items() if shape is not None}


class Claim(NamedTuple):
    """Somebody says what shape a value has."""

    source: Source
    shape: Shape | None
    by: str


def named(path: Path) -> str:
    """A layer's name as errors write it."""
    return " / ".join(map(repr, path))


def port_of(path: Path, port: str, node: Node | None = None) -> str:
    """A port as errors name it."""
    if not path:
        return f"port {port!r} of the net"
    return f"port {port!r} of layer {named(path)}" + (f" ({node.type})" if node else "")


class _Solution:
    """The shapes found so far, and everything that was said of each value."""

    def __init__(self) -> None:
        self.shapes: dict[Source, Shape] = {}
        self.said: dict[Source, list[Claim]] = {}

    def hear(self, claim: Claim) -> bool:
        """Whether it was news."""
        if claim.shape is None:
            return False
        try:
            shape = merged(self.shapes.get(claim.source), claim.shape)
        except ClashError:
            other = next(c for c in self.said[claim.source] if contradict(c.shape, claim.shape))
            raise ShapeError(
                f"shapes clash: {other.by} has {other.shape}, and {claim.by} has {claim.shape}, "
                "but they are connected. Change one of the two, or put a layer between them."
            ) from None
        if shape is None or shape == self.shapes.get(claim.source):
            return False
        self.shapes[claim.source] = shape
        self.said.setdefault(claim.source, []).append(claim)
        return True

    def ask(self, path: Path, node: Node, sources: tuple[Source, ...]) -> bool:
        """Let a layer say what follows from what is known; whether it said anything new."""
        outputs = [(path, port) for port in node.outputs]
        inputs_known = [self.shapes.get(source) for source in sources]
        try:
            said_in, said_out = node.claims(inputs_known, [self.shapes.get(o) for o in outputs])
        except RefusedError as refusal:
            port = input_names(node.inputs, len(sources))[0]
            origin = self.said[sources[0]][-1]
            raise ShapeError(
                f"shapes clash: {origin.by} has {self.shapes[sources[0]]}, which "
                f"{port_of(path, port, node)} does not take: {refusal}. "
                "Change one of the two, or put a layer between them."
            ) from refusal
        ports = input_names(node.inputs, len(sources))
        news = False
        for places, names, shapes in ((sources, ports, said_in), (outputs, node.outputs, said_out)):
            for source, name, shape in zip(places, names, shapes, strict=True):
                news |= self.hear(Claim(source, shape, port_of(path, name, node)))
        return news


def unify(
    nodes: Mapping[Path, Node],
    feeds: Mapping[Path, tuple[Source, ...]],
    claims: Iterable[Claim],
) -> dict[Source, Shape]:
    """The shape of every value of which something is known, from both ends of every layer, until
    nothing changes."""
    solution = _Solution()
    for claim in claims:
        solution.hear(claim)
    news = True
    while news:
        news = False
        for path, node in nodes.items():
            news |= solution.ask(path, node, feeds[path])
    return solution.shapes
