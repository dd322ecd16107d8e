"""A layer or a net as the Wolfram Language writes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from lrnorm._layers.layer import LocalResponseNormalizationLayer
from lrnorm._layers.shapes import Shape
from lrnorm._layers.structure import Leaf, Link, Path, Structure
from lrnorm._spec.errors import ParameterError
from lrnorm.net.functions import Elementwise, joining_axis, rule_of

# ONNX's operator of a known function → Wolfram's function of one array.
_OF_ONE = {name: name for name in ("Abs", "Exp", "Log", "Sqrt", "Tanh", "Sinh", "Cosh")}
_OF_ONE |= {"Sin": "Sin", "Cos": "Cos", "Atan": "ArcTan", "Relu": "Ramp", "Floor": "Floor"}
_OF_ONE |= {"Sigmoid": "LogisticSigmoid", "Ceil": "Ceiling", "Sign": "Sign", "Neg": "Minus"}
_OF_ONE |= {"Reciprocal": "(1/# &)", "Identity": "(# &)", "Mul": "(#^2 &)"}
_OF_SEVERAL = {"Add": "Plus", "Sub": "Subtract", "Mul": "Times", "Div": "Divide"}
_OF_SEVERAL |= {"Max": "Max", "Min": "Min", "Pow": "Power"}


def wolfram_form(structure: Structure) -> str:
    """The Wolfram expression that builds it; nets inside are flattened, as by NetFlatten."""
    into: dict[Path | None, list[Link]] = {path: [] for path in (*structure.leaves, None)}
    for link in structure.links:
        into[link.target].append(link)
    layers = {path: _layer(path, leaf, len(into[path])) for path, leaf in structure.leaves.items()}
    if list(layers) == [()]:
        return layers[()]
    numbered = all(isinstance(part, int) and len(path) == 1 for path in layers for part in path)
    names = {
        path: str(path[0] + 1) if numbered else _text("/".join(map(str, path)))  # type: ignore[operator]
        for path in layers
    }
    listed = f"{{{', '.join(layers.values())}}}"
    named = f"<|{', '.join(f'{names[path]} -> {layers[path]}' for path in layers)}|>"
    words = [listed if numbered else named]
    kind = "NetChain"
    paths = list(layers)
    pairs = itertools.pairwise(paths)
    chained = all([link.source for link in into[b]] == [a] for a, b in pairs)
    plain = list(structure.input_ports) == ["Input"] and list(structure.output_ports) == ["Output"]
    if not (chained and plain):
        kind = "NetGraph"
        words.append(f"{{{', '.join(_edges(into, names))}}}")
    for ports in (structure.input_ports, structure.output_ports):
        words += [
            f"{_text(port)} -> {_sizes(shape)}" for port, shape in ports.items() if _known(shape)
        ]
    return f"{kind}[{', '.join(words)}]"


def _edges(into: dict[Path | None, list[Link]], names: dict[Path, str]) -> Iterable[str]:
    def start(link: Link) -> str:
        if link.source is None:
            return f"NetPort[{_text(link.source_port)}]"
        return names[link.source]

    for path, links in into.items():
        if path is not None:
            starts = ", ".join(start(link) for link in links)
            yield f"{starts if len(links) == 1 else f'{{{starts}}}'} -> {names[path]}"
    for link in into[None]:
        yield f"{start(link)} -> NetPort[{_text(link.target_port)}]"


def _layer(path: Path, leaf: Leaf, inputs: int) -> str:
    layer = leaf.layer
    if isinstance(layer, LocalResponseNormalizationLayer):
        return _normalization(path, layer)
    function = layer.function if isinstance(layer, Elementwise) else layer
    rule = rule_of(function)
    if rule is not None and rule.joins:
        axis = joining_axis(function)
        return f"CatenateLayer[{axis + (axis >= 0) or ''}]" if axis else "CatenateLayer[]"
    if rule is not None and inputs == 1 and rule.operator in _OF_ONE:
        return f"ElementwiseLayer[{_OF_ONE[rule.operator]}]"
    if rule is not None and inputs > 1 and rule.operator in _OF_SEVERAL:
        return f"ThreadingLayer[{_OF_SEVERAL[rule.operator]}]"
    raise _refusal(path, leaf.type, "has no Wolfram layer")


def _normalization(path: Path, layer: LocalResponseNormalizationLayer) -> str:
    size = layer.channel_window_size
    if layer.input is None or not isinstance(size, int):
        raise _refusal(path, "LocalResponseNormalizationLayer", "has an asymmetric window or axis")
    words = [
        f'"Alpha" -> {_number(layer.alpha)}',
        f'"Beta" -> {_number(layer.beta)}',
        f'"Bias" -> {_number(layer.bias)}',
        f'"ChannelWindowSize" -> {size}',
    ]
    words += [f'"Input" -> {_sizes(layer.input)}'] if _known(layer.input) else []
    return f"LocalResponseNormalizationLayer[{', '.join(words)}]"


def _refusal(path: Path, kind: str, reason: str) -> ParameterError:
    subject = f"layer {' / '.join(map(repr, path))} ({kind})" if path else kind
    way_out = "Wolfram reads ONNX: lrnorm.onnx.to_onnx(net) writes such nets."
    return ParameterError(subject, reason, way_out=way_out)


def _known(shape: Shape | None) -> bool:
    return shape is not None and None not in shape


def _sizes(shape: Shape | None) -> str:
    return f"{{{', '.join(map(str, shape or ()))}}}"


def _text(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number(value: float) -> str:
    """A real number as Wolfram writes it.

    >>> [_number(value) for value in (1.0, 0.75, 1e-4, 1.5e-20)]
    ['1.', '0.75', '0.0001', '1.5*^-20']
    """
    mantissa, _, exponent = repr(value).partition("e")
    mantissa = mantissa.removesuffix("0") if mantissa.endswith(".0") else mantissa
    if exponent:
        mantissa = mantissa if "." in mantissa else f"{mantissa}."
        return f"{mantissa}*^{int(exponent)}"
    return mantissa
