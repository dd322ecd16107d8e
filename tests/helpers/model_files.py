"""Model files made by test code from each format's own schema."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "models" / "data"
SHARED = Path(__file__).parents[2].parent / "shared" / "models"

# Protocol buffers


def varint(number: int) -> bytes:
    out = bytearray()
    number &= 2**64 - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: Any) -> bytes:
    """An int becomes a varint, a float a fixed32, anything else has its length before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*pairs: tuple[int, Any]) -> bytes:
    return b"".join(field(number, value) for number, value in pairs)


CAFFE_LRN = ((1, 5), (2, 0.9), (3, 0.6), (5, 2.0))


def caffemodel(*lrn: tuple[int, Any], weights: bytes = b"\0" * 64, generation: int = 2014) -> bytes:
    """A convolution with weights and an LRN called norm1, in one of Caffe's three generations."""
    parameters = message(*(lrn or CAFFE_LRN))
    blob = message((7, message((1, 4))), (5, weights))
    if generation == 2014:
        layers = [
            (100, message((1, "conv1"), (2, "Convolution"), (7, blob))),
            (100, message((1, "norm1"), (2, "LRN"), (118, parameters))),
        ]
    elif generation == 2013:
        layers = [
            (2, message((4, "conv1"), (5, 4), (6, blob))),
            (2, message((4, "norm1"), (5, 15), (18, parameters))),
        ]
    else:
        given = {1: 13, 2: 14, 3: 15, 5: 22}
        inner = [(1, "norm1"), (2, "lrn"), *((given[n], v) for n, v in lrn or CAFFE_LRN)]
        layers = [
            (2, message((1, message((1, "conv1"), (2, "conv"), (50, blob))))),
            (2, message((1, message(*inner)))),
        ]
    return message((1, "net"), *layers)


def paddle(**numbers: Any) -> bytes:
    """A program of one operator lrn on x, float32 of (-1, 7, 5, 4)."""
    kinds = {"n": (0, 3), "k": (1, 4), "alpha": (1, 4), "beta": (1, 4), "data_format": (2, 5)}
    attributes = [
        (4, message((1, name), (2, kinds[name][0]), (kinds[name][1], value)))
        for name, value in numbers.items()
    ]
    dims = [(2, size) for size in (-1, 7, 5, 4)]
    tensor = message((1, 5), *dims)
    variable = message((1, "x"), (2, message((1, 7), (3, message((1, tensor))))))
    operator = message(
        (1, message((1, "X"), (2, "x"))),
        (2, message((1, "Out"), (2, "y"))),
        (3, "lrn"),
        *attributes,
    )
    block = message((1, 0), (2, -1), (3, variable), (4, operator))
    return message((1, block), (4, message((1, 0))))


# FlatBuffers


def mnn(**numbers: Any) -> bytes:
    import flatbuffers

    slots = {"regionType": 0, "localSize": 1, "alpha": 2, "beta": 3, "bias": 4}
    b = flatbuffers.Builder(0)
    name = b.CreateString("norm1")
    b.StartObject(5)
    for key, value in numbers.items():
        prepend = b.PrependInt32Slot if isinstance(value, int) else b.PrependFloat32Slot
        prepend(slots[key], value, 1.0 if key == "bias" else 0)
    parameters = b.EndObject()
    b.StartObject(7)
    b.PrependUint8Slot(1, 23, 0)
    b.PrependUOffsetTRelativeSlot(2, parameters, 0)
    b.PrependUOffsetTRelativeSlot(3, name, 0)
    b.PrependInt32Slot(5, 37, 0)
    operator = b.EndObject()
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(operator)
    operators = b.EndVector()
    b.StartObject(12)
    b.PrependUOffsetTRelativeSlot(3, operators, 0)
    b.Finish(b.EndObject())
    return bytes(b.Output())


# Torch7


