"""The ways one array can lie in memory: each takes values and gives them back, lying so."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def fill(target: Array, x: Array) -> Array:
    target[...] = x
    return target


def permuted(*order: int) -> Callable[[Array], Array]:
    """Contiguous when its axes are taken in this order, for rank 4."""

    def lay(x: Array) -> Array:
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))

    return lay


def strided(x: Array) -> Array:
    """Every second or third element of something larger, with what lies between not a number."""
    steps = [2 + axis % 2 for axis in range(x.ndim)]
    larger = [size * step + 1 for size, step in zip(x.shape, steps, strict=True)]
    whole = np.full(larger, np.nan if x.dtype.kind in "fV" else 1).astype(x.dtype)
    part = tuple(slice(1, 1 + n * s, s) for n, s in zip(x.shape, steps, strict=True))
    return fill(whole[part], x)


def reversed_axes(*axes: int) -> Callable[[Array], Array]:
    def lay(x: Array) -> Array:
        return np.flip(np.ascontiguousarray(np.flip(x, axes)), axes)

    return lay


def read_only(x: Array) -> Array:
    y = x.copy()
    y.flags.writeable = False
    return y


def big_endian(x: Array) -> Array:
    return x.astype(x.dtype.newbyteorder(">"))


def misaligned(x: Array) -> Array:
    """At an address that is no multiple of the element."""
    place = np.zeros(x.nbytes + 1, np.uint8)[1:]
    return fill(np.frombuffer(place.data, x.dtype, x.size).reshape(x.shape), x)


def field(x: Array) -> Array:
    """A field of packed records: strides that are no multiple of the element."""
    records = np.zeros(x.shape, [("flag", "u1"), ("value", x.dtype)])
    return fill(records["value"], x)


def odd_stride_of_one(x: Array) -> Array:
    """Elements in their places, but a leading axis of one whose stride is not a whole number of
    them: NumPy calls it aligned. Takes the first item alone."""
    rest = (*x.shape[1:-1], x.shape[-1] * 2)
    records = np.zeros(1, [("value", x.dtype, rest), ("flag", "u1")])
    return fill(records["value"][..., ::2], x[:1])


def mapped(x: Array) -> Array:
    """Backed by a file, which goes with the last reference."""
    with tempfile.NamedTemporaryFile() as file:
        return fill(np.memmap(file.name, x.dtype, "w+", shape=x.shape or (1,)).reshape(x.shape), x)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "channels last": permuted(0, 2, 3, 1),
    "channels first of all": permuted(1, 0, 2, 3),
    "mixed": permuted(2, 0, 3, 1),
    "strided": strided,
    "strided channels last": lambda x: strided(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "reversed": reversed_axes(0, 1, 2, 3),
    "reversed channels": reversed_axes(1),
    "reversed pixels": reversed_axes(2, 3),
    "read-only": read_only,
    "big-endian": big_endian,
    "misaligned": misaligned,
    "misaligned Fortran": lambda x: misaligned(x.T).T,
    "field": field,
    "odd stride": odd_stride_of_one,
    "memmap": mapped,
}
