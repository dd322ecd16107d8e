"""What a layer or a net says about itself: layers, connections, arrays and port shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import is_integer

Shape = tuple[int | None, ...]
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
    """What leads from one layer to another; None stands for the ports of the whole."""

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
class Facts:
    """What a layer or net tells about itself; every property is computed from this."""

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


def port_shape(port: str, value: Any) -> Shape:
    """What input= or output= may be: three sizes, None for an unknown one."""
    if value is None:
        return (None, None, None)
    rule = f"port {port!r} expects three sizes (channels, height, width), None for an unknown one"
    sizes = value if isinstance(value, (tuple, list)) else [value]
    if not all(size is None or is_integer(size) for size in sizes):
        raise KindError(f"{rule}; got {value!r}.")
    if len(sizes) != 3 or any(size is not None and size < 0 for size in sizes):
        raise ShapeError(f"{rule}; got {value!r}. A batch is not among them: any layer takes one.")
    return tuple(None if size is None else int(size) for size in sizes)


def unified(input: Shape, output: Shape) -> Shape:
    """The one shape of both ports, from what is known of either."""
    pairs = list(zip(input, output, strict=True))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ShapeError(
            f"ports 'Input' and 'Output' have one shape: got {input} for 'Input' and {output} for "
            "'Output'. Give one of the two, or None for the sizes to be taken from the other."
        )
    return tuple(i if o is None else o for i, o in pairs)


def snake_case(name: str) -> str:
    """Wolfram's spelling as Python's.

    >>> snake_case("ArraysTotalByteCount")
    'arrays_total_byte_count'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def shape_text(shape: Shape | None) -> str:
    """A shape for people; "?" for what is unknown.

    >>> shape_text((5, None, 1)), shape_text(None), shape_text(())
    ('5 × ? × 1', '?', 'a number')
    """
    if shape is None:
        return "?"
    return " × ".join("?" if n is None else str(n) for n in shape) or "a number"
