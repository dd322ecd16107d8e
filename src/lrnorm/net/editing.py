"""Nets made of nets: layers read, taken, dropped, replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from lrnorm._function.foreign_names import unknown_parameter
from lrnorm._layers.structure import Path
from lrnorm._spec.errors import KindError, ParameterError
from lrnorm._spec.spec import is_integer
from lrnorm.net.nodes import node_of
from lrnorm.net.ports import LayerLookupError, Wiring
from lrnorm.net.wiring import Name, no_layer, no_net


class Edited:
    """The verbs that make another net of a net, and the names by which layers are found."""

    layers: Mapping[Name, Any]
    _wiring: Wiring

    def _changed(self, layers: Mapping[Name, Any], **words: Any) -> Self:
        """The net with these layers, and these arguments in place of its own."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, key: Any) -> bool:
        """True if `key` is the name of a layer, a path of names, or one of the layers."""
        if isinstance(key, (str, tuple)):
            return self._path(key if isinstance(key, tuple) else (key,)) in self._written_order()
        return any(key is layer or key == layer for layer in self.layers.values())

    def _name(self, key: Any) -> Name:
        """The name of a layer, from its name or its number, counted from 0."""
        names: list[Any] = list(self.layers)
        if is_integer(key):
            if -len(names) <= key < len(names):
                return names[key]  # type: ignore[no-any-return]
            rule = f"must be a name, or a number in {-len(names)} … {len(names) - 1}"
            raise LayerLookupError("layer", rule, value=key)
        if isinstance(key, str) and key in self.layers:
            return key
        raise no_layer(key, names)

    def _path(self, path: Any) -> Any:
        """A path whose first name may be a number, with the name in its place, at each level."""
        first = path[0]
        if is_integer(first) and -len(self) <= first < len(self):
            first = self._name(first)
        inner = self.layers.get(first)
        rest = path[1:]
        return (first, *(inner._path(rest) if isinstance(inner, Edited) and rest else rest))

    def _written_order(self) -> list[Path]:
        """The paths of all layers, in the order in which they were written."""
        paths: list[Path] = []
        for name, layer in self.layers.items():
            inner = layer._written_order() if isinstance(layer, Edited) else []
            paths += [(name,), *((name, *path) for path in inner)]
        return paths

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
            raise KindError(
                "extract", "takes the name of a layer or a path of names", got="nothing"
            )
        layer = self.layers[self._name(path[0])]
        if len(path) == 1:
            return layer
        if isinstance(layer, Edited):
            return layer.extract(*path[1:])
        arrays = node_of(layer).arrays()
        name = tuple(part for key in path[1:] for part in str(key).split("."))
        if name in arrays:
            return arrays[name]
        rule = f"must be one of {['.'.join(array) for array in arrays]}"
        raise LayerLookupError(f"array of layer {path[0]!r}", rule, value=".".join(name))

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
        """The names that the arguments of `take` or `drop` choose."""
        which = _one_level(which)
        if len(which) == 2:
            return self._between(self._name(which[0]), self._name(which[1]))
        if len(which) != 1:
            rule = "takes a number, a name, or the names of the first and the last layer"
            raise KindError(verb, rule, got=f"{len(which)} arguments")
        names = list(self.layers)
        if not is_integer(which[0]):
            return self._between(None, self._name(which[0]))
        if abs(which[0]) > len(names):
            rule = f"takes at most {len(names)} layers, as many as the net has"
            raise LayerLookupError(verb, rule, value=which[0])
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
                "the net that remains",
                "must have at least one layer",
                way_out="Name the ends of a stretch in the order in which they are computed.",
            )
        if names == list(self.layers):
            return self
        return self._changed({name: self.layers[name] for name in names}, **self._cut(names))

    def _cut(self, names: list[Name]) -> dict[str, Any]:
        """Arguments other than the layers that change if only these layers remain."""
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
            way_out = "It takes a name and a layer, a mapping of them, input= and output="
            raise unknown_parameter("replace", min(foreign), ports[min(foreign)], way_out)
        key = tuple(name) if isinstance(name, list) else name
        changes = key if isinstance(key, Mapping) else {} if key is None else {key: layer}
        layers = dict(self.layers)
        for key, new in changes.items():
            path = key if isinstance(key, tuple) else (key,)
            own = self._name(path[0])
            if len(path) > 1:
                if not isinstance(layers[own], Edited):
                    raise no_net(own, path, layers[own])
                new = layers[own].replace(path[1:], new)
            layers[own] = new
        return self._changed(layers, **ports)


def _one_level(names: Iterable[Any]) -> tuple[Any, ...]:
    """("a", "b") from ("a", "b") and from (["a", "b"],)."""
    names = tuple(names)
    if len(names) == 1 and isinstance(names[0], (tuple, list)):
        return tuple(names[0])
    return names
