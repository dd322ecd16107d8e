"""Torch7: .t7, binary or ASCII. Modules are read as data; tensors are skipped.

An object is a tag (1 number, 2 text, 3 table, 4 Torch object, 5 boolean, 6 to 8 function), then for
tables, Torch objects and functions an index, under which later places refer to it. Functions are
skipped: their bytecode is never run.
Source: torch7's File.lua, generic/Tensor.c and generic/Storage.c; nn's and cudnn.torch's
SpatialCrossMapLRN.lua; inn's SpatialCrossResponseNormalization.lua.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn, unreadable
from lrnorm.models.source import DamagedError, Source, unpack
from lrnorm.models.texts import whole

DEEPEST = 120
MOST_OBJECTS = 1_000_000

# Class → the convention whose rules it follows.
_LAYERS = {
    "nn.SpatialCrossMapLRN": "torch7",
    "cudnn.SpatialCrossMapLRN": "cudnn",
    "inn.SpatialCrossResponseNormalization": "torch7",
}
_OTHERS = re.compile(r"LRN|CrossResponseNorm|LocalResponseNorm|SameResponseNorm")
_START = re.compile(
    rb"\x04\0\0\0.\0\0\0\x03\0\0\0V \d|4\n\d+\n3\nV \d|\x03\0\0\0\x01\0\0\0...\0[\x01-\x08]\0\0\0",
    re.S,
)
_ARRAY = re.compile(r"torch\.(Cuda)?(Byte|Char|Short|Int|Long|Float|Double|Half)?(Tensor|Storage)")
_SIZES = {"Byte": 1, "Char": 1, "Short": 2, "Int": 4, "Long": 8, "Float": 4, "Double": 8, "Half": 2}


def is_t7(source: Source) -> bool:
    """True for the first tags of a Torch object or table, binary or ASCII."""
    return _START.match(source.head) is not None


@dataclass(eq=False)
class Thing:
    """A Torch object: its class and its fields."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Opaque:
    """A tensor, storage or function, whose content is not read."""

    kind: str


class _Binary:
    """Little-endian: int32 tags, int64 sizes, float64 numbers."""

    def __init__(self, data: Any) -> None:
        self.data, self.at = data, 0

    def _take(self, form: str, size: int) -> Any:
        value = unpack(form, self.data, self.at)[0]
        self.at += size
        return value

    def integer(self) -> int:
        return int(self._take("<i", 4))

    def wide(self) -> int:
        """An int64: the size of an array."""
        return int(self._take("<q", 8))

    def number(self) -> float:
        return float(self._take("<d", 8))

    def text(self) -> str:
        size = self.integer()
        self.skip(size, 1)
        return bytes(self.data[self.at - size : self.at]).decode("utf-8", "replace")

    def skip(self, count: int, size: int) -> None:
        if count < 0 or self.at + count * size > len(self.data):
            raise DamagedError("it ends in the middle of a value")
        self.at += count * size


_WORD = re.compile(rb"\s*+(\S++)\n?")
_BREAK = re.compile(rb"\n")


class _Ascii(_Binary):
    """Numbers as text, each followed by a line break; the elements of an array share a line."""

    def _word(self) -> bytes:
        found = _WORD.match(self.data, self.at)
        if found is None:
            raise DamagedError("it ends in the middle of a value")
        self.at = found.end()
        return found[1][:400]

    def integer(self) -> int:
        word = self._word()
        try:
            return int(word) if len(word) < 30 else 0
        except ValueError:
            raise DamagedError(f"{word[:40]!r} is no integer") from None

    wide = integer

    def number(self) -> float:
        try:
            return float(self._word())
        except ValueError:
            raise DamagedError("a number is no number") from None

    def text(self) -> str:
        size = self.integer()
        if size < 0 or self.at + size > len(self.data):
            raise DamagedError("it ends in the middle of a value")
        text = bytes(self.data[self.at : self.at + size])
        self.at += size
        self.at += self.data[self.at : self.at + 1] == b"\n"
        return text.decode("utf-8", "replace")

    def skip(self, count: int, size: int) -> None:
        if count > 0:
            found = _BREAK.search(self.data, self.at)
            self.at = found.end() if found else len(self.data)


