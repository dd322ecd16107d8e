"""Base class of NetChain and NetGraph: a net as a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Never, Self

from lrnorm._layers.frozen import Frozen
from lrnorm._layers.options import EVALUATION_OPTIONS, explain_option
from lrnorm._layers.shapes import Shape
from lrnorm._layers.structure import Structure
from lrnorm._layers.tables import Tabled, table_of
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm.net.calling import Evaluation, first_fitting
from lrnorm.net.flattening import flattened, structure_of
from lrnorm.net.joining import Joined
from lrnorm.net.nodes import NetNode, node_of, register
from lrnorm.net.ports import Wiring, shapes_of_ports, unify
from lrnorm.net.wiring import Edge, Name, wire

_REMEMBERED = 64  # shapes of inputs that were found to fit


def layers_by_name(kind: str, layers: Any) -> dict[Name, Any]:
    """Name → layer, from a list (names 0, 1, …) or a mapping; refuses what cannot be called."""
    if isinstance(layers, Mapping):
        by_name = dict(layers)
        for name in by_name:
            if not isinstance(name, str) or not name:
                raise KindError("names of layers", "must be texts", value=name)
    elif isinstance(layers, (list, tuple)):
        by_name = dict(enumerate(layers))
    else:
        raise KindError(
            kind,
            "takes a list of layers or a mapping of them by name",
            value=layers,
            way_out=f"Of a single layer: {kind}([layer]).",
        )
    if not by_name:
        raise ParameterError(kind, "needs at least one layer", got="none")
    for name, layer in by_name.items():
        if isinstance(layer, type):
            raise KindError(
                f"layer {name!r}",
                "must be a layer",
                got=f"the class {layer.__name__}",
                way_out=f"Make one: {layer.__name__}(…).",
            )
        if not callable(layer):
            rule = "must be something that can be called, a layer, a function or a net"
            raise KindError(f"layer {name!r}", rule, value=layer)
    return by_name


class _Verbatim(str):
    """A text that stands in a list as it is."""

    __slots__ = ()
    __repr__ = str.__str__


class Net(Frozen, Tabled, Evaluation, Joined):
    """Layers and edges. Immutable; equal where these are."""

    layers: Mapping[Name, Any]
    edges: tuple[Edge, ...]
    _declared: Mapping[str, dict[str, Shape]]
    _wiring: Wiring

    _instead = "net.replace(…) gives another net."
    _construction_options: Mapping[str, Any] = {"input": None, "output": None}
    _evaluation_options = EVALUATION_OPTIONS

    def _build(
        self,
        layers: dict[Name, Any],
        edges: tuple[Edge, ...],
        input: Any,
        output: Any,
        foreign: dict[str, Any],
    ) -> None:
        if foreign:
            raise explain_option(type(self).__name__, foreign, ("input", "output"), (), {})
        wiring = wire({(name,): node_of(layer) for name, layer in layers.items()}, edges)
        declared = {
            "input": shapes_of_ports("input", input, wiring.inputs),
            "output": shapes_of_ports("output", output, wiring.outputs),
        }
        flat = flattened(wiring, declared)
        self.__dict__.update(
            layers=MappingProxyType(layers),
            edges=edges,
            _declared=declared,
            _wiring=wiring,
            _flattened=flat,
            _shapes=unify(flat.wiring, flat.claims),
            _first_fitting=lru_cache(_REMEMBERED)(partial(first_fitting, flat)),
        )

    @property
    def ports(self) -> dict[str, Shape | None]:
        """Name → shape of each port, those that take first."""
        return self.inputs | self.outputs

    def _arguments(self) -> dict[str, Any]:
        """The keywords that build this net."""
        arguments: dict[str, Any] = {"layers": self._as_given(self.layers)}
        for word, shapes in self._declared.items():
            if shapes:
                one = len(getattr(self, f"{word}s")) == 1
                arguments[word] = next(iter(shapes.values())) if one else dict(shapes)
        return arguments

    def _as_given(self, layers: Mapping[Name, Any]) -> Any:
        return list(layers.values()) if self._listed else dict(layers)

    def _changed(self, layers: Mapping[Name, Any], **words: Any) -> Self:
        """The net with these layers, and these words in place of its own."""
        return type(self)(**(self._arguments() | {"layers": self._as_given(layers)} | words))

    def _known(self, *path: Name) -> Shape | None:
        """The shape at NetPort(*path), if any of its sizes is known."""
        shape = self._shapes.get(self._flattened.named[path])
        return shape if shape is not None and set(shape) - {None} else None

    def _key(self) -> tuple[Any, ...]:
        declared = tuple(tuple(sorted(shapes.items())) for shapes in self._declared.values())
        return tuple(self.layers.items()), self.edges, declared

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self._arguments())

    def __getattr__(self, name: str) -> Never:
        hints = {
            "input": ". Ask net.inputs",
            "output": ". Ask net.outputs",
            "spec": ". Ask net[name].spec",
            "add": ". A NetGraph has it; net.append(layer) adds a layer to a chain",
        }
        hint = hints.get(name, "")
        raise AttributeError(f"a net has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        nodes = self._wiring.nodes
        texts = {name: _Verbatim(nodes[name,].expression) for name in self.layers}
        words = self._arguments() | {"layers": self._as_given(texts)}
        written = [repr(words.pop(word)) for word in ("layers", "edges") if word in words]
        written += [f"{word}={value!r}" for word, value in words.items()]
        return f"{type(self).__name__}({', '.join(written)})"

    def _structure(self) -> Structure:
        return structure_of(type(self).__name__, repr(self), self._flattened, self._shapes)

    def __str__(self) -> str:
        return str(table_of(self._structure()))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers.values())


def _made(kind: type[Any], arguments: dict[str, Any]) -> Any:
    return kind(**arguments)


register(Net)(NetNode)