class Torch7:
    """Writes objects as torch.save does, binary or ASCII."""

    def __init__(self, *, ascii: bool = False) -> None:
        self.ascii = ascii
        self.out = bytearray()
        self.count = 0

    def _put(self, form: str, value: Any) -> None:
        self.out += f"{value}\n".encode() if self.ascii else struct.pack(form, value)

    def _text(self, text: str) -> None:
        self._put("<i", len(text))
        self.out += text.encode() + (b"\n" if self.ascii else b"")

    def _array(self, form: str, values: Iterable[Any]) -> None:
        values = list(values)
        if self.ascii:
            self.out += " ".join(map(str, values)).encode() + (b"\n" if values else b"")
        else:
            self.out += struct.pack(f"<{len(values)}{form}", *values)

    def _index(self, tag: int) -> None:
        self.count += 1
        self._put("<i", tag)
        self._put("<i", self.count)

    def value(self, value: Any) -> Torch7:
        if value is None:
            self._put("<i", 0)
        elif isinstance(value, bool):
            self._put("<i", 5)
            self._put("<i", int(value))
        elif isinstance(value, (int, float)):
            self._put("<i", 1)
            self._put("<d", float(value))
        elif isinstance(value, str):
            self._put("<i", 2)
            self._text(value)
        elif isinstance(value, dict):
            self._index(3)
            self._put("<i", len(value))
            for key, inner in value.items():
                self.value(key).value(inner)
        else:
            value(self)
        return self

    def thing(self, kind: str, fields: dict[Any, Any]) -> Torch7:
        self._head(kind)
        return self.value(fields)

    def _head(self, kind: str) -> None:
        self._index(4)
        self._text("V 1")
        self._text(kind)

    def tensor(self, sizes: list[int]) -> Torch7:
        total = 1
        for size in sizes:
            total *= size
        self._head("torch.FloatTensor")
        self._put("<i", len(sizes))
        self._array("q", sizes)
        self._array("q", [1] * len(sizes))
        self._put("<q", 1)
        self._head("torch.FloatStorage")
        self._put("<q", total)
        self._array("f", [0.5] * total)
        return self

    def function(self) -> Torch7:
        self._index(8)
        self._text("\x1bLua bytecode")
        return self.value({})


def torch7(*, ascii: bool = False, kind: str = "nn.SpatialCrossMapLRN", **numbers: Any) -> bytes:
    """A net of a convolution, a container with an LRN, and a function."""

    def layer(kind: str, **fields: Any) -> Any:
        return lambda out: out.thing(kind, fields)

    inner = {1: layer("nn.ReLU", inplace=True), 2: layer(kind, train=False, **numbers)}
    modules = {
        1: layer("nn.SpatialConvolution", nInputPlane=3, weight=lambda out: out.tensor([4, 3])),
        2: layer("nn.Sequential", modules=inner, hook=lambda out: out.function()),
    }
    return bytes(Torch7(ascii=ascii).thing("nn.Sequential", {"modules": modules}).out)


# Archives and texts


def keras_archive(path: Path, config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
    return path


def keras_config(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}


def mxnet(key: str = "attrs", **numbers: str) -> str:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "LRN", "name": "norm1", key: numbers, "inputs": [[0, 0, 0]]},
    ]
    return json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]})


def old_openvino(data: str, version: int = 6) -> str:
    return (
        f'<?xml version="1.0" ?><net batch="1" name="net" version="{version}"><layers>'
        f'<layer id="1" name="norm1" precision="FP16" type="Norm">{data}'
        '<input><port id="0"><dim>1</dim><dim>96</dim><dim>55</dim><dim>55</dim></port></input>'
        "</layer></layers></net>"
    )


def wolfram_expression() -> bytes:
    """A chain of an LRN and of a NetMapOperator that holds one of defaults, with every token."""

    def text(tag: bytes, value: str) -> bytes:
        return tag + struct.pack("<i", len(value)) + value.encode()

    def call(head: str, *arguments: bytes) -> bytes:
        return b"f" + struct.pack("<i", len(arguments)) + text(b"s", head) + b"".join(arguments)

    def rules(**values: bytes) -> bytes:
        made = [call("Rule", text(b"S", key), value) for key, value in values.items()]
        return call("Association", *made)

    def layer(kind: str, **parameters: bytes) -> bytes:
        return rules(Type=text(b"S", kind), Parameters=rules(**parameters))

    numbers = {"Alpha": 0.9, "Beta": 0.6, "Bias": 2.0}
    given = {key: b"r" + struct.pack("<d", value) for key, value in numbers.items()}
    size = b"i" + struct.pack("<i", 2)
    norm = layer("LocalResponseNormalization", **given, ChannelWindowSize=size)
    inner = layer("LocalResponseNormalization")
    nodes = rules(norm=norm, map=layer("Map", Net=inner, Most=text(b"I", "9" * 20)))
    mean = b"e" + struct.pack("<3i2d", 2, 1, 2, 0.5, 0.25)
    return b"!boR" + rules(Type=text(b"S", "Chain"), Nodes=nodes, Inputs=rules(Input=mean))
