"""Protocol buffers in their binary form, read by a schema that names only what is needed.

A schema maps a field number to (name, kind): "int", "float", "text", "span" or another schema. All
values come as lists, since the last or every one may count. Fields that the schema does not name
are skipped without being touched: in a mapped file of 240 MB the weights are never read. The
package protobuf would parse and copy them first, and is not needed where Python alone is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from lrnorm.models.source import DamagedError, decimal32, unpack

Span = tuple[int, int]
Schema = Mapping[int, tuple[str, Any]]
Record = dict[str, list[Any]]

MOST_FIELDS = 3_000_000  # in one file
DEEPEST = 40  # messages inside messages
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Wire:
    """One binary file of protocol buffers. The number of fields read from it is limited."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.left = MOST_FIELDS

    def read(self, schema: Schema, span: Span | None = None, depth: int = 0) -> Record:
        """The fields of a message that the schema names; `span` is where the message stands."""
        if depth > DEEPEST:
            raise DamagedError(f"it has more than {DEEPEST} messages inside each other")
        found: Record = {}
        for number, kind, value in self.fields(span or (0, len(self.data))):
            if number in schema:
                name, wanted = schema[number]
                found.setdefault(name, []).extend(self._values(wanted, kind, value, depth))
        return found

    def fields(self, span: Span) -> Iterator[tuple[int, int, Any]]:
        """(field number, wire type, integer or span) of everything in a message."""
        data, (at, end) = self.data, span
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise DamagedError(f"it has more than {MOST_FIELDS} fields")
            key, at = varint(data, at, end)
            number, kind = key >> 3, key & 7
            value: Any
            if kind == VARINT:
                value, at = varint(data, at, end)
            elif kind == LENGTH:
                length, at = varint(data, at, end)
                value, at = (at, at + length), at + length
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
                value, at = (at, at + size), at + size
            else:
                raise DamagedError(f"field {number} has the unknown wire type {kind}")
            if number == 0 or at > end:
                raise DamagedError("a field reaches beyond the end of its message")
            yield number, kind, value

    def _values(self, wanted: Any, kind: int, value: Any, depth: int) -> list[Any]:
        """The value of a field; a list, since numbers may be packed."""
        if wanted == "int":
            if kind == VARINT:
                return [signed(value)]
            if kind == LENGTH:
                return self._packed_integers(value)
        elif wanted == "float":
            form, size = {FIXED32: ("f", 4), FIXED64: ("d", 8), LENGTH: ("f", 4)}.get(kind, ("", 1))
            if form:
                count = (value[1] - value[0]) // size
                self.left -= count
                if self.left < 0:
                    raise DamagedError(f"it has more than {MOST_FIELDS} fields")
                numbers = unpack(f"<{count}{form}", self.data, value[0])
                return [decimal32(number) if form == "f" else number for number in numbers]
        elif kind == LENGTH:
            if wanted == "text":
                return [bytes(self.data[value[0] : value[1]]).decode("utf-8", "replace")]
            if wanted == "span":
                return [value]
            return [self.read(wanted, value, depth + 1)]
        raise DamagedError(f"a field has the wrong wire type {kind}")

    def _packed_integers(self, span: Span) -> list[int]:
        """A repeated integer stored as one field of varints."""
        at, end = span
        numbers = []
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise DamagedError(f"it has more than {MOST_FIELDS} fields")
            number, at = varint(self.data, at, end)
            numbers.append(signed(number))
        return numbers

    def bytes(self, span: Span, limit: int = 1 << 20) -> bytes:
        return bytes(self.data[span[0] : min(span[1], span[0] + limit)])


def varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """(the integer, the place behind it): 7 bits a byte, the lowest first, 96 01 is 150."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise DamagedError("a number is cut short")


def signed(number: int) -> int:
    """A varint as the signed 64-bit integer that it stands for."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number


MOST_LOOKED_AT = 200


def fits(data: Any, known: Mapping[int, int]) -> dict[int, int]:
    """Field number → wire type of the first fields of a file, by which a format is recognised;
    empty for what is no message, or has fields other than the known ones."""
    found: dict[int, int] = {}
    try:
        fields = Wire(data).fields((0, len(data)))
        for number, kind, _ in itertools.islice(fields, MOST_LOOKED_AT):
            if known.get(number) != kind:
                return {}
            found[number] = kind
    except DamagedError:
        return {}
    return found


def first_inner(data: Any, wanted: int) -> dict[int, int]:
    """The same of the first message in that field, whatever its fields are."""
    wire = Wire(data)
    try:
        for number, kind, value in itertools.islice(wire.fields((0, len(data))), MOST_LOOKED_AT):
            if number == wanted and kind == LENGTH:
                inner = itertools.islice(wire.fields(value), MOST_LOOKED_AT)
                return {number: kind for number, kind, _ in inner}
    except DamagedError:
        pass
    return {}
