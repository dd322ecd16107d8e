"""NNEF: graph.nnef, or the folder it stands in; local_response_normalization.

    y = local_response_normalization(x, size = [1, 5, 1, 1], alpha = 1.0, beta = 0.5, bias = 1.0)

Source: the NNEF specification, local_response_normalization.
"""

from __future__ import annotations

import re
from typing import Any

from lrnorm.models.found import Found, Listing, ModelFile, lrn
from lrnorm.models.source import DamagedError, Source
from lrnorm.models.texts import integer_of, number_of

_START = re.compile(r"^\s*version\s+\d+\.\d+\s*;", re.M)
_ARGUMENT = re.compile(r"(\w+)\s*=\s*(\[[^\[\]]*\]|[-+.\w]+)")
_WORDS = {"alpha": 1.0, "beta": 0.5, "bias": 1.0}


def is_nnef(source: Source) -> bool:
    """True for a graph.nnef, or a folder that holds one."""
    if source.is_folder:
        return source.beside("graph.nnef") is not None
    return _START.search(source.head.decode("utf-8", "replace")) is not None


def read(source: Source) -> ModelFile:
    """Each local_response_normalization in a graph.nnef."""
    file = source.beside("graph.nnef") if source.is_folder else source
    if file is None or file.is_folder:
        raise DamagedError("it has no graph.nnef")
    text = re.sub(r"#[^\n]*", "", file.text())
    listing = Listing()
    for statement in text.split(";"):
        results, equals, call = statement.partition("=")
        kind = re.match(r"\s*(\w+)\s*(?:<\w+>\s*)?\(", call) if equals else None
        if kind is None:
            continue
        listing.operators[kind[1]] += 1
        if kind[1] == "local_response_normalization":
            name = results.split("{")[-1].strip()[:200] or "LRN"
            listing.lrns.append(_lrn(name, call[kind.end() :]))
    return listing.file(source, "NNEF graph")


def _lrn(name: str, arguments: str) -> Found:
    """The arguments of the call. `size` has one entry for each axis; those above 1 are the axes of
    the window."""
    given = dict(_ARGUMENT.findall(arguments))
    parts = given.get("size", "").strip("[] ").split(",")
    sizes = [integer_of(part, "a size") for part in parts if part]
    words: dict[str, Any] = {"size": sizes}
    words |= {word: number_of(given.get(word, value), word) for word, value in _WORDS.items()}
    wide = tuple(axis for axis, size in enumerate(sizes) if size > 1)
    axis = wide if len(wide) > 1 else (wide or (1,))[0]
    return lrn(name, "nnef", words, axis)