class _Objects:
    """The objects of one file. `seen` maps an index to its object."""

    def __init__(self, stream: _Binary) -> None:
        self.stream = stream
        self.seen: dict[int, Any] = {}
        self.left = MOST_OBJECTS

    def read(self, depth: int = 0) -> Any:
        """The object that begins here, by its tag."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise DamagedError(
                f"it has more than {MOST_OBJECTS} objects, or {DEEPEST} inside each other"
            )
        stream = self.stream
        tag = stream.integer()
        if tag == 0:
            return None
        if tag == 1:
            return stream.number()
        if tag == 2:
            return stream.text()
        if tag == 5:
            return stream.integer() == 1
        if tag == 6:  # a function of old files, which has no index
            stream.text()
            self.read(depth + 1)
            return Opaque("function")
        if tag not in (3, 4, 7, 8):
            raise DamagedError(f"an object has the unknown tag {tag}")
        index = stream.integer()
        if index in self.seen:
            return self.seen[index]
        if tag == 3:
            return self._table(index, depth)
        if tag == 4:
            return self._thing(index, depth)
        self.seen[index] = Opaque("function")
        stream.text()
        self.read(depth + 1)
        return self.seen[index]

    def _table(self, index: int, depth: int) -> dict[Any, Any]:
        """A Lua table: the number of pairs, then each key and its value."""
        table: dict[Any, Any] = {}
        self.seen[index] = table
        for _ in range(self.stream.integer()):
            key = self.read(depth + 1)
            value = self.read(depth + 1)
            if isinstance(key, (str, float, bool)):
                table[key] = value
        return table

    def _thing(self, index: int, depth: int) -> Any:
        """A Torch object: its version, its class, then its fields, or the data of an array."""
        kind = self.stream.text()
        if re.fullmatch(r"V -?\d+", kind):
            kind = self.stream.text()
        if (array := _ARRAY.fullmatch(kind)) is not None:
            self.seen[index] = Opaque(kind)
            self._skip_array(array[2] or "Float", array[3], depth)
            return self.seen[index]
        thing = Thing(kind)
        self.seen[index] = thing
        fields = self.read(depth + 1)
        if isinstance(fields, dict):
            thing.fields = fields
        return thing

    def _skip_array(self, element: str, shell: str, depth: int) -> None:
        """Skip a storage, or a tensor: rank, sizes, strides, offset, storage."""
        if shell == "Storage":
            self.stream.skip(self.stream.wide(), _SIZES[element])
            return
        rank = self.stream.integer()
        if not 0 <= rank <= 1000:
            raise DamagedError(f"a tensor has {rank} axes")
        if isinstance(self.stream, _Ascii):
            self.stream.skip(rank, 8)  # a line of sizes
            self.stream.skip(rank, 8)  # a line of strides
        else:
            self.stream.skip(2 * rank, 8)
        self.stream.wide()  # where it starts in its storage
        self.read(depth + 1)


def read(source: Source) -> ModelFile:
    """Each LRN module in a .t7, binary or ASCII."""
    stream = _Ascii(source.data) if source.head[:1].isdigit() else _Binary(source.data)
    root = _Objects(stream).read()
    listing = Listing()
    for path, thing in _things(root):
        name = path or thing.kind
        if not isinstance(thing.fields.get("modules"), dict):  # a container is no operator
            listing.operators[thing.kind] += 1
        if thing.kind in _LAYERS:
            listing.lrns.append(_lrn(name, thing))
        elif _OTHERS.search(thing.kind):
            listing.lrns.append(
                unreadable(name, f"{thing.kind} is not described in a source at hand")
            )
    return listing.file(source, "Torch7 file")


def _things(root: Any) -> Iterator[tuple[str, Thing]]:
    """Every Torch object that can be reached, with its path: 2.7 is the seventh module of the
    second."""
    stack: list[tuple[str, Any]] = [("", root)]
    seen: set[int] = set()
    while stack:
        path, value = stack.pop()
        if not isinstance(value, (Thing, dict)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Thing):
            yield path, value
        items = value.fields if isinstance(value, Thing) else value
        inner = [(_path(path, key), item) for key, item in items.items()]
        stack += reversed(inner)


def _path(path: str, key: Any) -> str:
    """The path of a field. The table `modules` adds nothing: 2.7, not modules.2.modules.7."""
    if key == "modules":
        return path
    step = f"{key:g}" if isinstance(key, float) else str(key)
    return f"{path}.{step}" if path else step


def _lrn(name: str, thing: Thing) -> Found:
    """The fields of the class, by default size 5, alpha 1e-4, beta 0.75 and k 1."""

    def value(key: str, default: float) -> float:
        given = thing.fields.get(key)
        return float(given) if isinstance(given, float) else default

    size = value("size", 5.0)
    numbers = value("alpha", 1e-4), value("beta", 0.75), value("k", value("K", 1.0))
    convention = _LAYERS[thing.kind]
    keys = ("lrnN", "lrnAlpha", "lrnBeta", "lrnK")
    if convention == "torch7":
        keys = ("size", "alpha", "beta", "k")
    words = dict(zip(keys, (whole(size), *numbers), strict=True))
    return lrn(name, convention, words, -3)
