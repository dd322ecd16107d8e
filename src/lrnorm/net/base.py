"""What a chain and a graph have in common: a net as a value, and the nets that are made of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Self

from lrnorm._layers.facts import Facts, Path, Shape
from lrnorm._layers.options import EVALUATION_OPTIONS, explain_option
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer
from lrnorm.net.calling import Evaluation, first_fitting
from lrnorm.net.flat import facts_of, laid_open
from lrnorm.net.nodes import NetNode, node_of, register
from lrnorm.net.ports import LayerLookupError, Wiring, named, shapes_of_ports, unify
from lrnorm.net.table import Table, table_of
from lrnorm.net.wiring import Edge, Name, wire

_REMEMBERED = 64  # shapes of inputs that were found to fit


def layers_by_name(kind: str, layers: Any) -> dict[Name, Any]:
    if isinstance(layers, Mapping):
        by_name = dict(layers)
        for name in by_name:
            if not isinstance(name, str) or not name:
                raise KindError(f"names of layers must be texts, got {name!r}.")
    elif isinstance(layers, (list, tuple)):
        by_name = dict(enumerate(layers))
    else:
        raise KindError(
            f"{kind} takes a list of layers or a mapping of them by name, got {layers!r}. "
            f"Of a single layer: {kind}([layer])."
        )
    if not by_name:
        raise ParameterError(f"{kind} needs at least one layer, got none.")
    for name, layer in by_name.items():
        if isinstance(layer, type):
            raise KindError(
                f"layer {name!r} must be a layer, got the class {layer.__name__}. "
                f"Make one: {layer.__name__}(…)."
            )
        if not callable(layer):
            raise KindError(
                f"layer {name!r} must be something that can be called, a layer, a function or a "
                f"net, got {layer!r}."
            )
    return by_name


class _Verbatim(str):
    """A text that stands in a list as it is."""

    __slots__ = ()
    __repr__ = str.__str__


class Net(Evaluation):
    """Layers and edges. Immutable; equal where these are."""

    layers: dict[Name, Any]
    edges: tuple[Edge, ...]
    _declared: Mapping[str, dict[str, Shape]]
    _wiring: Wiring

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
        opened = laid_open(wiring, declared)
        self.__dict__.update(
            layers=layers,
            edges=edges,
            _declared=declared,
            _wiring=wiring,
            _open=opened,
            _shapes=unify(opened.flat, opened.claims),
            _first_fitting=lru_cache(_REMEMBERED)(partial(first_fitting, opened)),
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

    @property
    def _listed(self) -> bool:
        """Whether layers were given without names: they are numbered then."""
        return 0 in self.layers

    def _as_given(self, layers: Mapping[Name, Any]) -> Any:
        return list(layers.values()) if self._listed else dict(layers)

    def _changed(self, layers: Mapping[Name, Any], **words: Any) -> Self:
        """The net with these layers, and these words in place of its own."""
        return type(self)(**(self._arguments() | {"layers": self._as_given(layers)} | words))

    def _told(self, *path: Name) -> Shape | None:
        """The shape at NetPort(*path), if any of its sizes is known."""
        shape = self._shapes.get(self._open.named[path])
        return shape if shape is not None and set(shape) - {None} else None

    def _key(self) -> tuple[Any, ...]:
        declared = tuple(tuple(sorted(shapes.items())) for shapes in self._declared.values())
        return type(self), tuple(self.layers.items()), self.edges, declared

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self._arguments())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a net does not change, {name!r} cannot be set: net.replace(…) gives another net."
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a net does not change, {name!r} cannot be deleted.")

    def __repr__(self) -> str:
        nodes = self._wiring.nodes
        texts = {name: _Verbatim(nodes[name,].expression) for name in self.layers}
        words = self._arguments() | {"layers": self._as_given(texts)}
        written = [repr(words.pop(word)) for word in ("layers", "edges") if word in words]
        written += [f"{word}={value!r}" for word, value in words.items()]
        return f"{type(self).__name__}({', '.join(written)})"

    def _facts(self) -> Facts:
        return facts_of(type(self).__name__, repr(self), self._open, self._shapes)

    def _table(self) -> Table:
        return table_of(self._facts())

    def __str__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers.values())

    def _name(self, key: Any) -> Name:
        """The name of a layer, from its name or its number."""
        names: list[Any] = list(self.layers)
        if is_integer(key):
            if -len(names) <= key < len(names):
                return names[key]  # type: ignore[no-any-return]
            raise LayerLookupError(
                f"there is no layer number {key}: the net has {len(names)}, 0 … {len(names) - 1}."
            )
        if key in names:
            return key  # type: ignore[no-any-return]
        close = difflib.get_close_matches(str(key), map(str, names), n=1)
        guess = f"Did you mean {close[0]!r}? " if close else ""
        raise LayerLookupError(f"there is no layer {key!r}. {guess}The layers are {names}.")

    def __getitem__(self, key: Any) -> Any:
        """net[2], net["conv"], net["block", "conv"] give a layer, net[1:3] a net. A slice from
        name to name includes both."""
        if isinstance(key, tuple):
            return self.extract(*key)
        if not isinstance(key, slice):
            return self.layers[self._name(key)]
        names = list(self.layers)
        start, stop = key.start, key.stop
        if isinstance(start, str):
            start = names.index(self._name(start))
        if isinstance(stop, str):
            stop = names.index(self._name(stop)) + 1
        return self._subset(names[start : stop : key.step])

    def extract(self, *path: Any) -> Any:
        """The layer, or an array of a layer, at a path.

            net.extract("conv")            a layer, the same as net["conv"]
            net.extract("block", "conv")   a layer of a net inside
            net.extract("conv", "weight")  an array

        Errors: LayerLookupError (a ValueError, KeyError and IndexError) for what is not there.

        Source: Wolfram's NetExtract.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> net = NetChain({"block": NetChain({"norm": LocalResponseNormalizationLayer()})})
        >>> net.extract("block", "norm").alpha
        1.0
        """
        path = _one_level(path)
        if not path:
            raise KindError("extract takes the name of a layer, or a path of names, got nothing.")
        layer = self.layers[self._name(path[0])]
        if len(path) == 1:
            return layer
        if isinstance(layer, Net):
            return layer.extract(*path[1:])
        arrays = node_of(layer).arrays()
        name = tuple(part for key in path[1:] for part in str(key).split("."))
        if name in arrays:
            return arrays[name]
        raise LayerLookupError(
            f"layer {path[0]!r} has no array {'.'.join(name)!r}, it has "
            f"{['.'.join(array) for array in arrays]}."
        )

    def take(self, *which: Any) -> Self:
        """A net of some of the layers.

            net.take(3)          the first three          net.take(-2)   the last two
            net.take("b")        up to "b", included; of a graph, all that "b" needs
            net.take("b", "d")   from "b" to "d", both included; of a graph, all that lies between

        What was inferred of the shapes at a cut is kept. Errors: LayerLookupError, and
        ParameterError (a ValueError) where no layer remains. Source: Wolfram's NetTake.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> len(NetChain([LocalResponseNormalizationLayer(), abs, abs]).take(2))
        2
        """
        return self._subset(self._chosen("take", which))

    def drop(self, *which: Any) -> Self:
        """A net of the layers that `take` of the same arguments leaves.

            net.drop(3)          without the first three  net.drop(-2)   without the last two
            net.drop("b")        what comes after "b"     net.drop("b", "d")   without b … d

        Source: Wolfram's NetDrop.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> len(NetChain([LocalResponseNormalizationLayer(), abs, abs]).drop(2))
        1
        """
        dropped = self._chosen("drop", which)
        return self._subset([name for name in self.layers if name not in dropped])

    def _chosen(self, verb: str, which: tuple[Any, ...]) -> list[Name]:
        which = _one_level(which)
        if len(which) == 2:
            return self._between(self._name(which[0]), self._name(which[1]))
        if len(which) != 1:
            raise KindError(
                f"{verb} takes a number, a name, or the names of the first and the last layer, "
                f"got {len(which)} arguments."
            )
        names = list(self.layers)
        if not is_integer(which[0]):
            return self._between(None, self._name(which[0]))
        if abs(which[0]) > len(names):
            raise LayerLookupError(
                f"{verb}({which[0]}): the net has {len(names)} layers and no more."
            )
        return names[: which[0]] if which[0] >= 0 else names[which[0] :]

    def _between(self, start: Name | None, end: Name) -> list[Name]:
        """The layers from `start` to `end`, both included; None for all that `end` needs."""
        feeds = self._wiring.feeds
        leads = self._wiring.needed([(end,)])
        follows: set[Path] = set(self._wiring.nodes) if start is None else {(start,)}
        for path in self._wiring.nodes:
            if any(source in follows for source, _ in feeds[path].values()):
                follows.add(path)
        return [name for name in self.layers if (name,) in leads & follows]

    def _subset(self, names: list[Name]) -> Self:
        """A net of these layers, which stand in the order they have here."""
        if not names:
            raise ParameterError(
                "the net that remains has no layers: leave at least one, and name the ends of a "
                "stretch in the order in which they are computed."
            )
        return self._changed({name: self.layers[name] for name in names}, **self._cut(names))

    def _cut(self, names: list[Name]) -> dict[str, Any]:
        """What else changes where only these layers remain: edges, shapes of ports."""
        raise NotImplementedError

    def replace(self, name: Any = None, layer: Any = None, **ports: Any) -> Self:
        """The net with another layer in place of one, or with other shapes of its ports.

            net.replace("conv", layer)           one layer; a path of names reaches into nets inside
            net.replace({"conv": layer, …})      several
            net.replace(input=(3, 224, 224))     a shape, None to forget it

        Errors: LayerLookupError; those of making the net, as for shapes that clash.

        Source: Wolfram's NetReplacePart.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
        >>> NetChain([abs, abs]).replace(1, LocalResponseNormalizationLayer())[1].alpha
        1.0
        """
        if foreign := set(ports) - {"input", "output"}:
            raise KindError(
                f"replace() has no argument {min(foreign)!r}: it takes a name and a layer, a "
                "mapping of them, input= and output=."
            )
        changes = name if isinstance(name, Mapping) else {} if name is None else {name: layer}
        layers = dict(self.layers)
        for key, new in changes.items():
            path = key if isinstance(key, tuple) else (key,)
            own = self._name(path[0])
            if len(path) > 1:
                if not isinstance(layers[own], Net):
                    raise LayerLookupError(
                        f"there is no layer {named(path)}: {own!r} is no net, it is "
                        f"{layers[own]!r}."
                    )
                new = layers[own].replace(path[1:], new)
            layers[own] = new
        return self._changed(layers, **ports)


register(Net)(NetNode)


def _made(kind: type[Net], arguments: dict[str, Any]) -> Net:
    return kind(**arguments)


def _one_level(names: Iterable[Any]) -> tuple[Any, ...]:
    """("a", "b") from ("a", "b") and from (["a", "b"],)."""
    names = tuple(names)
    if len(names) == 1 and isinstance(names[0], (tuple, list)):
        return tuple(names[0])
    return names
