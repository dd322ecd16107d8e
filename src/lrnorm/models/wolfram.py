"""Wolfram: .wlnet, an HDF5 file in which `Network` is an expression: "1:" and base64 of zlib.

The expression is a row of tokens after "!boR": i int32, r float64, I and R longer numbers as text,
s symbol, S text, e an array of float64, f a function with the number of its arguments. It is read
as data.

Source: public copies of Wolfram's package NeuralNetworks of versions 11 and 12. A layer's Type is
its name without "Layer": "LocalResponseNormalization", with the Parameters ChannelWindowSize,
Alpha, Beta and Bias. Nets hold layers under Nodes, operators such as NetMapOperator among their
Parameters. No file that holds an LRN was at hand.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn
from lrnorm.models.hdf5 import is_hdf5, value_of
from lrnorm.models.source import MIB, DamagedError, Source, unpack

EXPRESSION_LIMIT = 64 * MIB
DEEPEST = 120
MOST_AXES = 64
_KIND = "LocalResponseNormalization"
_WORDS = {"channel_window_size": 2, "alpha": 1.0, "beta": 0.5, "bias": 1.0}
_NAMES = {
    "ChannelWindowSize": "channel_window_size",
    "Alpha": "alpha",
    "Beta": "beta",
    "Bias": "bias",
}


def is_wlnet(source: Source) -> bool:
    """True for HDF5 in a file that ends in .wlnet."""
    return is_hdf5(source) and source.ending == ".wlnet"


@dataclass(eq=False)
class Call:
    """head[argument, …]"""

    head: Any
    arguments: list[Any]


def read(source: Source) -> ModelFile:
    """Each LocalResponseNormalizationLayer in a .wlnet."""
    stored, _ = value_of(source, "dataset", "Network")
    if stored is None:
        raise DamagedError("it has no Network")
    expression = _Tokens(_expanded(stored)).read()
    listing = Listing()
    for path, kind, fields in _layers(expression):
        listing.operators[kind] += 1
        if kind == _KIND:
            listing.lrns.append(_lrn(path or kind, fields))
    return listing.file(source, "Wolfram net (.wlnet)")


def _expanded(text: bytes) -> bytes:
    """The bytes of the expression, unpacked."""
    if not text.startswith(b"1:"):
        raise DamagedError(
            "its Network is not compressed, as in files of Wolfram 11.0: there, import it and "
            "export it again"
        )
    try:
        packed = base64.b64decode(text[2:], validate=False)
        inflate = zlib.decompressobj()
        data = inflate.decompress(packed, EXPRESSION_LIMIT)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DamagedError(f"its Network cannot be unpacked: {error}") from None
    if inflate.unconsumed_tail:
        raise DamagedError(f"its Network has more than {EXPRESSION_LIMIT // MIB} MiB")
    return data


class _Tokens:
    """A row of tokens, read from the front; the module says what they are."""

    def __init__(self, data: bytes) -> None:
        start = data.find(b"!boR")
        if start < 0:
            raise DamagedError("its Network is no expression")
        self.data, self.at = data, start + 4

    def _int(self) -> int:
        value = unpack("<i", self.data, self.at)[0]
        self.at += 4
        return int(value)

    def _bytes(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise DamagedError("its Network is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def read(self, depth: int = 0) -> Any:
        """The expression that begins here: a Call, number, text, or the bytes of an array."""
        if depth > DEEPEST:
            raise DamagedError(f"its Network has more than {DEEPEST} levels")
        tag = self.data[self.at : self.at + 1]
        self.at += 1
        if tag == b"i":
            return self._int()
        if tag == b"r":
            value = unpack("<d", self.data, self.at)[0]
            self.at += 8
            return value
        if tag in (b"s", b"S", b"I", b"R"):
            return self._bytes(self._int()).decode("utf-8", "replace")
        if tag == b"e":
            rank = self._int()
            if rank > MOST_AXES:
                raise DamagedError(f"its Network has an array of {rank} axes")
            sizes = unpack(f"<{rank}i", self._bytes(4 * rank), 0)
            return self._bytes(8 * math.prod(sizes))
        if tag == b"f":
            count = self._int()
            head = self.read(depth + 1)
            if not 0 <= count <= len(self.data) - self.at:
                raise DamagedError("its Network is cut short")
            return Call(head, [self.read(depth + 1) for _ in range(count)])
        raise DamagedError(f"its Network has the unknown token {tag!r}")


def _fields(value: Any) -> dict[str, Any]:
    """The rules of an association or list."""
    if not isinstance(value, Call):
        return {}
    return {
        rule.arguments[0]: rule.arguments[1]
        for rule in value.arguments
        if isinstance(rule, Call)
        and str(rule.head).endswith(("Rule", "RuleDelayed"))
        and len(rule.arguments) == 2
        and isinstance(rule.arguments[0], str)
    }


def _layers(value: Any, path: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every layer: an association with a Type. Nets and operators hold others."""
    fields = _fields(value)
    kind = fields.get("Type")
    nodes, parameters = _fields(fields.get("Nodes")), _fields(fields.get("Parameters"))
    if isinstance(kind, str) and not nodes:
        yield path, kind, parameters
    for name, inner in (nodes | parameters).items():
        if "Type" in _fields(inner):
            yield from _layers(inner, f"{path}/{name}" if path else name)


def _lrn(path: str, fields: dict[str, Any]) -> Found:
    """The Parameters of the layer, with the defaults of its page."""
    words: dict[str, Any] = dict(_WORDS)
    for name, word in _NAMES.items():
        if isinstance(fields.get(name), (int, float)):
            words[word] = fields[name]
    return lrn(path, "wolfram", words, 0)
