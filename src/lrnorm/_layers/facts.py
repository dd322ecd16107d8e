"""Facts about a layer or a net: layers, connections, arrays and port shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, NamedTuple, Never

from lrnorm._spec.errors import KindError, ShapeError
from lrnorm._spec.spec import is_integer

Shape = tuple[int | None, ...]
ANY_SIZES = "expects sizes, such as (3, None, 224) with None for an unknown one"
# Names from the outermost net inwards; what is asked itself stands at ().
Path = tuple[str | int, ...]


class Frozen:
    """Base class of values: immutable, equal and hashable by `_key()`."""

    _instead = ""  # what to do in place of changing one

    def _key(self) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._key() == other._key())

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __setattr__(self, name: str, value: Any) -> Never:
        raise FrozenInstanceError(f"{name!r} cannot be set: {self._instead}")

    def __delattr__(self, name: str) -> Never:
        raise FrozenInstanceError(f"{name!r} cannot be deleted: {self._instead}")


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
class Facts:
    """Facts about a layer or a net; every property is computed from them."""

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


def contradict(one: Shape | None, other: Shape | None) -> bool:
    """True if no shape agrees with both."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(
        a != b and None not in (a, b) for a, b in zip(one, other, strict=True)
    )


def merged(one: Shape | None, other: Shape | None) -> Shape | None:
    """The shape that follows from two which do not contradict each other."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(b if a is None else a for a, b in zip(one, other, strict=True))


def is_known(shape: Shape | None) -> bool:
    """True if all sizes are known."""
    return shape is not None and None not in shape


def sizes_of(port: str, value: Any, rule: str = ANY_SIZES, rank: int | None = None) -> Shape | None:
    """The shape that input= or output= gives to a port; None for an unknown size."""
    if value is None:
        return None
    subject, way_out = f"port {port!r}", "Leave out the batch: a layer takes one in any case."
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    if not all(size is None or is_integer(size) for size in sizes):
        raise KindError(subject, rule, value=value)
    if any(size is not None and size < 0 for size in sizes) or rank not in (None, len(sizes)):
        raise ShapeError(subject, rule, value=value, way_out=way_out if rank else "")
    return tuple(None if size is None else int(size) for size in sizes)


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
