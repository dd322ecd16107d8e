"""What can be asked of a layer or net: its options, and what it is made of.

Properties are one table, each a function of `Facts`, which a layer tells through `_facts()`;
options are two tables the layer holds. Whatever has these can be asked: nothing here knows any
layer by name.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lrnorm._dispatch import explain_foreign
from lrnorm._errors import DeviceError, KindError, ParameterError, ShapeError
from lrnorm._spec import is_integer

Shape = tuple[int | None, ...]
# Names from the outermost net inwards; what is asked itself stands at ().
Path = tuple[str | int, ...]

EVALUATION_OPTIONS: dict[str, Any] = {
    "batch_size": None,
    "net_evaluation_mode": "Test",
    "random_seeding": None,
    "target_device": "CPU",
    "working_precision": None,
}

# working_precision → (the dtype computed in, the dtype returned); None leaves it to the input.
PRECISIONS: dict[str | None, tuple[str | None, str | None]] = {
    None: (None, None),
    "Real16": ("float16", "float16"),
    "Real32": ("float32", "float32"),
    "Real64": ("float64", "float64"),
    "Mixed": ("float32", "float16"),
}


class Leaf(NamedTuple):
    """A layer that holds no other layers."""

    layer: Any
    type: str
    parameters: Mapping[str, Any]  # of JSON's kinds: they go into TopologyHash


class Graph(NamedTuple):
    """Layers by their paths, and which feeds which."""

    nodes: tuple[Path, ...]
    edges: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True)
class Facts:
    """What a layer or net tells about itself; every property is computed from this."""

    type: str
    expression: str
    leaves: Mapping[Path, Leaf]
    edges: tuple[tuple[Path, Path], ...]
    arrays: Mapping[Path, Any]
    input_ports: Mapping[str, Shape]
    output_ports: Mapping[str, Shape]


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


def _elements(array: Any) -> int:
    return math.prod(array.shape)


def _distinct(facts: Facts) -> list[Any]:
    """The arrays, each once however many places use it."""
    return list({id(array): array for array in facts.arrays.values()}.values())


def _total_bytes(facts: Facts) -> int:
    return sum(int(array.nbytes) for array in _distinct(facts))


def _shared_count(facts: Facts) -> int:
    uses = collections.Counter(id(array) for array in facts.arrays.values())
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


def _topology_hash(facts: Facts) -> str:
    import hashlib  # here, like others below: `import lrnorm` stays quick
    import json

    # Layers count by their place in the order, not by name: renaming one changes no topology.
    place = {path: i for i, path in enumerate(facts.leaves)}
    layers = [(leaf.type, sorted(leaf.parameters.items())) for leaf in facts.leaves.values()]
    edges = sorted((place[source], place[target]) for source, target in facts.edges)
    shapes = [[int(n) for n in array.shape] for array in facts.arrays.values()]
    text = json.dumps([layers, edges, shapes])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_PROPERTIES: dict[str, Callable[[Facts], Any]] = {
    "Arrays": lambda facts: dict(facts.arrays),
    "ArraysByteCounts": lambda facts: {p: int(a.nbytes) for p, a in facts.arrays.items()},
    "ArraysCount": lambda facts: len(facts.arrays),
    "ArraysDimensions": lambda facts: {p: tuple(a.shape) for p, a in facts.arrays.items()},
    "ArraysElementCounts": lambda facts: {p: _elements(a) for p, a in facts.arrays.items()},
    "ArraysList": lambda facts: list(facts.arrays.values()),
    "ArraysPositionList": lambda facts: list(facts.arrays),
    "ArraysSizes": lambda facts: {p: readable_size(a.nbytes) for p, a in facts.arrays.items()},
    "ArraysTotalByteCount": _total_bytes,
    "ArraysTotalElementCount": lambda facts: sum(map(_elements, _distinct(facts))),
    "ArraysTotalSize": lambda facts: readable_size(_total_bytes(facts)),
    "InputForm": lambda facts: facts.expression,
    "InputPortNames": lambda facts: list(facts.input_ports),
    "InputPorts": lambda facts: dict(facts.input_ports),
    "Layers": lambda facts: {path: leaf.layer for path, leaf in facts.leaves.items()},
    "LayersCount": lambda facts: len(facts.leaves),
    "LayersGraph": lambda facts: Graph(tuple(facts.leaves), facts.edges),
    "LayersList": lambda facts: [leaf.layer for leaf in facts.leaves.values()],
    "LayerTypeCounts": lambda facts: dict(
        collections.Counter(leaf.type for leaf in facts.leaves.values())
    ),
    "OutputPortNames": lambda facts: list(facts.output_ports),
    "OutputPorts": lambda facts: dict(facts.output_ports),
    "Properties": lambda _: list(_PROPERTIES),
    # No layer keeps a state from call to call.
    "RecurrentStatesCount": lambda _: 0,
    "RecurrentStatesPositionList": lambda _: [],
    "SharedArraysCount": _shared_count,
    "TopologyHash": _topology_hash,
}


def snake_case(name: str) -> str:
    """Wolfram's spelling as Python's.

    >>> snake_case("ArraysTotalByteCount")
    'arrays_total_byte_count'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_BY_NAME = _PROPERTIES | {snake_case(name): rule for name, rule in _PROPERTIES.items()}


def _sizes(ports: Mapping[str, Shape]) -> str:
    return ", ".join(
        f"{name}: {' × '.join('?' if n is None else str(n) for n in shape)}"
        for name, shape in ports.items()
    )


@dataclass(frozen=True)
class Report:
    """A title and lines of (label, value): text when printed, a table in a notebook."""

    title: str
    lines: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self.lines)
        return "\n".join(
            [self.title, *(f"  {label:<{width}}  {value}" for label, value in self.lines)]
        )

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(label)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for label, value in self.lines
        )
        return f"<table><caption>{html.escape(self.title)}</caption>{rows}</table>"


