"""OpenVINO IR: .xml with its .bin beside it; LRN, and `Norm` of versions before 10.

    LRN: alpha, beta, bias, size in <data>; the axes are a constant in the .bin
    Norm: alpha, beta, k, local-size, region ("same": height and width; "across": the channels)

Source: OpenVINO's operation specification, LRN-1; the Model Optimizer's IR of versions 2 to 7.
"""

from __future__ import annotations

from typing import Any

from lrnorm._spec.errors import missing
from lrnorm.models.found import Found, Listing, ModelFile, Remark, Shape, lrn, one_line
from lrnorm.models.source import MIB, DamagedError, Source, decimal32, unpack
from lrnorm.models.texts import digits_of, integer_of, number_of

XML_LIMIT = 256 * MIB
DEEPEST = 60

_TYPES = {"FP32": "float32", "FP16": "float16", "FP64": "float64", "BF16": "bfloat16"}
_SIGNED = {"i64": ("q", 8), "i32": ("i", 4), "i16": ("h", 2), "i8": ("b", 1)}
_UNSIGNED = {"u64": ("Q", 8), "u32": ("I", 4), "u8": ("B", 1)}
_INTEGERS = _SIGNED | _UNSIGNED
_CHANNELS, _SPATIAL = [1], [2, 3]


def is_ir(source: Source) -> bool:
    """True for XML whose root is <net>."""
    head = source.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"<?xml", b"<net", b"<Net")) and b"<net" in head.lower()


def read(source: Source) -> ModelFile:
    """Each layer LRN, or Norm of old, in the .xml of an IR."""
    net = _parsed(source)
    if net.tag.lower() != "net":
        raise DamagedError(f"its root is <{net.tag[:40]}>, not <net>")
    digits = net.get("version", "10")
    version = int(digits) if digits.isdigit() and len(digits) < 6 else 10
    listing = Listing()
    for graph, prefix in _graphs(net):
        edges = _Edges(graph, source)
        for layer in graph.findall("layers/layer"):
            kind = layer.get("type", "")
            listing.operators[kind] += 1
            name = prefix + (layer.get("name") or kind)
            if kind == "LRN":
                listing.lrns.append(_lrn(name, layer, edges))
            elif kind.lower() == "norm" and version < 10:
                listing.lrns.append(_norm(name, layer))
    return listing.file(source, f"OpenVINO IR, version {version}")


def _parsed(source: Source) -> Any:
    """The root element; entities and document types are refused."""
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError as error:
        raise missing("OpenVINO's .xml", "the package defusedxml", "'lrnorm[models]'") from error
    if len(source.data) > XML_LIMIT:
        raise DamagedError(f"it has more than {XML_LIMIT // MIB} MiB")
    try:
        return fromstring(bytes(source.data), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DamagedError(one_line(error)) from error


def _graphs(graph: Any, prefix: str = "", depth: int = 0) -> list[tuple[Any, str]]:
    """The net itself and the bodies of its loops and conditions."""
    if depth > DEEPEST:
        raise DamagedError(f"it has more than {DEEPEST} nets inside each other")
    graphs = [(graph, prefix)]
    for layer in graph.findall("layers/layer"):
        for part in layer:
            if part.find("layers") is not None:
                graphs += _graphs(part, f"{prefix}{layer.get('name', '')}/", depth + 1)
    return graphs


class _Edges:
    """The edges of one net: the layer that feeds an input port."""

    def __init__(self, graph: Any, source: Source) -> None:
        self.source = source
        self.layers = {layer.get("id"): layer for layer in graph.findall("layers/layer")}
        self.feeds = {
            (edge.get("to-layer"), edge.get("to-port")): edge.get("from-layer")
            for edge in graph.findall("edges/edge")
        }

    def axes(self, layer: Any) -> list[int] | None:
        """The constant at the second input of an LRN."""
        ports = [port.get("id") for port in layer.findall("input/port")]
        if len(ports) < 2:
            return None
        constant = self.layers.get(self.feeds.get((layer.get("id"), ports[1])))
        if constant is None or constant.get("type") != "Const":
            return None
        data = _data(constant)
        form, width = _INTEGERS.get(data.get("element_type", "i64").lower(), ("", 1))
        offset, size = _integer(data, "offset", 0), _integer(data, "size", 0)
        weights = self.source.beside(self.source.path.stem + ".bin")
        if not form or weights is None or weights.is_folder or not 0 < size <= 8 * width:
            return None
        axes = list(unpack(f"<{size // width}{form}", weights.data, offset))
        weights.close()
        return axes


def _lrn(name: str, layer: Any, edges: _Edges) -> Found:
    """The layer of opset 1: size, alpha, beta and bias in <data>, the axes as a constant."""
    data = _data(layer)
    words: dict[str, Any] = {
        "size": _integer(data, "size", 5),
        "alpha": _number(data, "alpha", 1.0),
        "beta": _number(data, "beta", 0.5),
        "bias": _number(data, "bias", 1.0),
    }
    shape, dtype = _input(layer)
    axes = edges.axes(layer)
    if axes is None:
        axes = _CHANNELS
        text = (
            "the axes are no constant of this net, or their .bin is not beside the .xml: axis 1 is "
            "assumed"
        )
        remarks = (Remark("axes_not_known", text),)
        return _found(name, words, axes, shape=shape, dtype=dtype, remarks=remarks)
    return _found(name, words, axes, shape=shape, dtype=dtype)


def _norm(name: str, layer: Any) -> Found:
    """The layer of versions before 10. Attributes stand in <data>, in the oldest in <norm_data>."""
    data = _data(layer)
    words: dict[str, Any] = {
        "size": _integer(data, "local-size", _integer(data, "local_size", 5)),
        "alpha": _number(data, "alpha", 1.0),
        "beta": _number(data, "beta", 0.75),
        "bias": _number(data, "k", 1.0),
    }
    shape, dtype = _input(layer)
    axes = _SPATIAL if data.get("region", "across").lower() == "same" else _CHANNELS
    return _found(name, words, axes, shape=shape, dtype=dtype)


def _found(name: str, words: dict[str, Any], axes: list[int], **known: Any) -> Found:
    axis = axes[0] if len(axes) == 1 else tuple(axes)
    return lrn(name, "openvino", {**words, "axes": list(axes)}, axis, **known)


def _data(layer: Any) -> dict[str, str]:
    """The attributes of a layer, from <data>, in old files from <norm_data> or <lrn_data>."""
    for tag in ("data", "norm_data", "lrn_data"):
        if (element := layer.find(tag)) is not None:
            return dict(element.attrib)
    return {}


def _input(layer: Any) -> tuple[Shape, str | None]:
    """Shape and type of the first input; in old versions the layer has the type."""
    port = layer.find("input/port")
    if port is None:
        return None, None
    sizes = tuple(digits_of(dim.text or "") for dim in port.findall("dim"))
    precision = port.get("precision") or layer.get("precision") or ""
    return sizes or None, _TYPES.get(precision.upper())


def _integer(data: dict[str, str], name: str, default: int) -> int:
    return integer_of(data[name], name) if name in data else default


def _number(data: dict[str, str], name: str, default: float) -> float:
    return decimal32(number_of(data[name], name)) if name in data else default
