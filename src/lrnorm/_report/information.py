"""Answers `information(layer, property)`.

Properties are one table of functions of a `Structure`, which a layer or net gives by
`_structure()`, so nothing here knows any layer by name.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any

from lrnorm._function.foreign_names import snake_case
from lrnorm._layers.structure import Graph, Link, Path, Structure
from lrnorm._layers.tables import Report
from lrnorm._spec.errors import KindError, ParameterError


def _elements(array: Any) -> int:
    return math.prod(array.shape)


def _distinct(structure: Structure) -> list[Any]:
    """The arrays, each once however many places use it."""
    return list({id(array): array for array in structure.arrays.values()}.values())


def _total_bytes(structure: Structure) -> int:
    return sum(int(array.nbytes) for array in _distinct(structure))


def _shared_count(structure: Structure) -> int:
    uses = collections.Counter(id(array) for array in structure.arrays.values())
    return sum(count > 1 for count in uses.values())


def readable_size(count: int) -> str:
    """A number of bytes with a unit, in steps of 1000.

    >>> readable_size(0), readable_size(999), readable_size(23232), readable_size(27994208)
    ('0 B', '999 B', '23.2 kB', '28 MB')
    """
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


def _topology_hash(structure: Structure) -> str:
    import graphlib  # here, like others below: `import lrnorm` stays quick
    import hashlib
    import json

    def digest(*what: Any) -> str:
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    # A layer is identified by its type and by all that leads to it: names and the order in which
    # layers were written have no part in it.
    place = {port: i for i, port in enumerate(structure.input_ports)}
    into: dict[Path | None, list[Link]] = collections.defaultdict(list)
    for link in structure.links:
        into[link.target].append(link)
    shapes: dict[Path, list[list[int]]] = collections.defaultdict(list)
    for path, array in structure.arrays.items():
        owner = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in structure.leaves)
        shapes[owner].append([int(n) for n in array.shape])
    before = {p: [n.source for n in into[p] if n.source is not None] for p in structure.leaves}
    digests: dict[Path, str] = {}

    def origin(link: Link) -> list[Any]:
        if link.source is None:
            return [place[link.source_port]]
        return [digests[link.source], link.source_port]

    for path in graphlib.TopologicalSorter(before).static_order():
        leaf = structure.leaves[path]
        what = leaf.type, sorted(leaf.parameters.items()), shapes[path]
        digests[path] = digest(*what, [origin(link) for link in into[path]])
    return digest(sorted(digests.values()), sorted(map(origin, into[None])))


# Drawings and ONNX are imported when they are asked for: most reports need neither.


def _drawn(structure: Structure, levels: int | None) -> Any:
    from lrnorm._report.drawing import drawn

    return drawn(structure, levels)


def _node_graph(structure: Structure) -> Any:
    from lrnorm.onnx.node_graph import model_of

    return model_of(structure)


def _node_graph_plot(structure: Structure) -> Any:
    from lrnorm._report.operators import drawing_of

    return drawing_of(structure)


def _wolfram_form(structure: Structure) -> str:
    from lrnorm._report.wolfram import wolfram_form

    return wolfram_form(structure)


# Wolfram's names of properties that have another name here.
_ELSEWHERE = {
    "mxnetnodegraph": "NodeGraph",
    "mxnetnodegraphplot": "NodeGraphPlot",
}

_PROPERTIES: dict[str, Callable[[Structure], Any]] = {
    "Arrays": lambda net: dict(net.arrays),
    "ArraysByteCounts": lambda net: {p: int(a.nbytes) for p, a in net.arrays.items()},
    "ArraysCount": lambda net: len(net.arrays),
    "ArraysDimensions": lambda net: {p: tuple(a.shape) for p, a in net.arrays.items()},
    "ArraysElementCounts": lambda net: {p: _elements(a) for p, a in net.arrays.items()},
    "ArraysList": lambda net: list(net.arrays.values()),
    "ArraysPositionList": lambda net: list(net.arrays),
    "ArraysSizes": lambda net: {p: readable_size(a.nbytes) for p, a in net.arrays.items()},
    "ArraysTotalByteCount": _total_bytes,
    "ArraysTotalElementCount": lambda net: sum(map(_elements, _distinct(net))),
    "ArraysTotalSize": lambda net: readable_size(_total_bytes(net)),
    "FullSummaryGraphic": lambda net: _drawn(net, None),
    "InputForm": lambda net: net.expression,
    "InputPortNames": lambda net: list(net.input_ports),
    "InputPorts": lambda net: dict(net.input_ports),
    "Layers": lambda net: {path: leaf.layer for path, leaf in net.leaves.items()},
    "LayersCount": lambda net: len(net.leaves),
    "LayersGraph": lambda net: Graph(tuple(net.leaves), net.edges),
    "LayersList": lambda net: [leaf.layer for leaf in net.leaves.values()],
    "LayerTypeCounts": lambda net: dict(
        collections.Counter(leaf.type for leaf in net.leaves.values())
    ),
    "NodeGraph": _node_graph,
    "NodeGraphPlot": _node_graph_plot,
    "OutputPortNames": lambda net: list(net.output_ports),
    "OutputPorts": lambda net: dict(net.output_ports),
    "Properties": lambda _: list(_PROPERTIES),
    # No layer keeps a state from call to call.
    "RecurrentStatesCount": lambda _: 0,
    "RecurrentStatesPositionList": lambda _: [],
    "SharedArraysCount": _shared_count,
    "SummaryGraphic": lambda net: _drawn(net, 1),
    "TopologyHash": _topology_hash,
}


# Properties of our own; "Properties" lists those of Wolfram.
_OWN: dict[str, Callable[[Structure], Any]] = {"WolframForm": _wolfram_form}

# Subject and rule of the error for an unknown property.
_EXISTING = "property", 'must be one of information(layer, "Properties")'

_BY_NAME = _PROPERTIES | _OWN
_BY_NAME |= {snake_case(name): rule for name, rule in _BY_NAME.items()}


# What a report shows, and how it calls that.
_REPORTED = {
    "LayersCount": "layers",
    "ArraysCount": "arrays",
    "SharedArraysCount": "shared arrays",
    "InputPorts": "input ports",
    "OutputPorts": "output ports",
    "ArraysTotalElementCount": "elements in arrays",
    "ArraysTotalSize": "size of arrays",
}


def _report(structure: Structure) -> Report:
    return Report(
        structure.type, _REPORTED, {name: _PROPERTIES[name](structure) for name in _REPORTED}
    )


def _value(structure: Structure, prop: Any) -> Any:
    if isinstance(prop, (list, tuple)):
        return [_value(structure, one) for one in prop]
    if not isinstance(prop, str):
        raise KindError(
            "a property",
            "must be a name or a list of names",
            value=prop,
            way_out='Ask for example "LayersCount" or "layers_count".',
        )
    if prop in _BY_NAME:
        return _BY_NAME[prop](structure)
    if (ours := _ELSEWHERE.get(prop.replace("_", "").lower())) is not None:
        raise ParameterError(
            *_EXISTING,
            value=prop,
            way_out=f"The graph of elementary operations is {ours!r} here, as ONNX.",
        )
    import difflib

    plain = {name.lower(): name for name in _PROPERTIES}
    close = difflib.get_close_matches(prop.replace("_", "").lower(), plain, n=1)
    guess = f"Did you mean {plain[close[0]]!r}? " if close else ""
    raise ParameterError(
        *_EXISTING,
        value=prop,
        way_out=f"{guess}The properties, each also in snake_case such as layers_count, are "
        f"{', '.join([*_PROPERTIES, *_OWN])}.",
    )


def information(layer: Any, prop: Any = None) -> Any:
    """A report about a layer or net, or the value of one property.

        information(layer)                  a report: a mapping that prints as a table
        information(layer, "LayersCount")   one value; "layers_count" is the same
        information(layer, [p, q, …])       a list of values
        information([layer, net, …], …)     a list of answers

    Properties (``information(layer, "Properties")`` lists them):

    Arrays, ArraysList, ArraysPositionList
        Trainable and fixed arrays: by path, as a list, their paths.
    ArraysCount, ArraysDimensions, ArraysElementCounts, ArraysByteCounts, ArraysSizes
        Their number; by path: shape, elements, bytes, bytes with a unit.
    ArraysTotalElementCount, ArraysTotalByteCount, ArraysTotalSize, SharedArraysCount
        Totals, in which an array used at several places counts once; how many such arrays.
    InputPorts, OutputPorts, InputPortNames, OutputPortNames
        Name → shape, with None for an unknown size; the names.
    Layers, LayersList, LayersCount, LayerTypeCounts, LayersGraph
        Layers that hold no others: by path, as a list, their number, name of the type → number,
        (nodes, edges) in paths. A path is a tuple of names; a bare layer stands at ().
    InputForm
        The expression that builds it.
    WolframForm
        The expression that builds it in the Wolfram Language, with nets inside flattened; a
        ParameterError (a ValueError) names a layer that has none. Ours: "Properties" leaves it out.
    SummaryGraphic, FullSummaryGraphic
        A drawing of the layers, with nets inside as one box each, or flattened. It shows itself in
        notebooks; `.svg` is its text, `.save("net.png")` and `.save("net.svg")` write it.
    NodeGraph, NodeGraphPlot
        The graph of elementary operations as an onnx.ModelProto, of batches of any length, and its
        drawing. A layer that ONNX cannot say is a ParameterError that names it.
    RecurrentStatesCount, RecurrentStatesPositionList
        0 and empty: no layer is recurrent.
    TopologyHash
        A short text, the same in every process, equal for equal layer types, layer parameters,
        edges and shapes of arrays. Names and the sizes of ports have no part in it.

    Errors: an unknown property is a ParameterError (a ValueError) that lists those which exist;
    what is no layer is a KindError (a TypeError).

    Source: Wolfram's Information[net, prop].

    >>> import lrnorm
    >>> layer = lrnorm.LocalResponseNormalizationLayer(input=(5, 2, None))
    >>> lrnorm.information(layer)
    LocalResponseNormalizationLayer
      layers              1
      arrays              0
      shared arrays       0
      input ports         Input: 5 × 2 × ?
      output ports        Output: 5 × 2 × ?
      elements in arrays  0
      size of arrays      0 B
    >>> lrnorm.information(layer, ["LayersCount", "input_ports"])
    [1, {'Input': (5, 2, None)}]
    """
    if isinstance(layer, (list, tuple)):
        return [information(one, prop) for one in layer]
    if isinstance(layer, type) or not hasattr(layer, "_structure"):
        raise KindError(
            "information",
            "takes a layer, a net, or a list of them",
            value=layer,
            way_out="Put it into a net: information(NetChain([layer]))."
            if callable(layer) and not isinstance(layer, type)
            else "Make one first: information(LocalResponseNormalizationLayer()).",
        )
    structure = layer._structure()
    return _report(structure) if prop is None else _value(structure, prop)
