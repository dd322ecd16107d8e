"""Core ML: .mlmodel and .mlpackage; networks (layer `lrn`) and ML programs (`local_response_norm`).

What a network leaves out is 0. ML programs keep the numbers in float16 by default: the shortest
decimal of the type that is stored is given.
Source: coremltools, mlmodel/format/Model.proto, NeuralNetwork.proto (LRNLayerParams) and MIL.proto;
MIL's operator local_response_norm: size required, alpha 1e-4, beta 0.75, k 1. The channels are axis
-3 of any rank, as the values in coremltools' own tests show.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, Shape, lrn, unreadable
from lrnorm.models.prototext import messages, number, scalar
from lrnorm.models.source import DamagedError, Source, decimal16, decimal32
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, fits

_TENSOR: Schema = {1: ("rank", "int"), 2: ("size", "int")}
_LAYER: dict[int, tuple[str, Any]] = {
    1: ("name", "text"),
    4: ("input_tensor", _TENSOR),
    180: (
        "lrn",
        {1: ("alpha", "float"), 2: ("beta", "float"), 3: ("size", "int"), 4: ("k", "float")},
    ),
}
_NETWORK: Schema = {1: ("layer", _LAYER)}
_LAYER |= {
    605: ("branch", {1: ("body", _NETWORK), 2: ("body", _NETWORK)}),
    615: ("loop", {3: ("body", _NETWORK), 4: ("body", _NETWORK)}),
}

_DIMENSION: Schema = {1: ("constant", {1: ("size", "int")}), 2: ("unknown", {1: ("any", "int")})}
_TYPE: Schema = {
    1: ("tensor", {1: ("kind", "int"), 2: ("rank", "int"), 3: ("dimension", _DIMENSION)})
}
_FLOATS: Schema = {1: ("values", "float")}
_INTEGERS: Schema = {1: ("values", "int")}
_VALUE: Schema = {
    2: ("type", _TYPE),
    3: (
        "immediate",
        {
            1: (
                "tensor",
                {
                    1: ("floats", _FLOATS),
                    2: ("integers", _INTEGERS),
                    5: ("integers", _INTEGERS),
                    6: ("floats", _FLOATS),
                    7: ("bytes", {1: ("values", "span")}),
                },
            )
        },
    ),
}
_BINDING: Schema = {1: ("name", "text"), 2: ("value", _VALUE)}
_INPUT: Schema = {1: ("key", "text"), 2: ("value", {1: ("binding", _BINDING)})}
_OUTPUT: Schema = {1: ("name", "text"), 2: ("type", _TYPE)}
_ATTRIBUTE: Schema = {1: ("key", "text"), 2: ("value", _VALUE)}
# Inputs and attributes are read where they are needed: constants keep the weights there.
_OPERATION: dict[int, tuple[str, Any]] = {
    1: ("type", "text"),
    2: ("inputs", "span"),
    3: ("outputs", "span"),
    5: ("attributes", "span"),
}
_BLOCK: Schema = {1: ("inputs", "span"), 3: ("operation", _OPERATION)}
_OPERATION[4] = ("block", _BLOCK)
_FUNCTION: Schema = {1: ("inputs", "span"), 3: ("blocks", {2: ("block", _BLOCK)})}
_PROGRAM: Schema = {2: ("functions", {1: ("key", "text"), 2: ("function", _FUNCTION)})}

_MODEL: dict[int, tuple[str, Any]] = {
    303: ("network", _NETWORK),
    403: ("network", _NETWORK),
    500: ("network", _NETWORK),
    502: ("program", _PROGRAM),
}
_PIPELINE: Schema = {1: ("model", _MODEL), 2: ("names", "text")}
_MODEL |= {
    200: ("wrapped", {1: ("pipeline", _PIPELINE)}),
    201: ("wrapped", {1: ("pipeline", _PIPELINE)}),
    202: ("pipeline", _PIPELINE),
}
_KNOWN = {1: VARINT, 2: LENGTH, 10: VARINT} | dict.fromkeys(range(200, 3000), LENGTH)
_TYPES = {10: "float16", 11: "float32", 12: "float64", 13: "bfloat16"}
_FORMS = {10: ("<e", 2), 11: ("<f", 4), 12: ("<d", 8)}


def is_model(source: Source) -> bool:
    """True for a Model: specificationVersion in field 1, its type in a field from 200 on."""
    if source.is_folder:
        return source.beside("Manifest.json") is not None
    found = fits(source.data, _KNOWN)
    return found.get(1) == VARINT and any(number >= 200 for number in found)


def read(source: Source) -> ModelFile:
    """Every layer `lrn` of networks and every operation `local_response_norm` of programs."""
    file = _inside(source) if source.is_folder else source
    wire = Wire(file.data)
    listing = Listing()
    for model, prefix in _models(wire.read(_MODEL)):
        for network in messages(model, "network"):
            for layer, where in _layers(network, prefix):
                parameters = next(iter(messages(layer, "lrn")), None)
                listing.operators["layer" if parameters is None else "lrn"] += 1
                if parameters is not None:
                    listing.lrns.append(_lrn(where, layer, parameters))
        for program in messages(model, "program"):
            _Program(wire, listing).read(program, prefix)
    return listing.file(source, "Core ML model")


def _inside(package: Source) -> Source:
    """The model file of an .mlpackage, which its manifest names."""
    manifest = package.beside("Manifest.json")
    try:
        content: Any = json.loads(manifest.text()) if manifest is not None else None
        entries = content["itemInfoEntries"]
        path = entries[content["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedError("its Manifest.json names no root model") from None
    file = package.beside(f"Data/{path}") or package.beside(str(path))
    if file is None or file.is_folder:
        raise DamagedError(f"its model {str(path)[:80]!r} is not there")
    return file


def _models(model: Record, prefix: str = "") -> Iterator[tuple[Record, str]]:
    """A model and the models of a pipeline."""
    yield model, prefix
    for pipeline in [*messages(model, "pipeline"), *messages(model, "wrapped", "pipeline")]:
        names = [str(name) for name in pipeline.get("names", ())]
        for i, inner in enumerate(messages(pipeline, "model")):
            name = names[i] if i < len(names) else f"model{i}"
            yield from _models(inner, f"{prefix}{name}/")


def _layers(network: Record, prefix: str) -> Iterator[tuple[Record, str]]:
    """Every layer of a network with its path, those inside branches and loops included."""
    for layer in messages(network, "layer"):
        name = prefix + str(scalar(layer, "name", "lrn"))
        yield layer, name
        for body in [*messages(layer, "branch", "body"), *messages(layer, "loop", "body")]:
            yield from _layers(body, f"{name}/")


def _lrn(name: str, layer: Record, parameters: Record) -> Found:
    """LRNLayerParams: alpha, beta, localSize and k, each 0 where left out."""
    words = {
        "size": scalar(parameters, "size", 0),
        "alpha": number(parameters, "alpha", 0.0),
        "beta": number(parameters, "beta", 0.0),
        "k": number(parameters, "k", 0.0),
    }
    sizes = [size for tensor in messages(layer, "input_tensor") for size in tensor.get("size", ())]
    shape = tuple(None if size <= 0 else size for size in sizes) or None
    return lrn(name, "coreml", words, -3, shape=shape)


class _Program:
    """An ML program: operations whose parameters are values, or names of constants before them."""

    def __init__(self, wire: Wire, listing: Listing) -> None:
        self.wire, self.listing = wire, listing

    def read(self, program: Record, prefix: str) -> None:
        """Collect the operations of every function; of several, its name leads the paths."""
        functions = messages(program, "functions")
        for function in functions:
            where = prefix if len(functions) == 1 else f"{prefix}{scalar(function, 'key', '')}/"
            for body in messages(function, "function"):
                known = dict(self._named(body.get("inputs", ())))
                for block in messages(body, "blocks", "block"):
                    self._block(block, where, {}, known)

    def _named(self, spans: Any) -> Iterator[tuple[str, Record]]:
        """(name, NamedValueType) of each span: inputs and outputs, with their types."""
        for span in spans:
            value = self.wire.read(_OUTPUT, span)
            yield str(scalar(value, "name", "")), value

    def _block(
        self,
        block: Record,
        prefix: str,
        constants: dict[str, Record],
        types: dict[str, Record],
    ) -> None:
        """The operations of a block and of the blocks inside it. `constants` and `types` hold by
        name what was defined before."""
        constants, types = dict(constants), {**types, **dict(self._named(block.get("inputs", ())))}
        for operation in messages(block, "operation"):
            kind = str(scalar(operation, "type", ""))
            if kind != "const":
                self.listing.operators[kind] += 1
            outputs = list(self._named(operation.get("outputs", ())))
            types.update(outputs)
            if kind == "const" and outputs:
                constants[outputs[0][0]] = operation
            if kind == "local_response_norm":
                name = prefix + (outputs[0][0] if outputs else kind)
                self.listing.lrns.append(self._lrn(name, operation, constants, types))
            for inner in messages(operation, "block"):
                self._block(
                    inner, f"{prefix}{outputs[0][0] if outputs else kind}/", constants, types
                )

    def _lrn(
        self,
        name: str,
        operation: Record,
        constants: dict[str, Record],
        types: dict[str, Record],
    ) -> Found:
        """The operation with its inputs x, size, alpha, beta and k."""
        inputs: dict[str, Record] = {}
        for span in operation.get("inputs", ()):
            pair = self.wire.read(_INPUT, span)
            for binding in messages(pair, "value", "binding"):
                inputs[str(scalar(pair, "key", ""))] = binding
        shape, dtype = _kind(types.get(str(scalar(inputs.get("x", {}), "name", "")), {}))
        words: dict[str, Any] = {"size": None, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
        for word in words:
            if word in inputs:
                value = self._value(inputs[word], constants)
                if value is None:
                    return unreadable(
                        name, f"{word} is no constant of this file", shape=shape, dtype=dtype
                    )
                words[word] = value
        return lrn(name, "coreml", words, -3, shape=shape, dtype=dtype)

    def _value(self, binding: Record, constants: dict[str, Record]) -> Any:
        """One number: given in place, or by the name of a constant."""
        values = messages(binding, "value")
        constant = constants.get(str(scalar(binding, "name", "")))
        if not values and constant is not None:
            pairs = [self.wire.read(_ATTRIBUTE, s) for s in constant.get("attributes", ())]
            values = [v for p in pairs if scalar(p, "key") == "val" for v in messages(p, "value")]
        for value in values:
            for tensor in messages(value, "immediate", "tensor"):
                return self._number(value, tensor)
        return None

    def _number(self, value: Record, tensor: Record) -> Any:
        """The first number of a TensorValue: its floats or integers, or the bytes of a float16."""
        for kind in ("floats", "integers"):
            for part in messages(tensor, kind):
                numbers = part.get("values", [0])
                return numbers[0] if numbers else None
        kinds = [scalar(tensor, "kind") for tensor in messages(value, "type", "tensor")]
        form, size = _FORMS.get(kinds[0] if kinds else 0, ("", 0))
        for part in messages(tensor, "bytes"):
            data = self.wire.bytes(scalar(part, "values", (0, 0)), 8)
            if form and len(data) >= size:
                found = float(struct.unpack(form, data[:size])[0])
                return decimal16(found) if form == "<e" else decimal32(found)
        return None


def _kind(value: Record) -> tuple[Shape, str | None]:
    """Shape and dtype of a ValueType: the constant sizes of its dimensions, None for others."""
    for tensor in messages(value, "type", "tensor"):
        sizes = [
            next((scalar(c, "size", 0) for c in messages(dimension, "constant")), None)
            for dimension in messages(tensor, "dimension")
        ]
        return tuple(sizes) or None, _TYPES.get(scalar(tensor, "kind"))
    return None, None
