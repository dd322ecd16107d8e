r"""Wolfram's .wxf: one NumericArray, or one packed array, as Export and Import exchange them.

    8:                          version 8; 8C: before an expression that zlib has compressed
    \xc2 or \xc1                NumericArray or PackedArray
    \x23                        the type of the numbers: here Real64, little-endian
    \x02 \x03 \x80\x01          the rank and the dimensions, 7 bits a byte, the lowest first:
                                here 3 × 128; then the numbers, the last axis fastest

Source: https://reference.wolfram.com/language/tutorial/WXFFormatDescription.html
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from lrnorm._layers.shapes import shape_text
from lrnorm._spec.errors import FileError, KindError
from lrnorm.files.checks import Array, numbers, reading

_NUMERIC, _PACKED = 0xC2, 0xC1
_TYPES: dict[int, np.dtype[Any]] = {
    **{code: np.dtype(f"<i{1 << code}") for code in range(4)},
    **{0x10 + code: np.dtype(f"<u{1 << code}") for code in range(4)},
    0x22: np.dtype("<f4"),
    0x23: np.dtype("<f8"),
    0x33: np.dtype("<c8"),
    0x34: np.dtype("<c16"),
}
_CODES = {dtype: code for code, dtype in _TYPES.items()}
# Types that WXF lacks, and the smallest of its types that holds their values.
_WIDER: dict[Any, np.dtype[Any]] = {
    np.dtype("?"): np.dtype("<u1"),
    np.dtype("<f2"): np.dtype("<f4"),
}
_LONGEST = 3 + 2 + 10 * 65  # bytes before the numbers: NumPy has at most 64 axes


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which a .wxf holds values of `dtype`."""
    little = dtype.newbyteorder("<")
    stored = _WIDER.get(little, little)
    if stored not in _CODES:
        raise KindError("an array of a .wxf", "must have a type of Wolfram's", got=str(dtype))
    return stored


def wxf_header(
    dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool = False
) -> tuple[bytes, np.dtype[Any]]:
    """The bytes before the values, and the dtype of the values."""
    stored = stored_dtype(dtype)
    if not shape:
        raise FileError(
            "a .wxf", "holds arrays of at least one axis", got="one number", way_out="Write .npy."
        )
    sizes = b"".join(map(_varint, (len(shape), *shape)))
    return b"8:" + bytes([_NUMERIC, _CODES[stored]]) + sizes, stored


def _varint(number: int) -> bytes:
    """7 bits a byte, the lowest first, the top bit set where more follow: 128 is 80 01."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def write_wxf(stream: IO[bytes], array: Any) -> str:
    """Write one array as a NumericArray, in row-major order and little-endian."""
    array = numbers(array)
    header, stored = wxf_header(array.dtype, array.shape)
    stream.write(header)
    stream.write(np.ascontiguousarray(array, stored).data)
    return f"{shape_text(array.shape)}, {remark(array.dtype)}"


def remark(dtype: np.dtype[Any]) -> str:
    """The dtype, and the one in which a .wxf holds it where that is another."""
    stored = stored_dtype(dtype)
    return f"{dtype} as {stored.name}" if dtype.newbyteorder("<") in _WIDER else str(dtype)


def map_wxf(source: Path) -> Array:
    """The array of a .wxf as a map of the file; a compressed one is read as a whole."""
    with reading(source), open(source, "rb") as stream:
        head = stream.read(_LONGEST)
        if head[:3] == b"8C:":
            unzip = zlib.decompressobj()
            head = b"8:" + unzip.decompress(head[3:] + stream.read(), _LONGEST)
            dtype, shape, start = _parse(head)
            size = math.prod(shape) * dtype.itemsize
            missing = start + size - len(head)
            values = head[start:]
            if missing > 0:
                values += unzip.decompress(unzip.unconsumed_tail, missing)
            if len(values) < size:
                raise ValueError(f"{size} bytes of numbers announced, {len(values)} found")
            return np.frombuffer(values, dtype, math.prod(shape)).reshape(shape)
        dtype, shape, start = _parse(head)
        if not math.prod(shape):
            return np.empty(shape, dtype)
        mapped: Array = np.memmap(source, dtype, "r", start, shape)
        return mapped


def _parse(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The dtype, the shape, and where the values begin."""
    if head[:2] != b"8:":
        raise ValueError("it does not begin with 8: or 8C:")
    if len(head) < 5 or head[2] not in (_NUMERIC, _PACKED):
        raise ValueError(
            "its expression is not one array: in Wolfram, write it with "
            'Export["x.wxf", NumericArray[array]]'
        )
    if head[3] not in _TYPES:
        raise ValueError(f"there is no type {head[3]:#04x} of numbers")
    rank, place = _number(head, 4)
    if rank > 64:
        raise ValueError(f"an array of {rank} axes is more than NumPy has")
    sizes = []
    for _ in range(rank):
        size, place = _number(head, place)
        sizes.append(size)
    return _TYPES[head[3]], tuple(sizes), place


def _number(head: bytes, place: int) -> tuple[int, int]:
    """The varint at a place, and the place behind it."""
    number = shift = 0
    while True:
        byte = head[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
