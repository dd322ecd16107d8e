"""Caffe: .prototxt and .caffemodel, in the three generations of layers.

    2014 on  layer { type: "LRN" lrn_param { local_size: 5 alpha: 1e-4 } }
    2014     layers { type: LRN lrn_param { … } }
    2013     layers { layer { type: "lrn" local_size: 5 alpha: 1e-4 } }

Source: src/caffe/proto/caffe.proto (NetParameter, LayerParameter, V1LayerParameter,
V0LayerParameter, LRNParameter); src/caffe/layers/lrn_layer.cpp.
"""

from __future__ import annotations

from typing import Any

from lrnorm.models.found import NOTE, Found, Listing, ModelFile, Remark, lrn
from lrnorm.models.prototext import integer, messages, number, parse, scalar
from lrnorm.models.source import Source
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, first_inner, fits

_RULE: Schema = {
    1: ("phase", "int"),
    2: ("min_level", "int"),
    3: ("max_level", "int"),
    4: ("stage", "text"),
    5: ("not_stage", "text"),
}
_LRN: Schema = {
    1: ("local_size", "int"),
    2: ("alpha", "float"),
    3: ("beta", "float"),
    4: ("norm_region", "int"),
    5: ("k", "float"),
}
_LAYER: Schema = {
    1: ("name", "text"),
    2: ("type", "text"),
    8: ("include", _RULE),
    9: ("exclude", _RULE),
    10: ("phase", "int"),
    118: ("lrn_param", _LRN),
}
_V0: Schema = {
    1: ("name", "text"),
    2: ("type", "text"),
    13: ("local_size", "int"),
    14: ("alpha", "float"),
    15: ("beta", "float"),
    22: ("k", "float"),
}
_V1: Schema = {
    1: ("layer", _V0),
    4: ("name", "text"),
    5: ("type", "int"),
    18: ("lrn_param", _LRN),
    32: ("include", _RULE),
    33: ("exclude", _RULE),
}
_NET: Schema = {1: ("name", "text"), 2: ("layers", _V1), 100: ("layer", _LAYER)}

_FIELDS = dict.fromkeys((1, 2, 3, 6, 8, 100), LENGTH) | dict.fromkeys((4, 5, 7), VARINT)
_V1_LRN = "15"
_PHASES = {"0": "TRAIN", "1": "TEST"}


def is_text(source: Source) -> bool:
    """True for a message `layer` or `layers` near the start."""
    text = source.head.decode("utf-8", "replace")
    return any(f"{word}{mark}" in text for word in ("layer", "layers") for mark in (" {", "{"))


def is_binary(source: Source) -> bool:
    """True for a NetParameter: layers in field 100, or before 2014 in field 2."""
    found = fits(source.data, _FIELDS)
    if 100 in found or 2 not in found:
        return 100 in found
    # Before 2014 field 2 repeats layers with a type (5) or an inner layer (1).
    inner = first_inner(source.data, 2)
    return inner.get(5) == VARINT or (inner.get(1) == LENGTH and 3 not in inner)


def read_text(source: Source) -> ModelFile:
    """Each layer of type LRN in a .prototxt."""
    return _model(source, parse(source.text()), "Caffe net (.prototxt)")


def read_binary(source: Source) -> ModelFile:
    """Each layer of type LRN in a .caffemodel."""
    return _model(source, Wire(source.data).read(_NET), "Caffe model (.caffemodel)")


def _model(source: Source, net: Record, title: str) -> ModelFile:
    """The net of a NetParameter, text or binary: fields `layer` and `layers`."""
    listing = Listing()
    for layer in [*messages(net, "layer"), *messages(net, "layers")]:
        inner = next(iter(messages(layer, "layer")), None)  # of 2013: a layer inside a layer
        kind = str(scalar(inner or layer, "type", ""))
        name = scalar(inner or layer, "name") or scalar(layer, "name") or "LRN"
        is_lrn = kind in ("LRN", "lrn", _V1_LRN) or (not kind and "lrn_param" in layer)
        listing.operators["LRN" if is_lrn else f"type {kind}" if kind.isdigit() else kind] += 1
        if is_lrn:
            parameters = inner or next(iter(messages(layer, "lrn_param")), {})
            listing.lrns.append(_lrn(str(name), parameters, _conditions(layer)))
    return listing.file(source, title)


def _lrn(name: str, parameters: Record, remarks: tuple[Remark, ...]) -> Found:
    """LRNParameter: local_size 5, alpha 1, beta 0.75, k 1, norm_region ACROSS_CHANNELS (0) where
    left out."""
    words: dict[str, Any] = {
        "local_size": integer(parameters, "local_size", 5),
        "alpha": number(parameters, "alpha", 1.0),
        "beta": number(parameters, "beta", 0.75),
        "k": number(parameters, "k", 1.0),
    }
    if str(scalar(parameters, "norm_region", 0)) in ("WITHIN_CHANNEL", "1"):
        return lrn(name, "caffe_within", words, (2, 3), remarks=remarks)
    return lrn(name, "caffe", words, 1, remarks=remarks)


def _conditions(layer: Record) -> tuple[Remark, ...]:
    """The conditions under which the layer is part of the net: a note for each rule."""
    said = [f"phase {_phase(value)}" for value in layer.get("phase", ())]
    for word, verb in (("include", "in the net only for"), ("exclude", "not in the net for")):
        said += [f"{verb} {_rule(rule)}" for rule in messages(layer, word)]
    return tuple(
        Remark("condition", f"this layer is {text}: Caffe uses it under that condition", NOTE)
        for text in said
    )


def _rule(rule: Record) -> str:
    """A NetStateRule in words: "phase TEST and stage deploy"."""
    parts = [
        f"{name} {_phase(value) if name == 'phase' else value}"
        for name, values in rule.items()
        for value in values
    ]
    return " and ".join(parts) or "every state"


def _phase(value: Any) -> str:
    return _PHASES.get(str(value), str(value))
