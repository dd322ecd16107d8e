"""NetChain and NetGraph."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Self

from lrnorm._errors import KindError, ParameterError
from lrnorm._information import Shape
from lrnorm._options import EVALUATION_OPTIONS, explain_option
from lrnorm.net._evaluation import Evaluation
from lrnorm.net._flat import facts_of, laid_open
from lrnorm.net._nodes import node_of
from lrnorm.net._ports import Claim, NetPort, Source, port_of, shapes_of_ports, unify
from lrnorm.net._surgery import Surgery
from lrnorm.net._table import Table, table_of
from lrnorm.net._wiring import Edge, Name, Part, Wiring, edges_of, wire


def _layers_by_name(kind: str, layers: Any) -> dict[Name, Any]:
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


def _refuse(kind: str, foreign: dict[str, Any]) -> None:
    """Keywords that making a net does not have."""
    if foreign:
        raise explain_option(kind, foreign, ("input", "output"), (), {})


class Net(Surgery, Evaluation):
    """What a chain and a graph have in common. Immutable; equal where layers and edges are."""

    edges: tuple[Edge, ...]
    _listed: bool
    _declared: Mapping[str, dict[str, Shape]]
    _wiring: Wiring

    _construction_options: Mapping[str, Any] = {"input": None, "output": None}
    _evaluation_options = EVALUATION_OPTIONS

    def _build(self, layers: Any, edges: tuple[Edge, ...], input: Any, output: Any) -> None:
        by_name = _layers_by_name(type(self).__name__, layers)
        nodes = {n: node_of(layer) for n, layer in by_name.items() if not isinstance(layer, Net)}
        parts = {
            name: Part.of_node(nodes[name])
            if name in nodes
            else Part(type(layer).__name__, tuple(layer.inputs), tuple(layer.outputs))
            for name, layer in by_name.items()
        }
        wiring = wire(parts, edges)
        opened = laid_open(by_name, nodes, wiring)
        flat = opened.flat
        declared = {
            "input": shapes_of_ports("input", input, flat.inputs),
            "output": shapes_of_ports("output", output, flat.outputs),
        }
        claims = [Claim(((), p), s, port_of((), p)) for p, s in declared["input"].items()]
        ends = [Claim(flat.outputs[p], s, port_of((), p)) for p, s in declared["output"].items()]
        self.__dict__.update(
            layers=by_name,
            edges=edges,
            _listed=not isinstance(layers, Mapping),
            _declared=declared,
            _wiring=wiring,
            _open=opened,
            _shapes=unify(flat.nodes, flat.feeds, (*claims, *opened.claims, *ends)),
            _fitted={},
        )

    @property
    def ports(self) -> dict[str, Shape | None]:
        """Name → shape of each port, those that take first."""
        return self.inputs | self.outputs

    def _arguments(self) -> dict[str, Any]:
        """The keywords that build this net."""
        layers = dict(self.layers)
        arguments: dict[str, Any] = {"layers": list(layers.values()) if self._listed else layers}
        for word, shapes in self._declared.items():
            if shapes:
                one = len(getattr(self, f"{word}s")) == 1
                arguments[word] = next(iter(shapes.values())) if one else dict(shapes)
        return arguments

    def _changed(self, layers: Mapping[Name, Any], **ports: Any) -> Self:
        new = list(layers.values()) if self._listed else dict(layers)
        return type(self)(**(self._arguments() | {"layers": new} | ports))

    def _between(self, start: Name | None, end: Name | None) -> list[Name]:
        before = {n: {s[0][0] for s in f if s[0]} for n, f in self._wiring.feeds.items()}
        leads: set[Name] = {end} if end is not None else set(self.layers)
        for name in reversed(self._wiring.order):
            if name in leads:
                leads |= before[name]
        follows: set[Name] = {start} if start is not None else set(self.layers)
        for name in self._wiring.order:
            if before[name] & follows:
                follows.add(name)
        return [name for name in self.layers if name in leads & follows]

    def _told(self, source: Source) -> Shape | None:
        """The shape of a value, if any of its sizes is known."""
        shape = self._shapes.get(source)
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
        def text(layer: Any) -> str:
            return repr(layer) if isinstance(layer, Net) else node_of(layer).expression

        arguments = self._arguments()
        if self._listed:
            arguments["layers"] = f"[{', '.join(map(text, self))}]"
        else:
            pairs = ", ".join(f"{name!r}: {text(layer)}" for name, layer in self.layers.items())
            arguments["layers"] = f"{{{pairs}}}"
        words = [arguments.pop("layers")]
        if "edges" in arguments:
            words.append(repr(arguments.pop("edges")))
        words += [f"{word}={value!r}" for word, value in arguments.items()]
        return f"{type(self).__name__}({', '.join(words)})"

    def _table(self) -> Table:
        return table_of(self._facts())

    def __str__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def _facts(self) -> Any:
        return facts_of(type(self).__name__, repr(self), self._open, self._shapes)


def _made(kind: type[Net], arguments: dict[str, Any]) -> Net:
    return kind(**arguments)


class NetChain(Net):
    """Layers one after the other.

        net(x) = layer_n(… layer_2(layer_1(x)))

    Parameters
    ----------
    layers : list, or mapping of names
        Anything that can be called: layers of lrnorm, functions, torch.nn.Modules, other nets.
    input, output : (int or None, …)
        The shape of one example at the port, None for an unknown size. Shapes are inferred through
        the whole net from whatever is known, in both directions. With several ports, a mapping.

    A net takes one example or a batch of them; see a call's text. `net.ports` tells shapes; an
    index gives a layer, a slice a net; `take`, `drop`, `replace` make other nets.

    Errors: ParameterError, ShapeError (ValueErrors) and KindError (a TypeError), with both sides
    named where two do not fit.

    Source: Wolfram's NetChain.

    >>> from lrnorm import LocalResponseNormalizationLayer, NetChain
    >>> net = NetChain([LocalResponseNormalizationLayer(), abs], input=(5, 1, 1))
    >>> net
    NetChain([LocalResponseNormalizationLayer(alpha=1.0, beta=0.5, bias=1.0, \
channel_window_size=2), abs], input=(5, 1, 1))
    >>> import numpy as np
    >>> net(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(5, 1, 1)).ravel().round(4)
    array([1.4142, 0.6742, 0.    , 0.6742, 1.4142])
    """

    def __init__(
        self, layers: Any, *, input: Any = None, output: Any = None, **foreign: Any
    ) -> None:
        _refuse("NetChain", foreign)
        names = list(_layers_by_name("NetChain", layers))
        self._build(layers, tuple(itertools.pairwise(names)), input, output)

    def _subset(self, names: list[Name]) -> Self:
        if not names:
            raise ParameterError("the net that remains has no layers: leave at least one.")
        layers = {name: self.layers[name] for name in names}
        arguments = self._arguments()
        first, last = next(iter(self.layers)), list(self.layers)[-1]
        if names[0] != first:
            arguments["input"] = self._shape_into(names[0])
        if names[-1] != last:
            arguments["output"] = None
        new = list(layers.values()) if self._listed else layers
        return type(self)(**(arguments | {"layers": new}))

    def _shape_into(self, name: Name) -> Shape | None:
        previous = list(self.layers)[list(self.layers).index(name) - 1]
        return self._told(self._open.named[(previous,)])


class NetGraph(Net):
    """Layers joined by edges.

        net(x): every layer, of what the edges bring to it

    Parameters
    ----------
    layers : mapping of names, or list
        As for NetChain; in a list, layers are named 0, 1, ….
    edges : list of ("a", "b") or longer chains ("a", "b", "c")
        A station is the name of a layer, a NetPort, or a list of these. NetPort("left") is a port
        of the net, NetPort("a", "Output2") a port of a layer. An edge to None mutes an output. A
        port that a layer declares takes one edge; a plain function takes its edges in order.
    input, output : shape, or mapping port → shape
        As for NetChain.

    What is not connected becomes a port of the net: "Input", which is one however many layers take
    it, and "Output", numbered "Output1", "Output2" where there are several. Several outputs come
    back as a dict; a dict feeds several inputs.

    Errors: ParameterError, ShapeError (ValueErrors) and KindError (a TypeError), with both sides
    named: circles, unknown names, ports connected twice, shapes that clash.

    Source: Wolfram's NetGraph.

    >>> import numpy as np
    >>> from lrnorm import LocalResponseNormalizationLayer, NetGraph, NetPort
    >>> net = NetGraph(
    ...     {"norm": LocalResponseNormalizationLayer(), "add": np.add},
    ...     [(NetPort("left"), "norm", "add"), (NetPort("right"), "add", NetPort("sum"))],
    ...     input={"left": (3, 1, 1)},
    ... )
    >>> net.ports
    {'left': (3, 1, 1), 'right': None, 'sum': None}
    >>> x = np.ones((3, 1, 1))
    >>> net({"left": x, "right": x}).ravel().round(4)
    array([1.7906, 1.7906, 1.7906])
    """

    def __init__(
        self,
        layers: Any,
        edges: Iterable[Any] = (),
        *,
        input: Any = None,
        output: Any = None,
        **foreign: Any,
    ) -> None:
        _refuse("NetGraph", foreign)
        if isinstance(edges, (str, Mapping, NetPort)) or not isinstance(edges, Iterable):
            raise KindError(f'edges must be a list such as [("a", "b")], got {edges!r}.')
        self._build(layers, edges_of(edges), input, output)

    def _arguments(self) -> dict[str, Any]:
        arguments = super()._arguments()
        return {"layers": arguments.pop("layers"), "edges": list(self.edges), **arguments}

    def _subset(self, names: list[Name]) -> Self:
        if not names:
            raise ParameterError(
                "the net that remains has no layers: leave at least one, and name the ends of a "
                "stretch in the order in which they are computed."
            )
        new_name = dict(zip(names, range(len(names)) if self._listed else names, strict=True))
        layers = {new_name[name]: self.layers[name] for name in names}
        wiring = self._wiring
        fed = list(dict.fromkeys(source for name in names for source in wiring.feeds[name]))
        cut = [source for source in fed if source[0] and source[0][0] not in new_name]
        kept = {port for path, port in fed if not path}
        ports = {s: _port_of_cut(s, alone=len(cut) == 1 and "Input" not in kept) for s in cut}
        input = {p: s for p, s in self._declared["input"].items() if p in kept}
        for source, port in ports.items():
            if (shape := self._told(self._open.named[*source[0], source[1]])) is not None:
                input[port] = shape

        def end(source: Source) -> NetPort:
            path, port = source
            if not path:
                return NetPort(port)
            return NetPort(ports[source]) if source in ports else NetPort(new_name[path[0]], port)

        edges: list[Edge] = [(end(s), new_name[n]) for n in names for s in wiring.feeds[n]]
        declared = {t.path[0] for _, t in self.edges if isinstance(t, NetPort)}
        for port, source in wiring.outputs.items():
            if source[0][0] in new_name and port in declared:
                edges.append((end(source), NetPort(port)))
        used = {s for feeds in wiring.feeds.values() for s in feeds} | {*wiring.outputs.values()}
        for name in names:
            own = [((name,), port) for port in self._outputs_of(name)]
            edges += [(end(source), None) for source in own if source not in used]
        net = type(self)(list(layers.values()) if self._listed else layers, edges)
        output = {p: s for p, s in self._declared["output"].items() if p in net.outputs}
        return net.replace(input=input, output=output)

    def _outputs_of(self, name: Name) -> Iterable[str]:
        layer = self.layers[name]
        return layer.outputs if isinstance(layer, Net) else node_of(layer).outputs


def _port_of_cut(source: Source, *, alone: bool) -> str:
    """The net's port in place of a layer that was cut off."""
    return "Input" if alone else str(source[0][0])
