"""Paddle: a program (__model__, .pdmodel) with the operator `lrn`.

    y = x / (k + alpha · Σ x²)^beta over n channels: n 5, k 2, alpha 1e-4, beta 0.75 where left out

paddle.nn.functional.local_response_norm of Paddle 2 divides alpha and writes other operators, a
pool among them. They are not recognised.
Source: paddle/fluid/framework/framework.proto; paddle/fluid/operators/lrn_op.cc.
"""

from __future__ import annotations

from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, Shape, lrn
from lrnorm.models.prototext import integer, messages, number, scalar
from lrnorm.models.source import Source
from lrnorm.models.wire import LENGTH, VARINT, Record, Schema, Wire, first_inner, fits

_ATTRIBUTE: Schema = {1: ("name", "text"), 3: ("i", "int"), 4: ("f", "float"), 5: ("s", "text")}
_SLOT: Schema = {1: ("parameter", "text"), 2: ("arguments", "text")}
_OPERATOR: Schema = {
    1: ("inputs", _SLOT),
    2: ("outputs", _SLOT),
    3: ("type", "text"),
    4: ("attrs", _ATTRIBUTE),
}
_TENSOR: Schema = {1: ("kind", "int"), 2: ("dims", "int")}
_VARIABLE: Schema = {
    1: ("name", "text"),
    2: ("type", {3: ("dense", {1: ("tensor", _TENSOR)})}),
}
_BLOCK: Schema = {3: ("vars", _VARIABLE), 4: ("ops", _OPERATOR)}
_PROGRAM: Schema = {1: ("blocks", _BLOCK)}
_TYPES = {4: "float16", 5: "float32", 6: "float64", 22: "bfloat16"}


def is_program(source: Source) -> bool:
    """Field 1 repeats blocks, each with an index (1) and the index of its parent (2)."""
    found = fits(source.data, {1: LENGTH, 3: LENGTH, 4: LENGTH, 5: LENGTH})
    inner = first_inner(source.data, 1) if 1 in found else {}
    return inner.get(1) == VARINT and inner.get(2) == VARINT


def read(source: Source) -> ModelFile:
    """Each operator lrn in the blocks of a program."""
    listing = Listing()
    for block in messages(Wire(source.data).read(_PROGRAM), "blocks"):
        variables = {str(scalar(v, "name", "")): v for v in messages(block, "vars")}
        for operator in messages(block, "ops"):
            kind = str(scalar(operator, "type", ""))
            listing.operators[kind] += 1
            if kind == "lrn":
                listing.lrns.append(_lrn(operator, variables, len(listing.lrns)))
    return listing.file(source, "Paddle program")


def _lrn(operator: Record, variables: dict[str, Record], count: int) -> Found:
    """The attributes n 5, alpha 1e-4, beta 0.75, k 2 and data_format NCHW of the operator."""
    given = {str(scalar(a, "name", "")): a for a in messages(operator, "attrs")}
    words: dict[str, Any] = {
        "n": integer(given.get("n", {}), "i", 5),
        "alpha": number(given.get("alpha", {}), "f", 1e-4),
        "beta": number(given.get("beta", {}), "f", 0.75),
        "k": number(given.get("k", {}), "f", 2.0),
    }
    last = scalar(given.get("data_format", {}), "s", "NCHW") == "NHWC"
    shape, dtype = _kind(variables.get(_argument(operator, "inputs", "X"), {}))
    name = _argument(operator, "outputs", "Out") or f"lrn:{count}"
    return lrn(name, "paddle_lrn", words, -1 if last else 1, shape=shape, dtype=dtype)


def _argument(operator: Record, side: str, parameter: str) -> str:
    """The name of the first argument of a parameter: X of the inputs, Out of the outputs."""
    return next(
        (
            str(scalar(slot, "arguments", ""))
            for slot in messages(operator, side)
            if scalar(slot, "parameter") == parameter
        ),
        "",
    )


def _kind(variable: Record) -> tuple[Shape, str | None]:
    """Shape and dtype of a VarDesc, from the dims and data_type of its tensor."""
    for tensor in messages(variable, "type", "dense", "tensor"):
        sizes = tuple(None if s < 0 else s for s in tensor.get("dims", ()))
        return sizes or None, _TYPES.get(scalar(tensor, "kind"))
    return None, None
