"""FlatBuffers: tables read where they stand, every offset checked.

A table starts with the distance back to its list of slots; a slot that is missing or 0 has the
default. Source: the FlatBuffers internals page, https://flatbuffers.dev/internals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lrnorm.models.source import DamagedError, decimal32, unpack

MOST_TABLES = 300_000  # visited in one file


class Buffer:
    """A file of one root table. The number of tables visited is limited, since offsets may lead to
    the same table again and again."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.left = MOST_TABLES

    @property
    def root(self) -> Table:
        return self.table_at(0)

    def table_at(self, at: int) -> Table:
        self.left -= 1
        if self.left < 0:
            raise DamagedError(f"it has more than {MOST_TABLES} tables")
        return Table(self, at + unpack("<I", self.data, at)[0])


class Table:
    """One table; a slot is the number of a field in the schema, from 0."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        self.buffer, self.at = buffer, at
        self.slots = at - unpack("<i", buffer.data, at)[0]
        self.slots_size = unpack("<H", buffer.data, self.slots)[0]

    def _where(self, slot: int) -> int | None:
        """Where the value of a slot stands; None for one that has the default.

        The list of slots holds uint16: its own size, the size of the table, then the distance from
        the table to each value. Slot 0 therefore stands at byte 4.
        """
        offset = 4 + 2 * slot
        if offset + 2 > self.slots_size:
            return None
        distance = unpack("<H", self.buffer.data, self.slots + offset)[0]
        return self.at + distance if distance else None

    def number(self, slot: int, form: str, default: int = 0) -> int:
        """An integer of that struct format."""
        at = self._where(slot)
        return default if at is None else int(unpack(f"<{form}", self.buffer.data, at)[0])

    def float(self, slot: int, default: float = 0.0) -> float:
        """A float32, as its shortest decimal."""
        at = self._where(slot)
        return default if at is None else decimal32(unpack("<f", self.buffer.data, at)[0])

    def table(self, slot: int) -> Table | None:
        at = self._where(slot)
        return None if at is None else self.buffer.table_at(at)

    def text(self, slot: int) -> str:
        start, length = self._vector(slot, 1)
        return bytes(self.buffer.data[start : start + length]).decode("utf-8", "replace")

    def numbers(self, slot: int, form: str = "i", most: int = 100_000) -> tuple[int, ...]:
        """A vector of integers, of which the first `most` are read."""
        size = {"b": 1, "i": 4, "q": 8}[form]
        start, length = self._vector(slot, size)
        return unpack(f"<{min(length, most)}{form}", self.buffer.data, start) if length else ()

    def tables(self, slot: int) -> Iterator[Table]:
        start, length = self._vector(slot, 4)
        for i in range(length):
            yield self.buffer.table_at(start + 4 * i)

    def texts(self, slot: int, index: int) -> str:
        """One text of a vector of texts."""
        start, length = self._vector(slot, 4)
        if not 0 <= index < length:
            return ""
        at = start + 4 * index
        at += unpack("<I", self.buffer.data, at)[0]
        count = unpack("<I", self.buffer.data, at)[0]
        if at + 4 + count > len(self.buffer.data):
            raise DamagedError("a text reaches beyond the end")
        return bytes(self.buffer.data[at + 4 : at + 4 + count]).decode("utf-8", "replace")

    def _vector(self, slot: int, size: int) -> tuple[int, int]:
        """(start, length) of a vector: an offset in the slot leads to a uint32 length and the
        elements."""
        at = self._where(slot)
        if at is None:
            return 0, 0
        at += unpack("<I", self.buffer.data, at)[0]
        length = unpack("<I", self.buffer.data, at)[0]
        if at + 4 + length * size > len(self.buffer.data):
            raise DamagedError("a vector reaches beyond the end")
        return at + 4, length
