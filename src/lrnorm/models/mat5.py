"""MATLAB's .mat of version 5 to 7, read from front to back; large arrays are skipped.

scipy.io.loadmat would read all weights into memory first, and a few kilobytes of zlib can claim any
size. Here memory stays small whatever the file claims.
Source: MAT-File Format, MathWorks, version 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

from lrnorm.models.source import MIB, DamagedError

MOST_BYTES = 2048 * MIB  # of one variable, unpacked
MOST_ELEMENTS = 1_000_000
DEEPEST = 40
SMALL = 64  # numbers: larger arrays are weights

_NUMBERS = {
    1: ("b", 1),
    2: ("B", 1),
    3: ("h", 2),
    4: ("H", 2),
    5: ("i", 4),
    6: ("I", 4),
    7: ("f", 4),
    9: ("d", 8),
    12: ("q", 8),
    13: ("Q", 8),
}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR = 1, 2, 3, 4
_NUMERIC = range(6, 16)


class _Stream:
    """Bytes taken from the front, unpacked on the way where they are compressed."""

    def __init__(self, data: Any, start: int, end: int, *, packed: bool) -> None:
        self.data, self.next, self.end = data, start, end
        self.inflate = zlib.decompressobj() if packed else None
        self.ready = b""
        self.at = 0
        self.taken = 0

    def _more(self) -> bool:
        """Read the next MiB, unpacked, behind what is ready; False at the end."""
        chunk = bytes(self.data[self.next : min(self.next + MIB, self.end)])
        if self.inflate is not None:
            tail = self.inflate.unconsumed_tail
            if not tail:
                self.next += len(chunk)
            try:
                chunk = self.inflate.decompress(tail or chunk, MIB)
            except zlib.error as error:
                raise DamagedError(f"its compressed data are damaged: {error}") from None
            if not chunk and not self.inflate.unconsumed_tail and self.next >= self.end:
                return False
        else:
            self.next += len(chunk)
            if not chunk:
                return False
        self.ready = self.ready[self.at :] + chunk
        self.at = 0
        return True

    def take(self, count: int) -> bytes:
        self.taken += count
        if count > MIB or self.taken > MOST_BYTES:
            raise DamagedError("an element is larger than it can be")
        while len(self.ready) - self.at < count:
            if not self._more():
                raise DamagedError("it ends in the middle of a value")
        self.at += count
        return self.ready[self.at - count : self.at]

    def skip(self, count: int) -> None:
        """Go on behind `count` bytes: by a jump in plain data, by reading in compressed data."""
        if self.inflate is None and count > len(self.ready) - self.at:
            self.taken += count
            self.next += count - (len(self.ready) - self.at)
            self.ready, self.at = b"", 0
            if self.next > self.end:
                raise DamagedError("it ends in the middle of a value")
            return
        while count > 0:
            step = min(count, MIB)
            self.take(step)
            count -= step


class Mat:
    """The variables of a file: structs as dicts, arrays of structs and cells as lists, texts, and
    numbers as lists where they are few."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.left = MOST_ELEMENTS
        self.order = "<" if bytes(data[126:128]) == b"IM" else ">"

    def variables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        at, end = 128, len(self.data)
        while at + 8 <= end:
            kind, size = struct.unpack_from(f"{self.order}II", self.data, at)
            start, stop = at + 8, at + 8 + size
            if stop > end:
                raise DamagedError("it ends in the middle of a value")
            if kind == _COMPRESSED:
                stream = _Stream(self.data, start, stop, packed=True)
                kind, size, _ = self._tag(stream)
            else:
                stream = _Stream(self.data, start, stop, packed=False)
            if kind == _MATRIX:
                name, value = self._matrix(stream, size, 0)
                found[name] = value
            at = stop
        return found

    def _tag(self, stream: _Stream) -> tuple[int, int, int]:
        """(type, bytes, bytes of padding behind them)"""
        first, second = struct.unpack(f"{self.order}II", stream.take(8))
        if first >> 16:  # a small element: up to four bytes inside the tag
            if first >> 16 > 4:
                raise DamagedError("a small element has more than four bytes")
            stream.at -= 4
            stream.taken -= 4
            return first & 0xFFFF, first >> 16, 4 - (first >> 16)
        return first, second, -second % 8

    def _element(self, stream: _Stream) -> tuple[int, bytes]:
        """(type, data) of a small data element."""
        kind, size, padding = self._tag(stream)
        data = stream.take(size)
        stream.skip(padding)
        return kind, data

    def _numbers(self, stream: _Stream) -> list[float] | None:
        """The numbers of an element; None where they are more than SMALL, and are skipped."""
        kind, size, padding = self._tag(stream)
        form, width = _NUMBERS.get(kind, ("", 1))
        if not form or size > SMALL * width:
            stream.skip(size + padding)
            return None
        data = stream.take(size)
        stream.skip(padding)
        return list(
            struct.unpack(f"{self.order}{size // width}{form}", data[: size // width * width])
        )

    def _matrix(self, stream: _Stream, size: int, depth: int) -> tuple[str, Any]:
        """(name, value) of a miMATRIX: flags, dimensions and name, then what its class holds."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise DamagedError("it has too many elements, or too many inside each other")
        end = stream.taken + size
        if not size:
            return "", []
        flags = self._element(stream)[1]
        dims = self._numbers(stream) or [0]
        name = self._element(stream)[1].decode("utf-8", "replace")
        kind = struct.unpack(f"{self.order}I", flags[:4])[0] & 0xFF if len(flags) >= 4 else 0
        count = math.prod(int(d) for d in dims)
        if count < 0:
            raise DamagedError("an array has a negative size")
        value: Any = None
        if kind == _CELL:
            value = [self._inner(stream, depth) for _ in self._counted(count)]
        elif kind in (_STRUCT, _OBJECT):
            value = self._struct(stream, count, depth, is_object=kind == _OBJECT)
        elif kind == _CHAR:
            value = self._text(stream)
        elif kind in _NUMERIC:
            value = self._numbers(stream)
        if stream.taken > end:
            raise DamagedError("an element reaches beyond its end")
        stream.skip(end - stream.taken)
        return name, value

    def _inner(self, stream: _Stream, depth: int) -> Any:
        """The value of a field or cell; None for what is no array."""
        kind, size, padding = self._tag(stream)
        value = self._matrix(stream, size, depth + 1)[1] if kind == _MATRIX else None
        if kind != _MATRIX:
            stream.skip(size)
        stream.skip(padding)
        return value

    def _counted(self, count: int) -> range:
        if count > self.left:
            raise DamagedError(f"it has more than {MOST_ELEMENTS} elements")
        return range(count)

    def _struct(self, stream: _Stream, count: int, depth: int, *, is_object: bool) -> Any:
        """The fields of a struct or object: one dict, or a list of dicts for an array of structs.

        The names of the fields stand in one row of bytes, each filled with zeros to the same
        length.
        """
        if is_object:
            self._element(stream)  # the name of the class
        length = (self._numbers(stream) or [0])[0]
        names = self._element(stream)[1]
        width = int(length)
        if width < 1:
            raise DamagedError("a struct has no length of names")
        keys = [
            names[i : i + width].split(b"\0")[0].decode("utf-8", "replace")
            for i in range(0, len(names), width)
        ]
        self._counted(count * max(len(keys), 1))
        structs = [{key: self._inner(stream, depth) for key in keys} for _ in range(count)]
        return structs[0] if count == 1 else structs

    def _text(self, stream: _Stream) -> str:
        """A character array, in UTF-16 or UTF-8; longer ones than a MiB are ""."""
        kind, size, padding = self._tag(stream)
        if size > MIB:
            stream.skip(size + padding)
            return ""
        data = stream.take(size)
        stream.skip(padding)
        if kind == 4:  # UINT16
            encoding = "utf-16-le" if self.order == "<" else "utf-16-be"
        else:
            encoding = "utf-16" if kind == 17 else "utf-8"
        return data.decode(encoding, "replace")