def _report(facts: Facts) -> Report:
    return Report(
        facts.type,
        (
            ("layers", str(len(facts.leaves))),
            ("arrays", str(len(facts.arrays))),
            ("shared arrays", str(_shared_count(facts))),
            ("input ports", _sizes(facts.input_ports)),
            ("output ports", _sizes(facts.output_ports)),
            ("elements in arrays", str(sum(map(_elements, _distinct(facts))))),
            ("size of arrays", readable_size(_total_bytes(facts))),
        ),
    )


def _value(facts: Facts, prop: Any) -> Any:
    if isinstance(prop, (list, tuple)):
        return [_value(facts, one) for one in prop]
    if not isinstance(prop, str):
        raise KindError(
            f"a property must be a name or a list of names, got {prop!r}. "
            'Ask for example "LayersCount" or "layers_count".'
        )
    if prop in _BY_NAME:
        return _BY_NAME[prop](facts)
    import difflib

    plain = {name.lower(): name for name in _PROPERTIES}
    close = difflib.get_close_matches(prop.replace("_", "").lower(), plain, n=1)
    guess = f"did you mean {plain[close[0]]!r}? " if close else ""
    raise ParameterError(
        f"there is no property {prop!r}: {guess}Those that exist, each also in the manner of "
        f"layers_count: {', '.join(_PROPERTIES)}."
    )


def information(layer: Any, prop: Any = None) -> Any:
    """What a layer or net is made of: a report, or the value of one property.

        information(layer)                  a report that prints as text and as HTML in a notebook
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
    if isinstance(layer, type) or not hasattr(layer, "_facts"):
        raise KindError(
            f"information tells about a layer or a list of layers, got {layer!r}. "
            "Make one first: information(LocalResponseNormalizationLayer())."
        )
    facts = layer._facts()
    return _report(facts) if prop is None else _value(facts, prop)


def options(layer: Any) -> dict[str, Any]:
    """options(class) → how a layer is made, options(layer) → how it is evaluated: the defaults.

    The names are keywords of the class and of a call, ``layer(x, batch_size=8)``. The result is a
    dict of its own. `output`, which the class takes too, is another word for `input`.

    Errors: KindError (a TypeError) for what is neither a layer nor a class of layers.

    Source: Wolfram's Options[LocalResponseNormalizationLayer] and Options[layer].

    >>> import lrnorm
    >>> lrnorm.options(lrnorm.LocalResponseNormalizationLayer)
    {'alpha': 1.0, 'beta': 0.5, 'bias': 1.0, 'channel_window_size': 2, 'input': None}
    >>> lrnorm.options(lrnorm.LocalResponseNormalizationLayer())["target_device"]
    'CPU'
    """
    kind = "construction" if isinstance(layer, type) else "evaluation"
    found = getattr(layer, f"_{kind}_options", None)
    if found is None:
        raise KindError(
            f"options tells about a layer or a class of layers, got {layer!r}. "
            "Try options(LocalResponseNormalizationLayer)."
        )
    return dict(found)


def explain_option(
    function: str,
    words: dict[str, Any],
    known: tuple[str, ...],
    fixed: tuple[str, ...],
    elsewhere: Mapping[str, str],
) -> KindError:
    """The error for keywords that `function` does not have, with what to write instead: `known`
    are its own, `fixed` those that making the layer takes, `elsewhere` holds hints."""
    word, value = next(iter(words.items()))
    ours = snake_case(word)
    if ours in known:
        hint = f"write {ours}={value!r}"
    elif ours in fixed:
        hint = f"it is fixed when the layer is made, layer.replace({ours}={value!r})"
    elif ours in EVALUATION_OPTIONS:
        hint = f"it belongs to an evaluation, layer(x, {ours}={value!r})"
    elif word in elsewhere:
        hint = elsewhere[word].format(value=value)
    else:
        return explain_foreign(function, words, known)
    return KindError(f"{function}() has no argument {word!r}: {hint}.")


def _one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> None:
    if not (value is None or isinstance(value, str)) or value not in allowed:
        names = ", ".join(map(repr, allowed[:-1]))
        raise ParameterError(f"{name} must be {names} or {allowed[-1]!r}, got {value!r}.")


def check_evaluation(
    batch_size: Any,
    net_evaluation_mode: Any,
    random_seeding: Any,
    target_device: Any,
    working_precision: Any,
) -> None:
    """Refuse what the options of an evaluation cannot be."""
    if batch_size is not None and not (is_integer(batch_size) and batch_size > 0):
        raise (ParameterError if is_integer(batch_size) else KindError)(
            f"batch_size must be a positive integer or None, got {batch_size!r}. "
            "None computes the whole batch at once."
        )
    _one_of("net_evaluation_mode", net_evaluation_mode, ("Test", "Train"))
    if not is_integer(random_seeding):
        seeds = (None, "Inherited", "Automatic")
        _one_of("random_seeding, unless an integer,", random_seeding, seeds)
    _one_of("working_precision", working_precision, tuple(PRECISIONS))
    if isinstance(target_device, str) and target_device == "CPU":
        return
    name, number = target_device, 1
    if isinstance(target_device, (tuple, list)) and len(target_device) == 2:
        name, number = target_device
    if not (isinstance(name, str) and name == "GPU" and is_integer(number) and number > 0):
        raise ParameterError(
            "target_device must be 'CPU', 'GPU' or ('GPU', n) with n = 1, 2, …, "
            f"got {target_device!r}."
        )
    raise DeviceError(
        f"target_device={target_device!r}: nothing installed here computes on a GPU. "
        "Leave it out, or write target_device='CPU'."
    )
