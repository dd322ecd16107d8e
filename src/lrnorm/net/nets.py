"""NetChain and NetGraph."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from lrnorm._spec.errors import KindError, ParameterError
from lrnorm.net.base import Net, layers_by_name
from lrnorm.net.ports import NetPort, Source, layer_at
from lrnorm.net.wiring import Edge, Name, edges_of


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

    A net takes one example or a batch of them. `net.ports` has the shapes; an
    index gives a layer, counted from 0, a slice a net; `take`, `drop`, `replace` make other nets.

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
        by_name = layers_by_name("NetChain", layers)
        self._build(by_name, tuple(itertools.pairwise(by_name)), input, output, foreign)
        for path, node in list(self._wiring.nodes.items())[1:]:
            if len(self._wiring.feeds[path]) > 1:
                raise ParameterError(
                    layer_at(path, node),
                    "must have one input, as every layer of a chain after the first",
                    value=list(self._wiring.feeds[path]),
                    way_out="Write a NetGraph, whose edges say what feeds each of them.",
                )

    _is_chain = True

    def _cut(self, names: list[Name]) -> dict[str, Any]:
        own, ports = list(self.layers), {}
        if names[0] != own[0]:
            before = own[own.index(names[0]) - 1]
            ports["input"] = self._known(before)
        if names[-1] != own[-1]:
            ports["output"] = None
        return ports


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
        if isinstance(edges, (str, Mapping, NetPort)) or not isinstance(edges, Iterable):
            raise KindError("edges", 'must be a list such as [("a", "b")]', value=edges)
        by_name = layers_by_name("NetGraph", layers)
        self._build(by_name, edges_of(edges), input, output, foreign)

    def add(self, layers: Any, edges: Iterable[Any] = ()) -> NetGraph:
        """The graph with more layers and edges.

        `layers` is a mapping of names, or a list where the layers of the graph are numbered; the
        new ones are numbered on. Edges are written as for NetGraph and may lead to and from the
        layers that were there. Declared shapes stay where their ports still exist; a warning names
        the others.

        Errors: those of making the graph; ParameterError (a ValueError) for a name that is taken,
        with both layers named. Source: Wolfram's NetGraph and NetAppend.

        >>> from lrnorm import LocalResponseNormalizationLayer, NetGraph
        >>> net = NetGraph({"norm": LocalResponseNormalizationLayer()})
        >>> net.add({"size": abs}, [("norm", "size")]).edges
        (('norm', 'size'),)
        """
        new = dict(self.layers) | self._new("add", (layers,))
        given: Any = list(new.values()) if self._listed else new
        net = NetGraph(given, [*self.edges, *edges])
        words: dict[str, Any] = {}
        for word, shapes in self._declared.items():
            ports = getattr(net, f"{word}s")
            words[word] = {port: shape for port, shape in shapes.items() if port in ports}
            for port in set(shapes) - set(ports):
                warnings.warn(
                    f"The shape {shapes[port]} of port {port!r} is not kept: the {word}s of the "
                    f"new net are {list(ports)}. net.replace({word}={{…}}) declares their shapes.",
                    UserWarning,
                    stacklevel=2,
                )
        return net.replace(**{word: shapes for word, shapes in words.items() if shapes})

    def _arguments(self) -> dict[str, Any]:
        arguments = super()._arguments()
        return {"layers": arguments.pop("layers"), "edges": list(self.edges), **arguments}

    def _cut(self, names: list[Name]) -> dict[str, Any]:
        wiring = self._wiring
        kept = {name: i if self._listed else name for i, name in enumerate(names)}
        fed = dict.fromkeys(source for name in names for source in wiring.feeds[name,].values())
        own = {port for path, port in fed if not path}
        cut = [(path, port) for path, port in fed if path and path[0] not in kept]
        alone = len(cut) == 1 and "Input" not in own
        ports = {source: "Input" if alone else self._in_place_of(source, own) for source in cut}

        def end(source: Source) -> NetPort:
            path, port = source
            if not path:
                return NetPort(port)
            return NetPort(ports[source]) if source in ports else NetPort(kept[path[0]], port)

        edges: list[Edge] = []
        for name in names:
            edges += [(end(source), kept[name]) for source in wiring.feeds[name,].values()]
        # Outputs that edges or output= name keep their names, and what was muted stays so.
        declared = self._declared["output"]
        named = {target.path[0] for _, target in self.edges if isinstance(target, NetPort)}
        outputs = {p: s for p, s in wiring.outputs.items() if s[0][0] in kept}
        edges += [(end(s), NetPort(p)) for p, s in outputs.items() if p in named or p in declared]
        used = {*wiring.outputs.values()}.union(
            *(taken.values() for taken in wiring.feeds.values())
        )
        given = [((name,), port) for name in names for port in wiring.nodes[name,].outputs]
        edges += [(end(source), None) for source in given if source not in used]
        input: dict[str, Any] = {p: s for p, s in self._declared["input"].items() if p in own}
        input |= {port: self._known(*path, name) for (path, name), port in ports.items()}
        output = {port: shape for port, shape in declared.items() if port in outputs}
        return {"edges": edges, "input": input, "output": output}

    def _in_place_of(self, source: Source, taken: set[str]) -> str:
        """The net's port for what came from a layer that is cut off."""
        (name,), port = source
        only = len(self._wiring.nodes[name,].outputs) == 1 and name not in taken
        return str(name) if only else f"{name}/{port}"


for _class in (NetChain, NetGraph):
    _class.__module__ = "lrnorm"
