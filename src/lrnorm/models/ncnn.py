"""ncnn: .param, a text: the number 7767517, the counts of layers and blobs, then a line a layer.

    type  name  inputs  outputs  names of these  key=value …

Keys of an LRN: 0 region [0 across, 1 within], 1 local_size [5], 2 alpha [1], 3 beta [0.75],
4 bias [1]. Source: ncnn, src/layer/lrn.cpp and src/paramdict.cpp.
"""

from __future__ import annotations

from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import integer_of, number_of

MAGIC = "7767517"


def is_param(source: Source) -> bool:
    """True for the magic number in the first line."""
    return source.head.lstrip()[:16].split(None, 1)[:1] == [MAGIC.encode()]


def read(source: Source) -> ModelFile:
    """Each layer LRN in a .param, whose numbers are written 0=region 1=size …."""
    lines = source.text().splitlines()
    listing = Listing()
    for line in lines[2:]:
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) < 4:
            raise DamagedError(f"the line {line[:60]!r} is no layer")
        listing.operators[parts[0]] += 1
        if parts[0] == "LRN":
            start = 4 + sum(integer_of(part, "a number of blobs") for part in parts[2:4])
            listing.lrns.append(
                _lrn(parts[1], dict(part.partition("=")[::2] for part in parts[start:]))
            )
    return listing.file(source, "ncnn model (.param)")


def _lrn(name: str, given: dict[str, str]) -> Found:
    """The numbers by their keys 0 to 4, of which 0 is the region."""
    words: dict[str, Any] = {
        "local_size": int(_number(given, "1", 5)),
        "alpha": _number(given, "2", 1.0),
        "beta": _number(given, "3", 0.75),
        "bias": _number(given, "4", 1.0),
    }
    if _number(given, "0", 0) == 1:
        return lrn(name, "ncnn_within", words, (1, 2))
    return lrn(name, "ncnn", words, 0)


def _number(given: dict[str, str], key: str, default: float) -> float:
    number = number_of(given.get(key, default), f"key {key}")
    if not abs(number) < 1e300:
        raise DamagedError(f"key {key} is {number}, which is no finite number")
    return number
