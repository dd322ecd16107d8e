"""The structure of a layer or a net: its layers, connections, arrays and port shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lrnorm._layers.shapes import Shape

# Names from the outermost net inwards; what is asked itself stands at ().
Path = tuple[str | int, ...]


class Leaf(NamedTuple):
    """A layer that holds no other layers."""

    layer: Any
    type: str
    parameters: Mapping[str, Any]  # of JSON's kinds: they go into TopologyHash


class Graph(NamedTuple):
    """Layers by their paths, and which feeds which."""

    nodes: tuple[Path, ...]
    edges: tuple[tuple[Path, Path], ...]


class Link(NamedTuple):
    """A connection from one layer to another; None stands for the ports of the whole."""

    source: Path | None
    target: Path | None
    source_port: str = "Output"
    target_port: str = "Input"
    shape: Shape | None = None


class Inner(NamedTuple):
    """A net inside: its ports, and the values at them, each by the layer that makes it, () for the
    ports of the whole, and the port there."""

    type: str
    inputs: Mapping[str, tuple[Path, str]]
    outputs: Mapping[str, tuple[Path, str]]


@dataclass(frozen=True)
class Structure:
    """The structure of a layer or a net; every property of `information` is computed from it."""

    type: str
    expression: str
    leaves: Mapping[Path, Leaf]
    links: tuple[Link, ...]  # those into one layer stand in the order of its inputs
    arrays: Mapping[Path, Any]
    input_ports: Mapping[str, Shape | None]
    output_ports: Mapping[str, Shape | None]
    parts: Mapping[Path, Inner] = field(default_factory=dict)  # nets inside, by path

    @property
    def edges(self) -> tuple[tuple[Path, Path], ...]:
        """Between layers, each once."""
        pairs = [(link.source, link.target) for link in self.links]
        return tuple(dict.fromkeys((s, t) for s, t in pairs if s is not None and t is not None))
