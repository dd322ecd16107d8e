"""TensorFlow Lite: .tflite, the builtin operator LOCAL_RESPONSE_NORMALIZATION.

What a FlatBuffer leaves out is 0: a radius that is not there is 0, not TensorFlow's 5.
Source: tensorflow/lite/schema/schema.fbs (Model, SubGraph, Operator, OperatorCode, Tensor,
LocalResponseNormalizationOptions).
"""

from __future__ import annotations

from lrnorm.models.flatbuffers import Buffer, Table
from lrnorm.models.found import Found, Listing, ModelFile, lrn, unreadable
from lrnorm.models.source import DamagedError, Source

_LRN, _CUSTOM = 13, 32  # in the enum BuiltinOperator
_OPTIONS = 13  # of an LRN, in the union BuiltinOptions
_TYPES = {0: "float32", 1: "float16", 3: "uint8", 7: "int16", 9: "int8", 10: "float64"}
# For the summary of what a file holds; others appear by number.
_NAMES = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    21: "RELU6",
    22: "RESHAPE",
    25: "SOFTMAX",
    34: "PAD",
    40: "MEAN",
    114: "QUANTIZE",
    _LRN: "LOCAL_RESPONSE_NORMALIZATION",
}


def is_tflite(source: Source) -> bool:
    """True if the file has TensorFlow Lite's identifier, TFL3."""
    return source.head[4:8] == b"TFL3"


def read(source: Source) -> ModelFile:
    """Each operator LOCAL_RESPONSE_NORMALIZATION in a .tflite."""
    model = Buffer(source.data).root
    graphs = list(model.tables(2))
    if not graphs:
        raise DamagedError("it holds no subgraph")
    codes = [_code(code) for code in model.tables(1)]
    listing = Listing()
    for graph in graphs:
        tensors = list(graph.tables(0))
        for operator in graph.tables(3):
            index = operator.number(0, "I")
            kind, custom = codes[index] if index < len(codes) else (-1, "")
            listing.operators[custom or _NAMES.get(kind, f"operator {kind}")] += 1
            if kind == _LRN or "LRN" in custom:
                listing.lrns.append(_lrn(operator, tensors, custom, len(listing.lrns)))
    return listing.file(source, "TensorFlow Lite model")


def _code(code: Table) -> tuple[int, str]:
    """(operator, name of a custom one): the number moved to a wider field when 127 were used."""
    kind = max(code.number(0, "b"), code.number(3, "i"))
    return kind, code.text(1) if kind == _CUSTOM else ""


def _lrn(operator: Table, tensors: list[Table], custom: str, count: int) -> Found:
    """The operator with its options: 0 radius, 1 bias, 2 alpha, 3 beta, each 0 where absent."""
    output = _tensor(operator.numbers(2), tensors)
    name = (output.text(3) if output else "") or f"LRN:{count}"
    shape = dtype = None
    if (given := _tensor(operator.numbers(1), tensors)) is not None:
        sizes = given.numbers(7) or given.numbers(0)  # the signature says which sizes are free
        shape = tuple(None if size < 0 else size for size in sizes) or None
        dtype = _TYPES.get(given.number(1, "b"))
    options = operator.table(4)
    if custom or options is None or operator.number(3, "B") != _OPTIONS:
        text = f"{custom or 'the operator'} keeps its numbers in a form that is not read"
        return unreadable(name, text, shape=shape, dtype=dtype)
    words = {
        "radius": options.number(0, "i"),
        "alpha": options.float(2),
        "beta": options.float(3),
        "bias": options.float(1),
    }
    return lrn(name, "tflite", words, -1, shape=shape, dtype=dtype)


def _tensor(indices: tuple[int, ...], tensors: list[Table]) -> Table | None:
    return tensors[indices[0]] if indices and 0 <= indices[0] < len(tensors) else None
